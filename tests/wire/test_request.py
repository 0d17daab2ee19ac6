import dataclasses
import ipaddress
import socket
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden
from aioprocket.errors import SpecError, WireError
from aioprocket.spec import DeviceSpec, PacketSpec, SocketSpec, Spec, TunSpec
from aioprocket.wire.kinds import IPV4_KINDS, PACKET_KINDS, RAW_KINDS, TAKES, Flag, Kind
from aioprocket.wire.message import Op
from aioprocket.wire.request import (
    Request,
    decode_request,
    encode_hello,
    encode_open,
    encode_request,
    request_of,
)
from golden import Golden

ID = slice(12, 16)
RETURN = (0x06, 0, 0, 0)

names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,14}", fullmatch=True)
programs = st.lists(
    st.tuples(
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFF),
        st.integers(0, 0xFF),
        st.integers(0, 0xFFFFFFFF),
    ),
    min_size=1,
    max_size=8,
).map(tuple)
interfaces = st.one_of(
    st.builds(
        lambda packed, prefix: ipaddress.IPv4Interface((packed, prefix)),
        st.binary(min_size=4, max_size=4),
        st.integers(0, 32),
    ),
    st.builds(
        lambda packed, prefix: ipaddress.IPv6Interface((packed, prefix)),
        st.binary(min_size=16, max_size=16),
        st.integers(0, 128),
    ),
)
FIELDS: dict[Flag, st.SearchStrategy[Any]] = {
    Flag.PORT: st.integers(1, 0xFFFF),
    Flag.INTERFACE: names,
    Flag.DEVICE: st.lists(names, min_size=1, max_size=2).map("/".join),
    Flag.MARK: st.integers(0, 0xFFFFFFFF),
    Flag.PRIORITY: st.integers(0, 0xFFFFFFFF),
    Flag.RECEIVE_BUFFER: st.integers(1, 0x3FFFFFFF),
    Flag.SEND_BUFFER: st.integers(1, 0x3FFFFFFF),
    Flag.BACKLOG: st.integers(0, 0xFFFF),
    Flag.MTU: st.integers(68, 65521),
    Flag.FILTER: programs,
    Flag.ADDRESSES: st.lists(interfaces, min_size=1, max_size=4).map(tuple),
}


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """OPEN of any kind, with any of the options that it takes."""
    kind = draw(st.sampled_from(Kind))
    chosen = (
        {Flag.DEVICE} if kind is Kind.DEVICE else draw(st.sets(st.sampled_from(list(TAKES[kind]))))
    )
    if Flag.LOCK in chosen and Flag.FILTER not in chosen:
        chosen.add(Flag.INTERFACE if kind in PACKET_KINDS else Flag.FILTER)
    values = {
        attribute(flag): draw(FIELDS.get(flag, st.just(True)))
        for flag in chosen
        if flag is not Flag.ADDRESS
    }
    if Flag.ADDRESS in chosen:
        values["address"] = draw(st.ip_addresses(v=4 if kind in IPV4_KINDS else 6))
        if values["address"].is_link_local and kind not in IPV4_KINDS:
            values["interface"] = draw(names)
    if kind in RAW_KINDS:
        values["protocol"] = draw(st.integers(0, 255))
    return Request(op=Op.OPEN, kind=kind, id=draw(st.integers(0, 0xFFFFFFFF)), **values)


def attribute(flag: Flag) -> str:
    return str(flag.name).lower()


def written(request: Request) -> list[tuple[str, str]]:
    """The meaning in the form of golden/README.md."""
    found = [("op", request.op.name.lower())]
    if request.kind is not None:
        found.append(("kind", request.kind.name.lower()))
    found.append(("id", str(request.id)))
    if request.kind in RAW_KINDS:
        found.append(("protocol", str(request.protocol)))
    for flag in request.flags:
        name = attribute(flag)
        found += [(name, text) for text in written_field(getattr(request, name))]
    return found


def written_field(value: Any) -> list[str]:
    if value is True:
        return ["yes"]
    if isinstance(value, tuple):
        return [
            " ".join(map(str, item)) if isinstance(item, tuple) else item.exploded for item in value
        ]
    return [getattr(value, "exploded", str(value))]


@pytest.mark.parametrize("message", golden.good("request"), ids=golden.name_of)
def test_golden_request_is_read_and_written(message: Golden) -> None:
    request = decode_request(message.data)

    assert written(request) == list(message.meaning)
    assert encode_request(request) == message.data


@pytest.mark.parametrize("message", golden.faulty("request"), ids=golden.name_of)
def test_golden_fault_is_found_at_its_field(message: Golden) -> None:
    with pytest.raises(WireError) as caught:
        decode_request(message.data)

    assert str(caught.value).startswith(f"{message['fault']}: ")
    assert caught.value.offset == offset_of(message)


def offset_of(message: Golden) -> int:
    """Where the field at fault begins: golden files and PROTOCOL.md agree on the order."""
    offsets = {
        "magic": 0, "version": 4, "size": 6, "op": 8, "kind": 10, "flags": 16, "protocol": 20,
        "port": 22, "address": 24, "interface": 40, "device": 56, "mark": 88, "priority": 92,
        "receive_buffer": 96, "send_buffer": 100, "backlog": 104, "mtu": 106, "filter_count": 108,
        "address_count": 110, "addresses": 112, "reserved": 192,
        "length": min(len(message.data), 200 + 8 * int.from_bytes(message.data[108:110], "little")),
    }  # fmt: skip
    return offsets[message["fault"]]


@given(requests())
def test_any_request_survives_the_way_there_and_back(request: Request) -> None:
    assert decode_request(encode_request(request)) == request


@given(st.integers(0, 0xFFFFFFFF))
def test_hello_carries_nothing_but_its_id(number: int) -> None:
    message = encode_hello(number)

    assert decode_request(message) == Request(op=Op.HELLO, id=number)
    assert message[: ID.start] + message[ID.stop :] == (
        golden.load("request", "hello").data[: ID.start] + bytes(184)
    )


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_wire_errors(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_request(data)


@given(requests(), st.integers(0, 199), st.integers(0, 255))
def test_changed_byte_makes_another_request_or_a_wire_error(
    request: Request, position: int, value: int
) -> None:
    message = bytearray(encode_request(request))
    message[position] = value
    try:
        decoded = decode_request(bytes(message))
    except WireError:
        return
    # What is read means all the bytes: none is ignored.
    assert encode_request(decoded) == message


def test_longest_filter_fits_and_one_more_instruction_does_not() -> None:
    longest = Request(op=Op.OPEN, kind=Kind.PACKET, filter=(RETURN,) * 4096)

    assert decode_request(encode_request(longest)) == longest
    with pytest.raises(WireError, match=r"^filter_count: "):
        decode_request(encode_request(dataclasses.replace(longest, filter=(RETURN,) * 4097)))


V4 = ipaddress.IPv4Address("127.0.0.1")
V6 = ipaddress.IPv6Address("::1")
SOCKETS = [
    (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, Kind.TCP4),
    (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, Kind.TCP6),
    (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP, Kind.UDP4),
    (socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_UDP, Kind.UDP6),
    (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP, Kind.PING4),
    (socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6, Kind.PING6),
    (socket.AF_INET, socket.SOCK_RAW, 0, Kind.RAW4),
    (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP, Kind.RAW4),
    (socket.AF_INET6, socket.SOCK_RAW, 255, Kind.RAW6),
]


@pytest.mark.parametrize(("family", "type", "protocol", "kind"), SOCKETS)
def test_socket_becomes_its_kind(family: int, type: int, protocol: int, kind: Kind) -> None:
    request = request_of(SocketSpec(family=family, type=type, protocol=protocol), 5)

    assert request == Request(
        op=Op.OPEN, kind=kind, id=5, protocol=protocol if kind in RAW_KINDS else 0
    )


SPECS: list[tuple[Spec, Request]] = [
    (
        SocketSpec(
            family=socket.AF_INET, type=socket.SOCK_STREAM, protocol=6, ip=V4, port=80,
            interface="lo", backlog=0, reuse_port=True, mark=0, priority=0, receive_buffer=1,
            send_buffer=2, namespace="pid:1",
        ),
        Request(
            op=Op.OPEN, kind=Kind.TCP4, address=V4, port=80, interface="lo", backlog=0,
            reuse_port=True, mark=0, priority=0, receive_buffer=1, send_buffer=2, namespace=True,
        ),
    ),
    (
        SocketSpec(
            family=socket.AF_INET6, type=socket.SOCK_RAW, protocol=58, ip=V6, filter=(RETURN,),
            lock_filter=True,
        ),
        Request(
            op=Op.OPEN, kind=Kind.RAW6, protocol=58, address=V6, filter=(RETURN,), lock=True
        ),
    ),
    (
        PacketSpec(
            protocol=0x0800, interface="eth0", promiscuous=True, allmulti=True, snaplen=64, mark=1,
            priority=6, receive_buffer=3, send_buffer=4, lock_filter=True, namespace="other",
        ),
        Request(
            op=Op.OPEN, kind=Kind.PACKET, interface="eth0", mark=1, priority=6, receive_buffer=3,
            send_buffer=4, lock=True, namespace=True,
        ),
    ),
    (
        PacketSpec(type=socket.SOCK_DGRAM, filter=(RETURN,)),
        Request(op=Op.OPEN, kind=Kind.PACKET_DGRAM, filter=(RETURN,)),
    ),
    (TunSpec(), Request(op=Op.OPEN, kind=Kind.TUN, up=True)),
    (
        TunSpec(
            name="aio1", mode="tap", mtu=1400, addresses=(ipaddress.IPv4Interface("10.0.0.1/24"),),
            up=False, persist=True, multi_queue=True, namespace="other",
        ),
        Request(
            op=Op.OPEN, kind=Kind.TAP, interface="aio1", mtu=1400, persist=True, queues=True,
            addresses=(ipaddress.IPv4Interface("10.0.0.1/24"),), namespace=True,
        ),
    ),
    (DeviceSpec(name="net/tun"), Request(op=Op.OPEN, kind=Kind.DEVICE, device="net/tun")),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "request_"), SPECS, ids=lambda value: type(value).__name__)
def test_spec_becomes_what_only_the_helper_can_do(spec: Spec, request_: Request) -> None:
    assert request_of(spec) == request_
    assert decode_request(encode_open(spec, 9)) == dataclasses.replace(request_, id=9)


REFUSED: dict[str, tuple[Spec, str]] = {
    "netlink": (
        SocketSpec(family=socket.AF_NETLINK, type=socket.SOCK_RAW, protocol=15),
        "does not open this: netlink socket",
    ),
    "unix": (
        SocketSpec(family=socket.AF_UNIX, type=socket.SOCK_DGRAM, protocol=0),
        "does not open this: unix socket",
    ),
    "sctp": (
        SocketSpec(family=socket.AF_INET, type=socket.SOCK_SEQPACKET, protocol=132),
        "does not open this: sctp socket",
    ),
    "mptcp": (
        SocketSpec(family=socket.AF_INET, type=socket.SOCK_RAW, protocol=262),
        "does not open this: raw mptcp socket",
    ),
    "icmp of the other version": (
        SocketSpec(family=socket.AF_INET6, type=socket.SOCK_DGRAM, protocol=1),
        "does not open this: icmp socket",
    ),
    "identifier of a ping socket": (
        SocketSpec(family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=1, port=7),
        "does not set port on this: icmp socket port 7",
    ),
    "name that only the kernel takes": (PacketSpec(interface="-rf;"), "interface name '-rf;'"),
    "name that is not ASCII": (TunSpec(name="aioé"), "interface name 'aioé'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_helper_cannot_do_is_said_before_it_is_asked(case: str) -> None:
    spec, words = REFUSED[case]

    with pytest.raises(SpecError) as caught:
        encode_open(spec)

    assert words in str(caught.value)


def test_kinds_and_flags_have_the_numbers_of_their_golden_files() -> None:
    seen = {
        (message["kind"], *struct.unpack_from("<H", message.data, 10))
        for message in golden.good("request")
        if message["op"] == "open"
    }

    assert seen == {(kind.name.lower(), kind.value) for kind in Kind}
