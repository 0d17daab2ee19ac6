"""What can be asked for: frozen values that have checked themselves.

Nothing here opens, resolves or looks anything up: a spec is as valid on a machine without the
interface it names. Names of families, types and protocols become the kernel's numbers here, once.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from .errors import FilterError, SpecError

__all__ = (
    "ETH_P_ALL",
    "FAMILIES",
    "IP_PROTOCOLS",
    "MAX_BUFFER",
    "MAX_FILTER",
    "MAX_QUEUES",
    "MAX_TUN_ADDRESSES",
    "TYPES",
    "DeviceSpec",
    "Instruction",
    "IpAddress",
    "IpInterface",
    "PacketSpec",
    "SocketSpec",
    "Spec",
    "TunSpec",
    "describe",
    "family_number",
    "filter_instructions",
    "protocol_number",
    "type_number",
)

Instruction: TypeAlias = tuple[int, int, int, int]
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_MAX_INT: Final = 0x7FFFFFFF
MAX_BUFFER: Final = _MAX_INT // 2  # the kernel doubles it: __sock_set_rcvbuf(), net/core/sock.c
MAX_FILTER: Final = 4096  # BPF_MAXINSNS, linux/bpf_common.h
_LOCK_PROLOGUE: Final = 4  # instructions in front of a filter that is locked to an interface
_MAX_INTERFACE_NAME: Final = 15  # IFNAMSIZ less its NUL, linux/if.h
_MAX_DEVICE_NAME: Final = 31  # of the helper's request
MAX_TUN_ADDRESSES: Final = 4  # the same
MAX_QUEUES: Final = 256  # MAX_TAP_QUEUES, drivers/net/tun.c
_MAX_IP_PROTOCOL: Final = 262  # IPPROTO_MPTCP, linux/in.h
ETH_P_ALL: Final = 0x0003  # linux/if_ether.h

FAMILIES: Final[dict[str, int]] = {
    "inet": socket.AF_INET,
    "inet6": socket.AF_INET6,
    "packet": socket.AF_PACKET,
    "netlink": socket.AF_NETLINK,
    "unix": socket.AF_UNIX,
}
TYPES: Final[dict[str, int]] = {
    "stream": socket.SOCK_STREAM,
    "dgram": socket.SOCK_DGRAM,
    "raw": socket.SOCK_RAW,
    "seqpacket": socket.SOCK_SEQPACKET,
}
_VERSIONS: Final[dict[int, int]] = {socket.AF_INET: 4, socket.AF_INET6: 6}
# IANA protocol numbers under the names of /etc/protocols, which a small container lacks.
IP_PROTOCOLS: Final[dict[str, int]] = {
    "ip": 0, "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41,
    "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "icmp6": 58, "icmpv6": 58,
    "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136, "mptcp": 262,
    "raw": 255,
}  # fmt: skip
# linux/if_ether.h, in host order.
_ETHERNET_PROTOCOLS: Final[dict[str, int]] = {
    "all": ETH_P_ALL, "ip": 0x0800, "ipv4": 0x0800, "arp": 0x0806, "rarp": 0x8035,
    "vlan": 0x8100, "ipv6": 0x86DD, "pppoe-discovery": 0x8863, "pppoe": 0x8864,
    "mpls": 0x8847, "eapol": 0x888E, "qinq": 0x88A8, "lldp": 0x88CC, "macsec": 0x88E5,
    "ptp": 0x88F7, "loopback": 0x9000,
}  # fmt: skip
# linux/netlink.h
_NETLINK_PROTOCOLS: Final[dict[str, int]] = {
    "route": 0, "usersock": 2, "sock-diag": 4, "nflog": 5, "xfrm": 6, "selinux": 7, "audit": 9,
    "connector": 11, "netfilter": 12, "kobject-uevent": 15, "generic": 16, "crypto": 21,
}  # fmt: skip

# What dev_valid_name() in the kernel's net/core/dev.c takes; the helper is stricter.
# Surrogates are refused but for those that os.fsdecode() makes of bytes that are not UTF-8.
_INTERFACE_NAME = re.compile(r"[^\s/:\x00\ud800-\udc7f\udd00-\udfff]{1,15}")
_DEVICE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


def _number(what: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"{what} must be a whole number, not {value!r}")
    if not low <= value <= high:
        raise SpecError(f"{what} {value} is out of range: {low} to {high}")
    return value


def _named(what: str, value: int | str, names: dict[str, int], high: int) -> int:
    if isinstance(value, str):
        try:
            return names[value.lower()]
        except KeyError:
            raise SpecError(
                f"unknown {what} {value!r}", hint=f"known names: {', '.join(names)}; or a number"
            ) from None
    return _number(what, value, 0, high)


def family_number(family: int | str) -> int:
    """``"inet6"`` → ``AF_INET6``; a number must be one of the families this package opens."""
    number = _named("family", family, FAMILIES, 0xFFFF)
    if number not in FAMILIES.values():
        raise SpecError(f"family {number} is not one of {', '.join(FAMILIES)}")
    return number


def type_number(type: int | str) -> int:
    """``"raw"`` → ``SOCK_RAW``. Flags like ``SOCK_NONBLOCK`` are refused: both are always set."""
    number = _named("type", type, TYPES, _MAX_INT)
    if number not in TYPES.values():
        raise SpecError(f"type {number} is not one of {', '.join(TYPES)}")
    return number


def protocol_number(protocol: int | str, family: int) -> int:
    """The number of a protocol's name in its family; Ethernet protocols in host order."""
    if family == socket.AF_PACKET:
        return _named("Ethernet protocol", protocol, _ETHERNET_PROTOCOLS, 0xFFFF)
    if family == socket.AF_NETLINK:
        return _named("netlink protocol", protocol, _NETLINK_PROTOCOLS, 0xFF)
    if family == socket.AF_UNIX:
        return 0
    return _named("protocol", protocol, IP_PROTOCOLS, _MAX_IP_PROTOCOL)


def filter_instructions(program: Iterable[Sequence[int]]) -> tuple[Instruction, ...]:
    """The instructions of a classic BPF program, each ``(code, jt, jf, k)`` and in range."""
    if isinstance(program, str | bytes) or not isinstance(program, Iterable):
        raise FilterError("a filter is a sequence of (code, jt, jf, k)", text=str(program))
    found: list[Instruction] = []
    for position, instruction in enumerate(program):
        try:
            code, jt, jf, k = instruction
        except (TypeError, ValueError):
            raise FilterError(
                f"instruction {position} is not (code, jt, jf, k): {instruction!r}",
                text=repr(instruction), position=position,
            ) from None  # fmt: skip
        for name, value, limit in (
            ("code", code, 0xFFFF), ("jt", jt, 0xFF), ("jf", jf, 0xFF), ("k", k, 0xFFFFFFFF)
        ):  # fmt: skip
            if not isinstance(value, int) or not 0 <= value <= limit:
                raise FilterError(
                    f"instruction {position}: {name} {value!r} is out of range: 0 to {limit}",
                    text=repr(instruction), position=position,
                )  # fmt: skip
        found.append((code, jt, jf, k))
    if not 1 <= len(found) <= MAX_FILTER:
        raise FilterError(f"a filter has 1 to {MAX_FILTER} instructions, not {len(found)}")
    return tuple(found)


def _check_interface(name: object) -> None:
    if not isinstance(name, str) or name in {".", ".."} or not _INTERFACE_NAME.fullmatch(name):
        raise SpecError(
            f"interface name {name!r} cannot exist",
            hint=f"1 to {_MAX_INTERFACE_NAME} characters, without space, '/' or ':'",
        )
    if len(name.encode(errors="surrogateescape")) > _MAX_INTERFACE_NAME:
        raise SpecError(f"interface name {name!r} is longer than {_MAX_INTERFACE_NAME} bytes")


def _check_namespace(namespace: object) -> None:
    if not isinstance(namespace, str) or not namespace or "\x00" in namespace:
        raise SpecError(
            f"namespace {namespace!r} is not a name, a path or 'pid:N'",
            hint="a name as in 'ip netns list', a path like /proc/1234/ns/net, or 'pid:1234'",
        )
    if namespace.startswith("pid:") and not re.fullmatch(r"pid:[1-9][0-9]{0,9}", namespace):
        raise SpecError(f"namespace {namespace!r} names no process: 'pid:' and its number")
    if namespace in {".", ".."}:
        raise SpecError(f"namespace {namespace!r} is not a name")


def _check_address(what: str, address: object) -> None:
    if not isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
        raise SpecError(f"{what} {address!r} is not an ipaddress object")
    if getattr(address, "scope_id", None) is not None:
        raise SpecError(
            f"{what} {address} carries a scope", hint="leave out '%…' and say interface="
        )


def _check_options(spec: "SocketSpec | PacketSpec") -> None:
    for what, value, low, high in (
        ("mark", spec.mark, 0, 0xFFFFFFFF),
        ("priority", spec.priority, 0, _MAX_INT),
        ("receive_buffer", spec.receive_buffer, 1, MAX_BUFFER),
        ("send_buffer", spec.send_buffer, 1, MAX_BUFFER),
    ):
        if value is not None:
            _number(what, value, low, high)
    if spec.interface is not None:
        _check_interface(spec.interface)
    if spec.namespace is not None:
        _check_namespace(spec.namespace)
    if spec.filter is not None and filter_instructions(spec.filter) != spec.filter:
        raise FilterError("a spec's filter is a tuple of tuples")


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketSpec:
    """A socket of any family but packet. Sizes in bytes; ``port`` 0 and ``ip`` None: unbound."""

    family: int
    type: int
    protocol: int
    ip: IpAddress | None = None
    port: int = 0
    interface: str | None = None
    backlog: int | None = None
    reuse_port: bool = False
    mark: int | None = None
    priority: int | None = None
    receive_buffer: int | None = None
    send_buffer: int | None = None
    filter: tuple[Instruction, ...] | None = None
    lock_filter: bool = False
    namespace: str | None = None

    def __post_init__(self) -> None:
        family_number(_number("family", self.family, 0, 0xFFFF))
        type_number(_number("type", self.type, 0, _MAX_INT))
        _number("protocol", self.protocol, 0, _MAX_IP_PROTOCOL)
        if self.family == socket.AF_PACKET:
            raise SpecError("a socket of family packet is a PacketSpec")
        _check_options(self)
        self._check_place()
        if self.backlog is not None:
            _number("backlog", self.backlog, 0, 65535)
            if self.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
                raise SpecError(f"a {_noun(self)} does not listen: backlog is for type stream")
        if self.filter is not None and self.type == socket.SOCK_STREAM:
            raise SpecError("a filter works on packets, not on a stream")
        if self.lock_filter and self.filter is None:
            raise SpecError("lock_filter needs a filter to lock")

    def _check_place(self) -> None:
        """Check what says where the socket is: address, port, interface."""
        _number("port", self.port, 0, 65535)
        ported = self.family in _VERSIONS and self.type != socket.SOCK_RAW
        if self.port and not ported:
            raise SpecError(f"port {self.port} means nothing to a {_noun(self)}")
        if self.reuse_port and not ported:
            raise SpecError(f"reuse_port means nothing to a {_noun(self)}")
        if self.interface is not None and self.family not in _VERSIONS:
            raise SpecError(f"interface means nothing to a {_noun(self)}")
        if self.ip is None:
            return
        _check_address("ip", self.ip)
        if self.ip.version != _VERSIONS.get(self.family):
            raise SpecError(f"ip {self.ip} is not an address of family {_family(self.family)}")
        if self.ip.version == 6 and self.ip.is_link_local and self.interface is None:
            raise SpecError(f"ip {self.ip} is link-local and needs interface=")


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketSpec:
    """A packet(7) socket. ``protocol`` in host order; ``interface`` None: all interfaces."""

    type: int = socket.SOCK_RAW
    protocol: int = ETH_P_ALL
    interface: str | None = None
    promiscuous: bool = False
    allmulti: bool = False
    snaplen: int = 65535
    mark: int | None = None
    priority: int | None = None
    receive_buffer: int | None = None
    send_buffer: int | None = None
    filter: tuple[Instruction, ...] | None = None
    lock_filter: bool = False
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.type not in (socket.SOCK_RAW, socket.SOCK_DGRAM):
            raise SpecError(f"a packet socket's type is raw or dgram, not {_type(self.type)}")
        _number("protocol", self.protocol, 0, 0xFFFF)
        _number("snaplen", self.snaplen, 1, 65535)
        _check_options(self)
        if (self.promiscuous or self.allmulti) and self.interface is None:
            raise SpecError("promiscuous and allmulti need an interface")
        if self.lock_filter and self.filter is None and self.interface is None:
            raise SpecError("lock_filter needs a filter or an interface to lock to")
        room = MAX_FILTER - _LOCK_PROLOGUE
        if self.lock_filter and self.interface is not None and len(self.filter or ()) > room:
            raise FilterError(f"a filter locked to an interface has at most {room} instructions")


@dataclass(frozen=True, slots=True, kw_only=True)
class TunSpec:
    """One queue of a TUN or TAP device. ``name`` empty: the kernel numbers it, as ``aio0``."""

    name: str = ""
    mode: Literal["tun", "tap"] = "tun"
    mtu: int | None = None
    addresses: tuple[IpInterface, ...] = ()
    up: bool = True
    persist: bool = False
    multi_queue: bool = False
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("tun", "tap"):
            raise SpecError(f"mode {self.mode!r} is neither 'tun' nor 'tap'")
        if self.name != "":
            _check_interface(self.name)
            if "%" in self.name:
                raise SpecError(f"name {self.name!r}: the kernel would number it; say ''")
        if self.mtu is not None:
            _number("mtu", self.mtu, 68, 65521)  # MIN_MTU, MAX_MTU less headers: drivers/net/tun.c
        if len(self.addresses) > MAX_TUN_ADDRESSES:
            raise SpecError(f"at most {MAX_TUN_ADDRESSES} addresses, not {len(self.addresses)}")
        for address in self.addresses:
            if not isinstance(address, ipaddress.IPv4Interface | ipaddress.IPv6Interface):
                raise SpecError(
                    f"address {address!r} is not an ipaddress object with its prefix",
                    hint="ipaddress.ip_interface('10.0.0.1/24')",
                )
            _check_address("address", address)
        if self.namespace is not None:
            _check_namespace(self.namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """A character device: its name below /dev, as ``net/tun``."""

    name: str

    def __post_init__(self) -> None:
        if (
            not isinstance(self.name, str)
            or len(self.name) > _MAX_DEVICE_NAME
            or not _DEVICE_NAME.fullmatch(self.name)
        ):
            raise SpecError(
                f"device name {self.name!r} is not a name below /dev",
                hint="like 'net/tun': no leading '/', no '..', at most 31 characters",
            )


Spec: TypeAlias = SocketSpec | PacketSpec | TunSpec | DeviceSpec


def _family(number: int) -> str:
    return next((name for name, value in FAMILIES.items() if value == number), str(number))


def _type(number: int) -> str:
    return next((name for name, value in TYPES.items() if value == number), str(number))


def _protocol(number: int, names: dict[str, int]) -> str:
    return next((name for name, value in names.items() if value == number), str(number))


def _noun(spec: SocketSpec) -> str:
    if spec.family not in _VERSIONS:
        return f"{_family(spec.family)} socket"
    raw = "raw " if spec.type == socket.SOCK_RAW else ""
    return f"{raw}{_protocol(spec.protocol, IP_PROTOCOLS)} socket"


def describe(spec: Spec) -> str:
    """One phrase for messages: ``udp socket at 127.0.0.1 port 53``, ``packet socket on eth0``."""
    if isinstance(spec, DeviceSpec):
        return f"device /dev/{spec.name}"
    place = f" in namespace {spec.namespace}" if spec.namespace is not None else ""
    if isinstance(spec, TunSpec):
        name = f" {spec.name!r}" if spec.name else ""
        return f"{spec.mode} device{name}{place}"
    on = f" on {spec.interface}" if spec.interface else ""
    if isinstance(spec, PacketSpec):
        return f"packet socket{on}{place}"
    at = f" at {spec.ip}" if spec.ip is not None else ""
    port = f" port {spec.port}" if spec.port else ""
    return f"{_noun(spec)}{at}{port}{on}{place}"
