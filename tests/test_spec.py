import dataclasses
import ipaddress
import os
import socket
from typing import Any

import pytest

from aioprocket.errors import AioprocketError, FilterError, SpecError
from aioprocket.names import family_number, protocol_number, type_number
from aioprocket.spec import (
    DeviceSpec,
    PacketSpec,
    SocketSpec,
    TunSpec,
    describe,
    filter_instructions,
)
from lab.must import unavailable

DROP = (0x06, 0, 0, 0)
UDP: dict[str, Any] = {
    "family": socket.AF_INET,
    "type": socket.SOCK_DGRAM,
    "protocol": socket.IPPROTO_UDP,
}
UDP6 = UDP | {"family": socket.AF_INET6}
TCP = UDP | {"type": socket.SOCK_STREAM, "protocol": socket.IPPROTO_TCP}
RAW = UDP | {"type": socket.SOCK_RAW, "protocol": socket.IPPROTO_ICMP}
NETLINK = UDP | {"family": socket.AF_NETLINK, "type": socket.SOCK_RAW, "protocol": 0}
V4 = ipaddress.IPv4Address("192.0.2.1")
V6 = ipaddress.IPv6Address("2001:db8::1")
LINK_LOCAL = ipaddress.IPv6Address("fe80::1")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("inet", socket.AF_INET),
        ("INET6", socket.AF_INET6),
        ("packet", socket.AF_PACKET),
        ("netlink", socket.AF_NETLINK),
        ("unix", socket.AF_UNIX),
        (socket.AF_INET6, socket.AF_INET6),
    ],
)
def test_family_is_a_name_or_a_number(name: int | str, number: int) -> None:
    assert family_number(name) == number


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("stream", socket.SOCK_STREAM),
        ("dgram", socket.SOCK_DGRAM),
        ("raw", socket.SOCK_RAW),
        ("seqpacket", socket.SOCK_SEQPACKET),
        (socket.SOCK_RAW, socket.SOCK_RAW),
    ],
)
def test_type_is_a_name_or_a_number(name: int | str, number: int) -> None:
    assert type_number(name) == number


@pytest.mark.parametrize(
    ("name", "family", "number"),
    [
        ("tcp", socket.AF_INET, socket.IPPROTO_TCP),
        ("udp", socket.AF_INET6, socket.IPPROTO_UDP),
        ("icmp", socket.AF_INET, socket.IPPROTO_ICMP),
        ("ipv6-icmp", socket.AF_INET6, socket.IPPROTO_ICMPV6),
        (255, socket.AF_INET, 255),
        ("all", socket.AF_PACKET, 0x0003),
        ("ip", socket.AF_PACKET, 0x0800),
        ("arp", socket.AF_PACKET, 0x0806),
        (0x88B5, socket.AF_PACKET, 0x88B5),
        ("route", socket.AF_NETLINK, 0),
        (21, socket.AF_NETLINK, 21),
        ("tcp", socket.AF_UNIX, 0),
    ],
)
def test_protocol_is_a_name_or_a_number_of_its_family(
    name: int | str, family: int, number: int
) -> None:
    assert protocol_number(name, family) == number


@pytest.mark.parametrize("name", ["ip", "icmp", "tcp", "udp", "ipv6", "gre", "ipv6-icmp", "sctp"])
def test_ip_protocols_have_the_numbers_of_the_system(name: str) -> None:
    try:
        number = socket.getprotobyname(name)
    except OSError:
        unavailable("protocols", "this system has no /etc/protocols")

    assert protocol_number(name, socket.AF_INET) == number


# What is asked for, and words that the refusal must have: the argument and the value.
BAD: dict[str, tuple[Any, str]] = {
    "family name": (lambda: family_number("inet7"), "unknown family 'inet7'"),
    "family number": (lambda: family_number(999), "family 999 is not one of"),
    "family negative": (lambda: family_number(-1), "family -1 is not a whole number from"),
    "family neither": (lambda: family_number(2.0), "family 2.0 is not a whole number"),  # type: ignore[arg-type]
    "type name": (lambda: type_number("rdm"), "unknown type 'rdm'"),
    "type flags": (
        lambda: type_number(socket.SOCK_RAW | socket.SOCK_NONBLOCK),
        f"type {socket.SOCK_RAW | socket.SOCK_NONBLOCK} is not one of",
    ),
    "protocol name": (
        lambda: protocol_number("tpc", socket.AF_INET),
        "unknown protocol 'tpc'",
    ),
    "protocol number": (
        lambda: protocol_number(263, socket.AF_INET),
        "protocol 263 is not a whole number from 0 to 262",
    ),
    "Ethernet protocol name": (
        lambda: protocol_number("tcp", socket.AF_PACKET),
        "unknown Ethernet protocol 'tcp'",
    ),
    "Ethernet protocol number": (
        lambda: protocol_number(0x10000, socket.AF_PACKET),
        "Ethernet protocol 65536 is not a whole number from",
    ),
    "netlink protocol": (
        lambda: protocol_number("tcp", socket.AF_NETLINK),
        "unknown netlink protocol 'tcp'",
    ),
    "family of a spec by name": (
        lambda: SocketSpec(**UDP | {"family": "inet"}),
        "family 'inet' is not a whole number",
    ),
    "family packet": (
        lambda: SocketSpec(**RAW | {"family": socket.AF_PACKET}),
        "a socket of family packet is a PacketSpec",
    ),
    "type of a spec": (lambda: SocketSpec(**UDP | {"type": 99}), "type 99 is not one of"),
    "protocol of a spec": (
        lambda: SocketSpec(**RAW | {"protocol": -1}),
        "protocol -1 is not a whole number from",
    ),
    "port negative": (lambda: SocketSpec(**UDP, port=-1), "port -1 is not a whole number"),
    "port too large": (lambda: SocketSpec(**UDP, port=65536), "port 65536 is not"),
    "port no number": (
        lambda: SocketSpec(**UDP, port="53"),  # type: ignore[arg-type]
        "port '53' is not a whole number",
    ),
    "port True": (lambda: SocketSpec(**UDP, port=True), "port True is not a whole number"),
    "port of a raw socket": (
        lambda: SocketSpec(**RAW, port=53),
        "port 53 means nothing to a raw icmp socket",
    ),
    "port of netlink": (
        lambda: SocketSpec(**NETLINK, port=53),
        "port 53 means nothing to a netlink socket",
    ),
    "reuse_port of a raw socket": (
        lambda: SocketSpec(**RAW, reuse_port=True),
        "reuse_port means nothing to a raw icmp socket",
    ),
    "interface of netlink": (
        lambda: SocketSpec(**NETLINK, interface="lo"),
        "interface means nothing to a netlink socket",
    ),
    "ip as text": (
        lambda: SocketSpec(**UDP, ip="192.0.2.1"),  # type: ignore[arg-type]
        "ip '192.0.2.1' is not an ipaddress object",
    ),
    "ip of the other family": (
        lambda: SocketSpec(**UDP, ip=V6),
        "ip 2001:db8::1 is not an address of family inet",
    ),
    "ip of IPv4 in inet6": (
        lambda: SocketSpec(**UDP6, ip=V4),
        "ip 192.0.2.1 is not an address of family inet6",
    ),
    "ip of a netlink socket": (
        lambda: SocketSpec(**NETLINK, ip=V4),
        "ip 192.0.2.1 is not an address of family netlink",
    ),
    "ip with a scope": (
        lambda: SocketSpec(**UDP6, ip=ipaddress.IPv6Address("fe80::1%eth0")),
        "ip fe80::1%eth0 carries a scope",
    ),
    "ip link-local": (
        lambda: SocketSpec(**UDP6, ip=LINK_LOCAL),
        "ip fe80::1 is link-local and needs interface=",
    ),
    "backlog of a datagram socket": (
        lambda: SocketSpec(**UDP, backlog=1),
        "a udp socket does not listen",
    ),
    "backlog too large": (
        lambda: SocketSpec(**TCP, backlog=65536),
        "backlog 65536 is not a whole number from",
    ),
    "mark": (lambda: SocketSpec(**UDP, mark=1 << 32), "mark 4294967296 is not a whole number from"),
    "priority": (lambda: SocketSpec(**UDP, priority=-1), "priority -1 is not a whole number from"),
    "receive_buffer": (
        lambda: PacketSpec(receive_buffer=0),
        "receive_buffer 0 is not a whole number from 1 to 1073741823",
    ),
    "send_buffer": (
        lambda: SocketSpec(**UDP, send_buffer=1 << 30),
        "send_buffer 1073741824 is not a whole number from",
    ),
    "lock without a filter": (
        lambda: SocketSpec(**UDP, lock_filter=True),
        "lock_filter needs a filter",
    ),
    "filter of a stream": (
        lambda: SocketSpec(**TCP, filter=(DROP,)),
        "a filter works on packets",
    ),
    "packet type": (
        lambda: PacketSpec(type=socket.SOCK_STREAM),
        "a packet socket's type is raw or dgram, not stream",
    ),
    "packet type unknown": (lambda: PacketSpec(type=77), "is raw or dgram, not 77"),
    "packet protocol": (
        lambda: PacketSpec(protocol=0x10000),
        "protocol 65536 is not a whole number from",
    ),
    "snaplen zero": (lambda: PacketSpec(snaplen=0), "snaplen 0 is not a whole number from 1 to"),
    "snaplen too large": (lambda: PacketSpec(snaplen=65536), "snaplen 65536 is not"),
    "promiscuous everywhere": (
        lambda: PacketSpec(promiscuous=True),
        "promiscuous and allmulti need an interface",
    ),
    "allmulti everywhere": (
        lambda: PacketSpec(allmulti=True),
        "promiscuous and allmulti need an interface",
    ),
    "packet lock of nothing": (
        lambda: PacketSpec(lock_filter=True),
        "lock_filter needs a filter or an interface",
    ),
    "tun mode": (lambda: TunSpec(mode="tup"), "mode 'tup' is neither 'tun' nor 'tap'"),  # type: ignore[arg-type]
    "tun name": (lambda: TunSpec(name=None), "interface name None cannot exist"),  # type: ignore[arg-type]
    "interface empty": (lambda: PacketSpec(interface=""), "interface name '' cannot exist"),
    "tun pattern": (lambda: TunSpec(name="aio%d"), "name 'aio%d': the kernel would number it"),
    "mtu too small": (lambda: TunSpec(mtu=67), "mtu 67 is not a whole number from 68 to 65521"),
    "mtu too large": (lambda: TunSpec(mtu=65522), "mtu 65522 is not a whole number from"),
    "five addresses": (
        lambda: TunSpec(addresses=(ipaddress.IPv4Interface("10.0.0.1/24"),) * 5),
        "at most 4 addresses, not 5",
    ),
    "tun address without prefix": (
        lambda: TunSpec(addresses=(V4,)),  # type: ignore[arg-type]
        "address IPv4Address('192.0.2.1') is not an ipaddress object with its prefix",
    ),
    "tun address with a scope": (
        lambda: TunSpec(addresses=(ipaddress.IPv6Interface("fe80::1%eth0/64"),)),
        "address fe80::1%eth0/64 carries a scope",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name_and_value(case: str) -> None:
    make, words = BAD[case]

    with pytest.raises(SpecError) as caught:
        make()

    assert words in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [".", "..", "sixteen-bytes-xx", "with space", "a/b", "a:b", "a\tb", "a\x00b", "a\n",
     "é" * 8, "\ud800", 5, b"eth0"],
    ids=repr,
)  # fmt: skip
def test_interface_name_that_cannot_exist_is_refused(name: Any) -> None:
    for make in (
        lambda: SocketSpec(**UDP, interface=name),
        lambda: PacketSpec(interface=name),
        lambda: TunSpec(name=name),
    ):
        with pytest.raises(SpecError, match="interface name"):
            make()


@pytest.mark.parametrize(
    "name", ["lo", "eth0.100", "fifteen-bytes-x", "-rf", "a;b", "é" * 7, os.fsdecode(b"eth\xff")]
)
def test_interface_name_that_the_kernel_takes_is_taken(name: str) -> None:
    assert PacketSpec(interface=name).interface == name


@pytest.mark.parametrize(
    "namespace",
    ["", ".", "..", "a\x00b", "pid:", "pid:0", "pid:-1", "pid:x", "pid:1 ", "pid:12345678901", 5,
     b"blue"],
    ids=repr,
)  # fmt: skip
def test_namespace_that_names_nothing_is_refused(namespace: Any) -> None:
    for make in (
        lambda: SocketSpec(**UDP, namespace=namespace),
        lambda: PacketSpec(namespace=namespace),
        lambda: TunSpec(namespace=namespace),
    ):
        with pytest.raises(SpecError, match="namespace"):
            make()


@pytest.mark.parametrize("namespace", ["blue", "pid:1", "/proc/1/ns/net", "./ns", "pids"])
def test_namespace_is_a_name_a_path_or_a_process(namespace: str) -> None:
    assert TunSpec(namespace=namespace).namespace == namespace


@pytest.mark.parametrize(
    "name",
    ["", "/dev/net/tun", "../mem", "net/../mem", "net//tun", "net/", ".hidden", "-rf", "a b",
     "a\x00", "tun\n", "é", "x" * 32, 5, None],
    ids=repr,
)  # fmt: skip
def test_device_name_that_is_not_below_dev_is_refused(name: Any) -> None:
    with pytest.raises(SpecError, match="is not a name below /dev"):
        DeviceSpec(name=name)


@pytest.mark.parametrize("name", ["net/tun", "tty0", "a.b-c_d/0", "x" * 31])
def test_device_name_below_dev_is_taken(name: str) -> None:
    assert DeviceSpec(name=name).name == name


@pytest.mark.parametrize(
    ("filter", "position", "words"),
    [
        ((), None, "1 to 4096 instructions, not 0"),
        ((DROP,) * 4097, None, "1 to 4096 instructions, not 4097"),
        ([DROP], None, "a tuple of tuples"),
        ([list(DROP)], None, "a tuple of tuples"),
        ("tcp port 80", None, "a sequence of (code, jt, jf, k)"),
        (b"\x06", None, "a sequence of (code, jt, jf, k)"),
        (7, None, "a sequence of (code, jt, jf, k)"),
        ((DROP, 6), 1, "instruction 1 is not (code, jt, jf, k)"),
        (((6, 0, 0),), 0, "instruction 0 is not (code, jt, jf, k)"),
        (((6, 0, 0, 1 << 32),), 0, "k 4294967296 is out of range"),
        (((6, 0, 256, 0),), 0, "jf 256 is out of range"),
        (((6, -1, 0, 0),), 0, "jt -1 is out of range"),
        (((0x10000, 0, 0, 0),), 0, "code 65536 is out of range"),
    ],
    ids=["empty", "too long", "list", "list of lists", "text", "bytes", "number", "no sequence",
         "three", "k", "jf", "jt", "code"],
)  # fmt: skip
def test_bad_filter_is_refused_with_its_place(
    filter: Any, position: int | None, words: str
) -> None:
    for make in (lambda: SocketSpec(**UDP, filter=filter), lambda: PacketSpec(filter=filter)):
        with pytest.raises(FilterError) as caught:
            make()

        assert words in str(caught.value)
        assert caught.value.position == position


def test_an_expression_as_filter_is_told_what_makes_a_program_of_it() -> None:
    with pytest.raises(FilterError, match="not 'icmp'") as caught:
        filter_instructions("icmp")  # type: ignore[arg-type]

    assert "tcpdump -dd" in caught.value.hint


def test_filter_instructions_are_made_tuples() -> None:
    assert filter_instructions(iter([list(DROP)])) == (DROP,)


def test_filter_locked_to_an_interface_leaves_room_for_the_test_of_it() -> None:
    longest = (DROP,) * 4092

    assert PacketSpec(interface="lo", lock_filter=True, filter=longest).filter == longest
    assert PacketSpec(lock_filter=True, filter=(DROP,) * 4096).lock_filter
    with pytest.raises(FilterError, match="at most 4092 instructions"):
        PacketSpec(interface="lo", lock_filter=True, filter=(*longest, DROP))


EDGES: dict[str, Any] = {
    "all of udp": lambda: SocketSpec(
        **UDP, port=65535, ip=V4, interface="lo", reuse_port=True, priority=6
    ),
    "link-local ip": lambda: SocketSpec(**UDP6, ip=LINK_LOCAL, interface="lo"),
    "any ip": lambda: SocketSpec(**UDP6, ip=ipaddress.IPv6Address("::")),
    "backlog 0": lambda: SocketSpec(**TCP, backlog=0),
    "backlog 65535": lambda: SocketSpec(**TCP, backlog=65535),
    "backlog of seqpacket": lambda: SocketSpec(
        **TCP | {"type": socket.SOCK_SEQPACKET, "protocol": 132}, backlog=1
    ),
    "mark 0, buffers": lambda: SocketSpec(**UDP, mark=0, receive_buffer=1, send_buffer=0x3FFFFFFF),
    "locked raw": lambda: SocketSpec(**RAW, filter=(DROP,), lock_filter=True),
    "longest filter": lambda: SocketSpec(**UDP, filter=(DROP,) * 4096),
    "packet": lambda: PacketSpec(),
    "packet locked to an interface": lambda: PacketSpec(
        interface="lo", promiscuous=True, allmulti=True, lock_filter=True
    ),
    "tun": lambda: TunSpec(mtu=68, addresses=(ipaddress.IPv6Interface("fe80::1/64"),)),
}


@pytest.mark.parametrize("case", EDGES)
def test_spec_at_the_edge_is_taken(case: str) -> None:
    spec = EDGES[case]()

    assert dataclasses.replace(spec) == spec
    assert hash(spec) == hash(dataclasses.replace(spec))


def test_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PacketSpec().interface = "lo"  # type: ignore[misc]


def test_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(AioprocketError) as caught:
        protocol_number("tpc", socket.AF_INET)

    assert "tcp, udp" in caught.value.hint


@pytest.mark.parametrize(
    ("spec", "phrase"),
    [
        (SocketSpec(**UDP), "udp socket"),
        (
            SocketSpec(**UDP, ip=V4, port=53, interface="lo", namespace="blue"),
            "udp socket at 192.0.2.1 port 53 on lo in namespace blue",
        ),
        (SocketSpec(**RAW), "raw icmp socket"),
        (SocketSpec(**RAW | {"protocol": 200}), "raw 200 socket"),
        (SocketSpec(**NETLINK, namespace="blue"), "netlink socket in namespace blue"),
        (PacketSpec(), "packet socket"),
        (PacketSpec(interface="lo", namespace="pid:7"), "packet socket on lo in namespace pid:7"),
        (TunSpec(), "tun device"),
        (TunSpec(name="aio1", mode="tap", namespace="blue"), "tap device 'aio1' in namespace blue"),
        (DeviceSpec(name="net/tun"), "device /dev/net/tun"),
    ],
)  # fmt: skip
def test_spec_is_described_in_one_phrase(spec: Any, phrase: str) -> None:
    assert describe(spec) == phrase
