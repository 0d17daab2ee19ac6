"""The codecs of traces and of neighbours. All bytes here were made by scapy 2.8.0."""

import ipaddress
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket.errors import WireError
from aioprocket.wire.icmp import IcmpError
from aioprocket.wire.icmp_error import IcmpReport
from aioprocket.wire.icmp_extensions import (
    ExtensionObject,
    IcmpExtensions,
    MplsLabel,
    find_extensions,
)
from aioprocket.wire.icmp_queries import AddressMask, Timestamp
from aioprocket.wire.ip import IPv4Header, IPv6Header
from aioprocket.wire.ndp import (
    NeighbourAdvertisement,
    NeighbourSolicitation,
    multicast_mac,
    solicited_node,
)
from aioprocket.wire.tcp import TcpFlag, TcpHeader

# raw(IP(src='192.0.2.1', dst='203.0.113.9', id=1) / TCP(sport=50000, dport=80, seq=0x01234567,
#   flags='S', window=64240, options=[('MSS', 1460)]))
SYN = bytes.fromhex(
    "4500002c0001000040067cc0c0000201cb007109c350005001234567000000006002faf094ff0000020405b4"
)
# raw(IPv6(src='2001:db8::1', dst='2001:db8:9::9') / TCP(sport=50000, dport=80, seq=1, ack=2,
#   flags='SA', window=1000))
SYN_ACK6 = bytes.fromhex(
    "600000000014064020010db800000000000000000000000120010db8000900000000000000000009"
    "c35000500000000100000002501203e88cc20000"
)
# raw(IPv6(src='fe80::1', dst='ff02::1:ff00:2', hlim=255) / ICMPv6ND_NS(tgt='fe80::2') /
#   ICMPv6NDOptSrcLLAddr(lladdr='02:00:00:00:00:01'))
SOLICITATION = bytes.fromhex(
    "6000000000203afffe800000000000000000000000000001ff0200000000000000000001ff000002"
    "87007a9700000000fe8000000000000000000000000000020101020000000001"
)
# raw(IPv6(src='fe80::2', dst='fe80::1', hlim=255) / ICMPv6ND_NA(tgt='fe80::2', R=1, S=1, O=1) /
#   ICMPv6NDOptDstLLAddr(lladdr='02:00:00:00:00:02'))
ADVERTISEMENT = bytes.fromhex(
    "6000000000203afffe800000000000000000000000000002fe800000000000000000000000000001"
    "88009819e0000000fe8000000000000000000000000000020201020000000002"
)
# raw(ICMP(type=14, id=0x1234, seq=7, ts_ori=1000, ts_rx=2000, ts_tx=2001))
TIMES = bytes.fromhex("0e00cc3b12340007000003e8000007d0000007d1")
# raw(ICMP(type=18, id=0x1234, seq=7, addr_mask='255.255.240.0'))
MASK = bytes.fromhex("1200ebc312340007fffff000")
# raw(ICMPExtension_Header() / ICMPExtension_MPLS(stack=[MPLS(label=16001, cos=3, s=0, ttl=1),
#   MPLS(label=24017, cos=0, s=1, ttl=254)]))
EXTENSIONS = bytes.fromhex("2000ad2e000c010103e8160105dd11fe")

NEIGHBOUR = ipaddress.IPv6Address("fe80::2")
LABELS = (
    MplsLabel(label=16_001, traffic_class=3, ttl=1),
    MplsLabel(label=24_017, bottom=True, ttl=254),
)


def test_a_syn_of_another_tool_is_read_and_written() -> None:
    ip, segment = IPv4Header.parse(SYN)

    header, rest = TcpHeader.parse(segment)

    assert rest == b""
    assert header == TcpHeader(
        source_port=50_000,
        destination_port=80,
        sequence=0x01234567,
        flags=TcpFlag.SYN,
        window=64_240,
        options=bytes.fromhex("020405b4"),
    )
    assert header.emit(source=ip.source, destination=ip.destination) == segment


def test_a_segment_over_ipv6_of_another_tool_is_read_and_written() -> None:
    ip, segment = IPv6Header.parse(SYN_ACK6)

    header, _ = TcpHeader.parse(segment)

    assert (header.acknowledgement, header.flags) == (2, TcpFlag.SYN | TcpFlag.ACK)
    assert header.emit(source=ip.source, destination=ip.destination) == segment


@pytest.mark.parametrize("segment", [b"", bytes(19), bytes(12) + b"\x40" + bytes(7)])
def test_what_is_no_segment_is_refused(segment: bytes) -> None:
    with pytest.raises(WireError):
        TcpHeader.parse(segment)


def test_a_solicitation_of_another_tool_is_read_and_written() -> None:
    ip, message = IPv6Header.parse(SOLICITATION)

    found = NeighbourSolicitation.parse(message)

    assert found == NeighbourSolicitation(target=NEIGHBOUR, source_mac="02:00:00:00:00:01")
    assert found.emit(source=ip.source, destination=ip.destination) == message
    assert ip.destination == solicited_node(NEIGHBOUR)
    assert multicast_mac(ip.destination) == "33:33:ff:00:00:02"  # RFC 2464, section 7


def test_an_advertisement_of_another_tool_is_read_and_written() -> None:
    ip, message = IPv6Header.parse(ADVERTISEMENT)

    found = NeighbourAdvertisement.parse(message)

    assert found == NeighbourAdvertisement(
        target=NEIGHBOUR, target_mac="02:00:00:00:00:02", router=True, solicited=True, override=True
    )
    assert found.emit(source=ip.source, destination=ip.destination) == message


def test_options_of_an_advertisement_are_looked_at_up_to_the_32nd() -> None:
    _, message = IPv6Header.parse(ADVERTISEMENT)
    start, address = message[:24], message[24:]
    other = b"\x0e\1" + bytes(6)  # a nonce: RFC 3971, section 5.3.2

    near, far = (
        NeighbourAdvertisement.parse(start + other * count + address) for count in (31, 32)
    )

    assert (near.target_mac, far.target_mac) == ("02:00:00:00:00:02", None)


def test_queries_of_another_tool_are_read_and_written() -> None:
    times, rest = Timestamp.parse(TIMES)
    assert (rest, times) == (
        b"",
        Timestamp(
            identifier=0x1234, sequence=7, originate=1000, receive=2000, transmit=2001, reply=True
        ),
    )
    assert times.emit() == TIMES
    assert times.standard

    mask, _ = AddressMask.parse(MASK)
    assert (str(mask.mask), mask.reply) == ("255.255.240.0", True)
    assert mask.emit() == MASK


def test_extensions_of_another_tool_are_read_and_written() -> None:
    found, rest = IcmpExtensions.parse(EXTENSIONS)

    assert (rest, found.labels) == (b"", LABELS)
    assert found == IcmpExtensions.of_labels(LABELS)
    assert found.emit() == EXTENSIONS


@pytest.mark.parametrize(
    "data",
    [
        b"",
        EXTENSIONS[:3],
        EXTENSIONS[:-1],
        b"\x10" + EXTENSIONS[1:],  # version 1
        EXTENSIONS[:2] + b"\0\1" + EXTENSIONS[4:],  # a wrong checksum
        bytes.fromhex("20000000" "0003" "0101"),  # an object shorter than its header
        bytes.fromhex("20000000" "0009" "0101" "00000000"),  # one that is cut
    ],
)  # fmt: skip
def test_extensions_that_cannot_be_read_are_none(data: bytes) -> None:
    with pytest.raises(WireError):
        IcmpExtensions.parse(data)
    assert find_extensions(bytes(128) + data, 128) == (bytes(128), None)


def test_other_objects_are_kept_and_are_no_labels() -> None:
    other = ExtensionObject(class_number=2, type=9, data=b"interface")
    extensions = IcmpExtensions(objects=(other,))

    assert IcmpExtensions.parse(extensions.emit())[0] == extensions
    assert extensions.labels == ()


def test_objects_without_number_are_left_to_the_caller() -> None:
    empty = ExtensionObject(class_number=2, type=1)

    found, rest = IcmpExtensions.parse(IcmpExtensions(objects=(empty,) * 16_000).emit())

    assert found.objects == (empty,) * 64
    assert rest == empty.emit() * (16_000 - 64)


def test_labels_without_number_are_left_in_their_object() -> None:
    labels = tuple(MplsLabel(label=number) for number in range(16_000))
    extensions = IcmpExtensions.of_labels(labels)

    found, rest = IcmpExtensions.parse(extensions.emit())

    assert (found, rest) == (extensions, b"")
    assert found.labels == labels[:64]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("length", [0, 136])
def test_a_report_parts_the_quotation_from_the_extensions(
    version: Literal[4, 6], length: int
) -> None:
    quoted = (SYN if version == 4 else SYN_ACK6).ljust(length or 128, b"\0")
    rest = {0: 0, 136: 34 << 16 if version == 4 else 17 << 24}[length]
    error = IcmpError(type=11 if version == 4 else 3, code=0, rest=rest, version=version)

    report = IcmpReport.parse(error.emit(quoted + EXTENSIONS), version)

    assert report.labels == LABELS
    assert (report.protocol, report.ttl) == (6, 64)
    assert str(report.destination) == ("203.0.113.9" if version == 4 else "2001:db8:9::9")
    assert report.payload == (SYN[20:] if version == 4 else SYN_ACK6[40:])


@given(st.binary(max_size=200), st.sampled_from([4, 6]))
def test_any_bytes_are_a_value_or_a_wire_error(data: bytes, version: Literal[4, 6]) -> None:
    codecs: list[Any] = [
        TcpHeader.parse,
        NeighbourSolicitation.parse,
        NeighbourAdvertisement.parse,
        Timestamp.parse,
        AddressMask.parse,
        IcmpExtensions.parse,
        lambda data: IcmpReport.parse(data, version),
    ]
    first = {4: b"\x0b\0", 6: b"\x03\0"}[version]
    for start in (b"", first, b"\x87\0", b"\x88\0", b"\x0d\0", b"\x11\0", b"\x20\0\0\0"):
        for codec in codecs:
            try:
                codec(start + data)
            except WireError:
                continue
