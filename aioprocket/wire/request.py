"""What a client asks of the helper: HELLO, or OPEN of one descriptor.

``helper/PROTOCOL.md`` is the whole of the protocol; this module is its reference in Python, and
``helper/request.c`` is the other half. `decode_request` finds every fault of form, so that a fake
helper in a test is as strict as the real one. The answer is in `reply`.
"""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..errors import SpecError, WireError
from ..names import TYPES
from ..spec import (
    MAX_BUFFER,
    MAX_FILTER,
    MAX_TUN_ADDRESSES,
    Instruction,
    IpAddress,
    IpInterface,
    PacketSpec,
    SocketSpec,
    Spec,
    TunSpec,
    describe,
)
from .kinds import IPV4_KINDS, PACKET_KINDS, RAW_KINDS, TAKES, Flag, Kind, maybe_kind
from .message import DEVICE_NAME, INTERFACE_NAME, MAGIC, VERSION, Layout, Op, decode_name

__all__ = (
    "Request",
    "decode_request",
    "encode_hello",
    "encode_open",
    "encode_request",
    "request_of",
)


_LAYOUT: Final = Layout(
    magic="I", version="H", size="H", op="H", kind="H", id="I", flags="I", protocol="H", port="H",
    address="16s", interface="16s", device="32s", mark="I", priority="I", receive_buffer="I",
    send_buffer="I", backlog="H", mtu="H", filter_count="H", address_count="H", addresses="80s",
    reserved="8s",
)  # fmt: skip
_INSTRUCTION: Final = struct.Struct("<HBBI")  # struct sock_filter, linux/filter.h
_TUN_ADDRESS: Final = struct.Struct("<BB2s16s")  # version, prefix, zero, address

_NOT_IN_HELLO: Final = tuple(
    name for name in _LAYOUT.names if name not in ("magic", "version", "size", "op", "id")
)

# The flags whose field is a plain number, and the numbers that the field takes.
_NUMBERS: Final = {
    Flag.PORT: ("port", 1, 0xFFFF),
    Flag.MARK: ("mark", 0, 0xFFFFFFFF),
    Flag.PRIORITY: ("priority", 0, 0xFFFFFFFF),
    Flag.RECEIVE_BUFFER: ("receive_buffer", 1, MAX_BUFFER),
    Flag.SEND_BUFFER: ("send_buffer", 1, MAX_BUFFER),
    Flag.BACKLOG: ("backlog", 0, 0xFFFF),
    Flag.MTU: ("mtu", 68, 65521),
}
# Each flag is set by the field of its name in a Request.
_ATTRIBUTES: Final = {flag: str(flag.name).lower() for flag in Flag}
_FIELDS: Final = {flag: (name,) for flag, (name, _, _) in _NUMBERS.items()} | {
    Flag.ADDRESS: ("address",),
    Flag.INTERFACE: ("interface",),
    Flag.DEVICE: ("device",),
    Flag.FILTER: ("filter_count",),
    Flag.ADDRESSES: ("address_count", "addresses"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. A field that is None, False or empty is not set; `flags` follows from that.

    ``kind`` is None in HELLO. ``namespace`` says that a descriptor travels with the message.
    ``filter`` is taken as it is: whether it is a program that the kernel takes is `bpf`'s to know.
    """

    op: Op
    kind: Kind | None = None
    id: int = 0
    protocol: int = 0
    address: IpAddress | None = None
    port: int | None = None
    interface: str | None = None
    device: str | None = None
    mark: int | None = None
    priority: int | None = None
    receive_buffer: int | None = None
    send_buffer: int | None = None
    backlog: int | None = None
    mtu: int | None = None
    filter: tuple[Instruction, ...] | None = None
    lock: bool = False
    reuse_port: bool = False
    namespace: bool = False
    addresses: tuple[IpInterface, ...] = ()
    up: bool = False
    persist: bool = False
    queues: bool = False
    offload: bool = False

    @property
    def flags(self) -> Flag:
        """The flags of all that is set."""
        found = Flag(0)
        for flag, name in _ATTRIBUTES.items():
            value = getattr(self, name)
            # Not "in (None, False, ())": a mark of 0 is set, and equals False.
            if value is not None and value is not False and value != ():
                found |= flag
        return found


def encode_hello(id: int = 0) -> bytes:
    """The message that begins a session. ``id`` comes back in the reply."""
    return encode_request(Request(op=Op.HELLO, id=id))


def encode_open(spec: Spec, id: int = 0) -> bytes:
    """The message that asks for what ``spec`` describes. ``id`` comes back in the reply.

    With a ``spec.namespace`` that namespace's descriptor must travel with the message.

    Raises:
        SpecError: The helper does not open such a thing, or not with such an option.
    """
    return encode_request(request_of(spec, id))


def request_of(spec: Spec, id: int = 0) -> Request:
    """The request for what ``spec`` describes, less what the receiver does for itself.

    Raises:
        SpecError: The helper does not open such a thing, or not with such an option.
    """
    match spec:
        case SocketSpec():
            request = _socket_request(spec, id)
        case PacketSpec():
            request = _packet_request(spec, id)
        case TunSpec():
            request = _tun_request(spec, id)
        case _:
            request = Request(op=Op.OPEN, kind=Kind.DEVICE, id=id, device=spec.name)
    _check_expressible(spec, request)
    return request


def _socket_request(spec: SocketSpec, id: int) -> Request:
    kind = maybe_kind(spec.family, spec.type, spec.protocol)
    if kind is None:
        raise SpecError(
            f"the helper does not open this: {describe(spec)}",
            hint="it opens tcp, udp, icmp and raw sockets of IPv4 and IPv6, packet sockets, "
            "tun, tap and listed devices",
        )
    return Request(
        op=Op.OPEN,
        kind=kind,
        id=id,
        protocol=spec.protocol if kind in RAW_KINDS else 0,
        address=spec.ip,
        port=spec.port or None,
        interface=spec.interface,
        mark=spec.mark,
        priority=spec.priority,
        receive_buffer=spec.receive_buffer,
        send_buffer=spec.send_buffer,
        backlog=spec.backlog,
        filter=spec.filter,
        lock=spec.lock_filter,
        reuse_port=spec.reuse_port,
        namespace=spec.namespace is not None,
    )


def _packet_request(spec: PacketSpec, id: int) -> Request:
    # Protocol and memberships stay behind: the receiver sets them when it binds.
    return Request(
        op=Op.OPEN,
        kind=Kind.PACKET if spec.type == TYPES["raw"] else Kind.PACKET_DGRAM,
        id=id,
        interface=spec.interface,
        mark=spec.mark,
        priority=spec.priority,
        receive_buffer=spec.receive_buffer,
        send_buffer=spec.send_buffer,
        filter=spec.filter,
        lock=spec.lock_filter,
        namespace=spec.namespace is not None,
    )


def _tun_request(spec: TunSpec, id: int) -> Request:
    return Request(
        op=Op.OPEN,
        kind=Kind.TUN if spec.mode == "tun" else Kind.TAP,
        id=id,
        interface=spec.name or None,
        mtu=spec.mtu,
        namespace=spec.namespace is not None,
        addresses=spec.addresses,
        up=spec.up,
        persist=spec.persist,
        queues=spec.multi_queue,
        offload=spec.offload,
    )


def _check_expressible(spec: Spec, request: Request) -> None:
    kind = request.kind
    assert kind is not None
    strange = request.flags & ~TAKES[kind]
    if strange:
        names = ", ".join(_ATTRIBUTES[flag] for flag in strange)
        raise SpecError(f"the helper does not set {names} on this: {describe(spec)}")
    if request.interface is not None and not INTERFACE_NAME.fullmatch(request.interface):
        raise SpecError(
            f"the helper does not take the interface name {request.interface!r}",
            hint="letters, digits, '.', '_' and '-', not beginning with '-'",
        )


def encode_request(request: Request) -> bytes:
    """The bytes of a request whose values are within the limits of the protocol."""
    numbers = {name: getattr(request, name) or 0 for name, _, _ in _NUMBERS.values()}
    program = request.filter or ()
    header = _LAYOUT.pack(
        magic=MAGIC,
        version=VERSION,
        size=_LAYOUT.size,
        op=request.op,
        kind=request.kind or 0,
        id=request.id,
        flags=request.flags,
        protocol=request.protocol,
        address=request.address.packed if request.address is not None else b"",
        interface=(request.interface or "").encode("ascii"),
        device=(request.device or "").encode("ascii"),
        filter_count=len(program),
        address_count=len(request.addresses),
        addresses=b"".join(_encode_tun_address(item) for item in request.addresses),
        **numbers,
    )
    return header + b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def _encode_tun_address(item: IpInterface) -> bytes:
    return _TUN_ADDRESS.pack(item.version, item.network.prefixlen, b"", item.ip.packed)


def decode_request(data: bytes) -> Request:
    """The request that a message of the helper's protocol makes: the reference decoder.

    Raises:
        WireError: A fault of form; the message begins with the name of the field at fault.
    """
    header = _decode_header(data)
    op = header["op"]
    if op == Op.HELLO:
        _LAYOUT.check_zero(header, _NOT_IN_HELLO)
        return Request(op=Op.HELLO, id=header["id"])
    if op != Op.OPEN:
        raise _LAYOUT.fault("op", f"{op} is unknown")
    kind, flags = _decode_kind(header)
    numbers: dict[str, Any] = _decode_numbers(flags, header)
    return Request(
        op=Op.OPEN,
        kind=kind,
        id=header["id"],
        protocol=_decode_protocol(kind, header),
        address=_decode_address(kind, flags, header),
        interface=_decode_interface(flags, header),
        device=_decode_device(flags, header),
        filter=_decode_filter(flags, header, data),
        addresses=tuple(_decode_tun_addresses(flags, header)),
        **numbers,
        **{_ATTRIBUTES[flag]: True for flag in flags if flag not in _FIELDS},
    )


def _decode_header(data: bytes) -> dict[str, Any]:
    if len(data) < _LAYOUT.size:
        raise WireError(f"length: {len(data)} is less than {_LAYOUT.size}", offset=len(data))
    header = _LAYOUT.unpack(data)
    _LAYOUT.check_head(header)
    _LAYOUT.check_zero(header, ("reserved",))
    whole = _LAYOUT.size + _INSTRUCTION.size * header["filter_count"]
    if len(data) != whole:
        raise WireError(f"length: {len(data)} is not {whole}", offset=min(len(data), whole))
    return header


def _decode_kind(header: dict[str, Any]) -> tuple[Kind, Flag]:
    try:
        kind = Kind(header["kind"])
    except ValueError:
        raise _LAYOUT.fault("kind", f"{header['kind']} is unknown") from None
    strange = header["flags"] & ~int(TAKES[kind])
    if strange:
        raise _LAYOUT.fault("flags", f"0x{strange:x} does not go with {kind.name}")
    flags = Flag(header["flags"])
    if kind is Kind.DEVICE and not flags:
        raise _LAYOUT.fault("flags", "no device is named")
    lockable = Flag.FILTER | (Flag.INTERFACE if kind in PACKET_KINDS else Flag(0))
    if Flag.LOCK in flags and not flags & lockable:
        raise _LAYOUT.fault("flags", "nothing to lock")
    for flag, names in _FIELDS.items():
        if flag not in flags:
            _LAYOUT.check_zero(header, names)
    return kind, flags


def _check_range(header: dict[str, Any], name: str, low: int, high: int) -> None:
    if not low <= header[name] <= high:
        raise _LAYOUT.fault(name, f"{header[name]} is not within {low} to {high}")


def _decode_numbers(flags: Flag, header: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for flag, (name, low, high) in _NUMBERS.items():
        if flag in flags:
            _check_range(header, name, low, high)
            found[name] = header[name]
    return found


def _decode_protocol(kind: Kind, header: dict[str, Any]) -> int:
    protocol: int = header["protocol"]
    if protocol > (255 if kind in RAW_KINDS else 0):
        raise _LAYOUT.fault("protocol", f"{protocol} does not go with {kind.name}")
    return protocol


def _decode_address(kind: Kind, flags: Flag, header: dict[str, Any]) -> IpAddress | None:
    if Flag.ADDRESS not in flags:
        return None
    packed: bytes = header["address"]
    if kind in IPV4_KINDS:
        if any(packed[4:]):
            raise _LAYOUT.fault("address", "slack behind the four bytes of IPv4")
        return ipaddress.IPv4Address(packed[:4])
    address = ipaddress.IPv6Address(packed)
    if address.is_link_local and Flag.INTERFACE not in flags:
        raise _LAYOUT.fault("address", "link-local without an interface")
    return address


def _decode_interface(flags: Flag, header: dict[str, Any]) -> str | None:
    if Flag.INTERFACE not in flags:
        return None
    name = decode_name(header["interface"], INTERFACE_NAME)
    if name is None:
        raise _LAYOUT.fault("interface", f"{header['interface']!r} is not a name")
    return name


def _decode_device(flags: Flag, header: dict[str, Any]) -> str | None:
    if Flag.DEVICE not in flags:
        return None
    name = decode_name(header["device"], DEVICE_NAME)
    if name is None:
        raise _LAYOUT.fault("device", f"{header['device']!r} is not a name below /dev")
    return name


def _decode_filter(
    flags: Flag, header: dict[str, Any], data: bytes
) -> tuple[Instruction, ...] | None:
    if Flag.FILTER not in flags:
        return None
    _check_range(header, "filter_count", 1, MAX_FILTER)
    return tuple(_INSTRUCTION.iter_unpack(data[_LAYOUT.size :]))


def _decode_tun_addresses(flags: Flag, header: dict[str, Any]) -> Iterator[IpInterface]:
    if Flag.ADDRESSES not in flags:
        return
    _check_range(header, "address_count", 1, MAX_TUN_ADDRESSES)
    used = header["address_count"] * _TUN_ADDRESS.size
    if any(header["addresses"][used:]):
        raise _LAYOUT.fault("addresses", "more of them than address_count says")
    for version, prefix, reserved, packed in _TUN_ADDRESS.iter_unpack(header["addresses"][:used]):
        bits = {4: 32, 6: 128}.get(version)
        if bits is None or prefix > bits or any(reserved) or any(packed[bits // 8 :]):
            raise _LAYOUT.fault("addresses", f"IPv{version}, {packed.hex()}/{prefix}")
        if version == 4:
            yield ipaddress.IPv4Interface((packed[:4], prefix))
        else:
            yield ipaddress.IPv6Interface((packed, prefix))
