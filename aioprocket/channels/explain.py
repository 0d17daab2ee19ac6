"""What an `OSError` of the kernel's means to whoever called us."""

import errno
import socket
from typing import Final

from ..errors import ChannelError, LinkDownError, OpenError, errno_text
from ..spec import Spec, describe
from .link import Link

__all__ = ("channel_error", "link_error", "send_error", "step_error")

# What send(2) and recv(2) say of an interface that is down or gone: packet(7), drivers/net/tun.c.
_LINK_ERRNOS: Final = frozenset({
    errno.ENETDOWN, errno.ENXIO, errno.ENODEV, errno.EBADFD, errno.EIO
})  # fmt: skip


class _BrokenPipeError(ChannelError, BrokenPipeError): ...


class _ConnectionResetError(ChannelError, ConnectionResetError): ...


class _ConnectionRefusedError(ChannelError, ConnectionRefusedError): ...


class _FileNotFoundError(ChannelError, FileNotFoundError): ...


class _PermissionError(ChannelError, PermissionError): ...


class _TimeoutError(ChannelError, TimeoutError): ...


_KINDS: Final[dict[type[OSError], type[ChannelError]]] = {
    BrokenPipeError: _BrokenPipeError,
    ConnectionResetError: _ConnectionResetError,
    ConnectionRefusedError: _ConnectionRefusedError,
    FileNotFoundError: _FileNotFoundError,
    PermissionError: _PermissionError,
    TimeoutError: _TimeoutError,
}
_LARGEST_DATAGRAM: Final = 0xFFFF - 20 - 8  # less the headers of IPv4 and UDP
_ETHERNET_HEADER: Final = 14  # ETH_HLEN: linux/if_ether.h
_HINTS: Final = {
    errno.EDESTADDRREQ: "it has no destination: give an address, as in sendto(data, addr)",
    errno.ENOTCONN: "a listening socket accepts by asyncio.start_server(sock=channel.to_socket()); "
    "a socket for packets needs an address, as in sendto(data, addr)",
    errno.ENOTSOCK: "a device is read and written without an address: receive(), send(data)",
}


def channel_error(error: OSError, doing: str, place: str, *, hint: str = "") -> ChannelError:
    """The error with what was tried, and on what channel."""
    number = error.errno or errno.EIO
    kind = _KINDS.get(type(error), ChannelError)
    message = f"{doing} on {place}: {errno_text(number)}"
    return kind(message, errno=number, hint=hint or _HINTS.get(number, ""))


def send_error(
    error: OSError, place: str, link: Link | None, size: int, address: object, family: int | None
) -> ChannelError | LinkDownError:
    """Why a packet of ``size`` bytes could not be sent; ``address`` None: to where it is bound."""
    other = _other_interface(address, link) if family == socket.AF_PACKET else None
    if other is None and link is not None:
        down = link_error(error, "send", link)
        if down is not None:
            return down
    to = "" if address is None else f" to {other or address!r}"
    doing, hint = f"send{to}", ""
    if error.errno == errno.EMSGSIZE:
        doing = f"send {size} bytes{to}"
        if size > _LARGEST_DATAGRAM and family in (socket.AF_INET, socket.AF_INET6):
            hint = "a datagram of UDP has 65,507 bytes at most, 65,527 by IPv6"
        elif link is not None:
            hint = f"the MTU of {link.name} is {link.mtu}"
    elif error.errno == errno.EINVAL and family == socket.AF_PACKET and size < _ETHERNET_HEADER:
        doing = f"send {size} bytes{to}"
        hint = "a frame starts with the header of its link: 14 bytes on Ethernet"
    elif error.errno == errno.EINVAL and family is None and link is not None:
        doing = f"send {size} bytes{to}"  # tun_get_user in drivers/net/tun.c
        hint = "a tun device takes IP packets, version 4 or 6, and a tap device whole frames"
    elif error.errno == errno.ENODEV and other is not None:
        hint = "the address of a packet socket starts with the name of an interface: packet(7)"
    elif error.errno == errno.EACCES and family == socket.AF_INET:  # ip(7), udp(7)
        hint = (
            "broadcasts take open(…, broadcast=True), which sets SO_BROADCAST; where it is none, "
            f"a route forbids it: ip route get {_host(address)}"
        )
    elif error.errno == errno.ENXIO and address is None:  # packet(7): not bound to an interface
        hint = _HINTS[errno.EDESTADDRREQ]
    return channel_error(error, doing, place, hint=hint)


def _host(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) and address else "ADDRESS"


def _other_interface(address: object, link: Link | None) -> str | None:
    """The interface that an address of packet(7) names, if it is not the channel's own."""
    match address:
        case (str(name), *_) if link is None or name != link.name:
            return name
    return None


def link_error(error: OSError, doing: str, link: Link) -> LinkDownError | None:
    """The error as one of the link, if that is what it is."""
    number = error.errno
    if number not in _LINK_ERRNOS:
        return None
    if number == errno.EBADFD:  # a tun descriptor without its device: drivers/net/tun.c
        what = f"{doing} on {link.name}: the device was removed: {errno_text(number)}"
        hint = "this channel has come to its end; open_tun() makes another device"
    else:
        what = f"{doing} on {link.name}: {errno_text(number)}"
        hint = "the same channel goes on when the link is up again; after a removal, open a new one"
    return LinkDownError(what, interface=link.name, errno=number, hint=hint)


def step_error(doing: str, step: str, spec: Spec, error: OSError) -> OpenError:
    """The error as that of one step on the way to a channel."""
    number = error.errno or errno.EIO
    message = f"{doing} {describe(spec)}: {errno_text(number)}"
    return OpenError(message, errno=number, step=step)
