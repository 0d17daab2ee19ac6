"""Why a probe got no reply: what routers, hosts and this machine say about it."""

import errno
import ipaddress
import socket
from contextlib import suppress
from typing import Final, Literal

from .._system.error_queue import ORIGIN_LOCAL, read_entry
from .._system.numbers import IP_RECVERR, IPV6_RECVERR
from .echo import EchoError

__all__ = ("FOR_MANY", "error_of", "local_error", "quoted_error", "reported_error")

_HEADER: Final = 8  # of ICMP
_QUEUED: Final = 1024  # entries of an error queue that are looked through
# What a probe to an address of many hosts ends by that was not asked for.
FOR_MANY: Final = EchoError(kind="broadcast", errno=errno.EACCES)

# Codes: https://www.iana.org/assignments/icmp-parameters and …/icmpv6-parameters
_KINDS: Final = {
    4: {
        (3, 0): "net-unreachable",
        (3, 1): "host-unreachable",
        (3, 2): "protocol-unreachable",
        (3, 3): "port-unreachable",
        (3, 4): "frag-needed",
        (3, 5): "source-route-failed",
        (3, 6): "net-unknown",
        (3, 7): "host-unknown",
        (3, 9): "net-prohibited",
        (3, 10): "host-prohibited",
        (3, 11): "net-unreachable",
        (3, 12): "host-unreachable",
        (3, 13): "prohibited",
        (11, 0): "ttl-exceeded",
        (11, 1): "reassembly-exceeded",
    },
    6: {
        (1, 0): "no-route",
        (1, 1): "prohibited",
        (1, 2): "beyond-scope",
        (1, 3): "host-unreachable",
        (1, 4): "port-unreachable",
        (1, 5): "source-prohibited",
        (1, 6): "route-rejected",
        (3, 0): "ttl-exceeded",
        (3, 1): "reassembly-exceeded",
    },
}
_GENERAL: Final = {
    4: {3: "unreachable", 11: "time-exceeded", 12: "parameter-problem"},
    6: {1: "unreachable", 2: "frag-needed", 3: "time-exceeded", 4: "parameter-problem"},
}
_LOCAL: Final = {
    errno.ENETUNREACH: "net-unreachable",
    errno.EHOSTUNREACH: "host-unreachable",
    errno.ENETDOWN: "link-down",
    errno.ENODEV: "link-down",
    errno.EADDRNOTAVAIL: "no-address",
    errno.EMSGSIZE: "frag-needed",
    errno.EACCES: "broadcast",
}


def error_of(
    version: Literal[4, 6], type: int, code: int, rest: int, router: bytes
) -> EchoError | None:
    """What an ICMP message says; None for one that ends no probe, as a redirect.

    Args:
        version: Of IP.
        type: Of the message.
        code: Of it.
        rest: What follows its checksum: an MTU, or nothing.
        router: Who sent it.
    """
    general = _GENERAL[version].get(type)
    if general is None:
        return None
    kind = _KINDS[version].get((type, code), general)
    mtu = rest if version == 6 else rest & 0xFFFF
    return EchoError(
        kind=kind,
        router=ipaddress.ip_address(router),
        type=type,
        code=code,
        # Routers from before RFC 1191 leave 0.
        mtu=(mtu or None) if kind == "frag-needed" else None,
    )


def quoted_error(
    version: Literal[4, 6], message: bytes, router: bytes
) -> tuple[bytes, bytes, EchoError] | None:
    """Where the packet went that an ICMP error is about, what is quoted of it, and the error."""
    quoted = message[_HEADER:]
    length, protocol, target = (20, 9, slice(16, 20)) if version == 4 else (40, 6, slice(24, 40))
    of_icmp = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    if len(quoted) < length or quoted[protocol] != of_icmp:
        return None
    rest = int.from_bytes(message[4:_HEADER], "big")
    error = error_of(version, message[0], message[1], rest, router)
    if error is None:
        return None
    header = (quoted[0] & 0x0F) * 4 if version == 4 else length
    return quoted[target], quoted[header:], error


def reported_error(
    version: Literal[4, 6], number: int, type: int, code: int, info: int, router: bytes
) -> EchoError | None:
    """What an entry of the error queue of a ping socket says; None: nothing that ends a probe."""
    error = error_of(version, type, code, info, router)
    return None if error is None else error._replace(errno=number)


def local_error(sock: socket.socket, number: int, address: str, size: int) -> EchoError:
    """Why this machine refused to send a probe: the errno of the system call says so.

    Args:
        sock: By which it was sent.
        number: The errno.
        address: To where.
        size: How many bytes the probe has.
    """
    mtu = _local_mtu(sock, address, size) if number == errno.EMSGSIZE else None
    return EchoError(kind=_LOCAL.get(number, "not-sent"), mtu=mtu, errno=number)


def _local_mtu(sock: socket.socket, address: str, size: int) -> int | None:
    """What the way to an address takes, as the kernel says when it refuses a second time.

    None as well where more errors than are looked through come before what it says.
    """
    # A ping socket takes nothing but requests: ping_supported() in net/ipv4/ping.c.
    level, option, request = (
        (socket.IPPROTO_IPV6, IPV6_RECVERR, b"\x80")
        if sock.family == socket.AF_INET6
        else (socket.IPPROTO_IP, IP_RECVERR, b"\x08")
    )
    before = sock.getsockopt(level, option)
    try:
        sock.setsockopt(level, option, 1)
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # of an earlier probe
        with suppress(OSError):
            sock.sendto(request.ljust(size, b"\0"), (address, 0))
        for _ in range(_QUEUED):
            entry = read_entry(sock)
            if entry is None:
                break
            if entry.origin == ORIGIN_LOCAL and entry.errno == errno.EMSGSIZE:
                return entry.info or None
    except OSError:
        return None
    finally:
        sock.setsockopt(level, option, before)
    return None
