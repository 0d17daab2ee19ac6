"""What can be asked for: frozen values that have checked themselves.

Nothing here opens, resolves or looks anything up: a spec is as valid on a machine without the
interface it names. Names of families, types and protocols become the kernel's numbers here, once.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from .bounds import MAX_INT, whole
from .errors import FilterError, SpecError
from .names import (
    ETH_P_ALL,
    MAX_IP_PROTOCOL,
    family_name,
    family_number,
    protocol_name,
    type_name,
    type_number,
)

__all__ = (
    "MAX_BUFFER",
    "MAX_FILTER",
    "MAX_QUEUES",
    "MAX_TUN_ADDRESSES",
    "DeviceSpec",
    "Fanout",
    "FanoutModeName",
    "Instruction",
    "IpAddress",
    "IpInterface",
    "Latency",
    "PacketSpec",
    "SocketSpec",
    "Spec",
    "TunSpec",
    "describe",
    "filter_instructions",
)

Instruction: TypeAlias = tuple[int, int, int, int]
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpInterface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface

MAX_BUFFER: Final = MAX_INT // 2  # the kernel doubles it: __sock_set_rcvbuf(), net/core/sock.c
MAX_FILTER: Final = 4096  # BPF_MAXINSNS, linux/bpf_common.h
_LOCK_PROLOGUE: Final = 4  # instructions in front of a filter that is locked to an interface
_MAX_INTERFACE_NAME: Final = 15  # IFNAMSIZ less its NUL, linux/if.h
_MAX_DEVICE_NAME: Final = 31  # of the helper's request
MAX_TUN_ADDRESSES: Final = 4  # the same
MAX_QUEUES: Final = 256  # MAX_TAP_QUEUES, drivers/net/tun.c

_VERSIONS: Final[dict[int, int]] = {socket.AF_INET: 4, socket.AF_INET6: 6}

# What dev_valid_name() in the kernel's net/core/dev.c takes; the helper is stricter.
# Surrogates are refused but for those that os.fsdecode() makes of bytes that are not UTF-8.
_INTERFACE_NAME = re.compile(r"[^\s/:\x00\ud800-\udc7f\udd00-\udfff]{1,15}")
_DEVICE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


def _flags(spec: object, *names: str) -> None:
    # 0 is not False to whoever asks `is False`, and a filter would be locked by it.
    for name in names:
        if not isinstance(getattr(spec, name), bool):
            raise SpecError(f"{name} is True or False, not {getattr(spec, name)!r}")


def filter_instructions(program: Iterable[Sequence[int]]) -> tuple[Instruction, ...]:
    """The instructions of a classic BPF program, each ``(code, jt, jf, k)`` and in range."""
    if isinstance(program, str | bytes) or not isinstance(program, Iterable):
        raise FilterError(
            f"a filter is a sequence of (code, jt, jf, k), not {program!r:.60}",
            text=str(program),
            hint="an aioprocket.bpf.Program, or the rows that tcpdump -dd EXPRESSION prints",
        )
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
            hint=f"a string of 1 to {_MAX_INTERFACE_NAME} characters, without space, '/' or ':'",
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
    _flags(spec, "lock_filter")
    for what, value, low, high in (
        ("mark", spec.mark, 0, 0xFFFFFFFF),
        ("priority", spec.priority, 0, MAX_INT),
        ("receive_buffer", spec.receive_buffer, 1, MAX_BUFFER),
        ("receive_buffer", getattr(spec, "ring_size", None), 1, MAX_BUFFER),
        ("send_buffer", spec.send_buffer, 1, MAX_BUFFER),
    ):
        if value is not None:
            whole(what, value, low, high)
    if spec.interface is not None:
        _check_interface(spec.interface)
    if spec.namespace is not None:
        _check_namespace(spec.namespace)
    if spec.filter is not None and filter_instructions(spec.filter) != spec.filter:
        raise FilterError("a spec's filter is a tuple of tuples")


Latency: TypeAlias = Literal["low", "balanced", "throughput"]


def _check_latency(latency: object, *, ring: bool) -> None:
    if latency not in get_args(Latency):
        raise SpecError(f"latency {latency!r} is none of {', '.join(get_args(Latency))}")
    if latency == "throughput" and not ring:
        raise SpecError(
            'latency "throughput" is that of a ring, and there is none here',
            hint='"balanced" lets a packet wait for up to 1 ms',
        )


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
    offload: bool = False
    broadcast: bool = False
    namespace: str | None = None
    latency: Latency = "low"

    def __post_init__(self) -> None:
        family_number(whole("family", self.family, 0, 0xFFFF))
        type_number(whole("type", self.type, 0, MAX_INT))
        whole("protocol", self.protocol, 0, MAX_IP_PROTOCOL)
        if self.family == socket.AF_PACKET:
            raise SpecError("a socket of family packet is a PacketSpec")
        _check_options(self)
        _flags(self, "reuse_port", "offload", "broadcast")
        _check_latency(self.latency, ring=False)
        if self.latency != "low" and self.type == socket.SOCK_STREAM:
            raise SpecError(f"latency {self.latency!r} is for packets, and a stream has none")
        if self.offload and not self._is_udp():
            raise SpecError(f"a {_noun(self)} has no offload: UDP sockets have, and tun and tap")
        if self.broadcast and (self.family != socket.AF_INET or self.type == socket.SOCK_STREAM):
            raise SpecError(f"a {_noun(self)} has no broadcasts: sockets of IPv4 for packets have")
        self._check_place()
        if self.backlog is not None:
            whole("backlog", self.backlog, 0, 65535)
            if self.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
                raise SpecError(f"a {_noun(self)} does not listen: backlog is for type stream")
        if self.filter is not None and self.type == socket.SOCK_STREAM:
            raise SpecError("a filter works on packets, not on a stream")
        if self.lock_filter and self.filter is None:
            raise SpecError("lock_filter needs a filter to lock")

    def _is_udp(self) -> bool:
        return (
            self.family in _VERSIONS
            and self.type == socket.SOCK_DGRAM
            and self.protocol in (0, socket.IPPROTO_UDP)
        )

    def _check_place(self) -> None:
        """Check what says where the socket is: address, port, interface."""
        whole("port", self.port, 0, 65535)
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
            raise SpecError(f"ip {self.ip} is not an address of family {family_name(self.family)}")
        if self.ip.version == 6 and self.ip.is_link_local and self.interface is None:
            raise SpecError(f"ip {self.ip} is link-local and needs interface=")


FanoutModeName: TypeAlias = Literal["hash", "lb", "cpu", "rollover", "rnd", "qm", "cbpf"]


@dataclass(frozen=True, slots=True)
class Fanout:
    """A group of packet sockets that share the packets of one interface: packet(7).

    Attributes:
        group: 0 to 65535; None: a new one, which `PacketChannel.fanout` tells.
        mode: Whose a packet is: ``"hash"`` by its flow, ``"lb"`` in turn, ``"cpu"`` by the
            processor that received it, ``"rnd"`` at random, ``"qm"`` by the receive queue,
            ``"rollover"`` the first one's that has room, ``"cbpf"`` by what ``program`` returns.
        defrag: Put IP fragments together first, so that all of a flow have one hash.
        rollover: To another member rather than drop it.
        program: Of mode cbpf; its result modulo the number of members is who.
    """

    group: int | None = None
    mode: FanoutModeName = "hash"
    defrag: bool = False
    rollover: bool = False
    program: tuple[Instruction, ...] | None = None

    def __post_init__(self) -> None:
        if self.group is not None:
            whole("fanout group", self.group, 0, 0xFFFF)
        if self.mode not in get_args(FanoutModeName):
            raise SpecError(
                f"fanout mode {self.mode!r} is none",
                hint=f"one of {', '.join(get_args(FanoutModeName))}",
            )
        _flags(self, "defrag", "rollover")
        if (self.program is None) == (self.mode == "cbpf"):
            raise SpecError("a fanout has a program if its mode is cbpf, and only then")
        if self.program is not None:
            object.__setattr__(self, "program", filter_instructions(self.program))


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketSpec:
    """A packet(7) socket. ``protocol`` in host order; ``interface`` None: all interfaces."""

    type: int = socket.SOCK_RAW
    protocol: int = ETH_P_ALL
    interface: str | None = None
    promiscuous: bool = False
    allmulti: bool = False
    snaplen: int = 65535
    ring: bool = False
    ring_size: int | None = None  # of memory that takes no privilege, unlike the socket's buffer
    latency: Latency = "balanced"
    fanout: Fanout | None = None
    qdisc_bypass: bool = False
    mark: int | None = None
    priority: int | None = None
    receive_buffer: int | None = None
    send_buffer: int | None = None
    filter: tuple[Instruction, ...] | None = None
    lock_filter: bool = False
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.type not in (socket.SOCK_RAW, socket.SOCK_DGRAM):
            raise SpecError(f"a packet socket's type is raw or dgram, not {type_name(self.type)}")
        whole("protocol", self.protocol, 0, 0xFFFF)
        whole("snaplen", self.snaplen, 1, 65535)
        _check_options(self)
        _flags(self, "promiscuous", "allmulti", "ring", "qdisc_bypass")
        _check_latency(self.latency, ring=self.ring)
        if self.fanout is not None and not isinstance(self.fanout, Fanout):
            raise SpecError(f"fanout {self.fanout!r} is no Fanout", hint="or its group: a number")
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
    offload: bool = False
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("tun", "tap"):
            raise SpecError(f"mode {self.mode!r} is neither 'tun' nor 'tap'")
        _flags(self, "up", "persist", "multi_queue", "offload")
        if self.name != "":
            _check_interface(self.name)
            if "%" in self.name:
                raise SpecError(f"name {self.name!r}: the kernel would number it; say ''")
        if self.mtu is not None:
            whole("mtu", self.mtu, 68, 65521)  # MIN_MTU, MAX_MTU less headers: drivers/net/tun.c
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


def _noun(spec: SocketSpec) -> str:
    if spec.family not in _VERSIONS:
        return f"{family_name(spec.family)} socket"
    raw = "raw " if spec.type == socket.SOCK_RAW else ""
    return f"{raw}{protocol_name(spec.protocol)} socket"


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
