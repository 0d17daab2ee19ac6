"""Probes as bytes: what tells them apart, and what must be the same in all of them."""

import ipaddress
from typing import Any, Literal

import pytest

from aioprocket.tracer.flow import EchoFlow, SynFlow, UdpFlow
from aioprocket.wire.checksum import checksum, pseudo_header
from aioprocket.wire.tcp import TcpFlag, TcpHeader
from aioprocket.wire.udp import UdpHeader

COOKIE = bytes.fromhex("0123456789abcdef")
NUMBERS = (0, 1, 255, 256, 32_767, 65_534, 65_535)
ENDS: dict[int, dict[str, Any]] = {
    4: {
        "source": ipaddress.ip_address("192.0.2.1"),
        "destination": ipaddress.ip_address("203.0.113.9"),
    },
    6: {
        "source": ipaddress.ip_address("2001:db8::1"),
        "destination": ipaddress.ip_address("2001:db8:9::9"),
    },
}


def echo_flow(version: Literal[4, 6] = 4, size: int = 60) -> EchoFlow:
    return EchoFlow(version, size, 0xBEEF, COOKIE)


def udp_flow(version: Literal[4, 6] = 4, size: int = 60) -> UdpFlow:
    return UdpFlow(version, size, (50_000, 33_434), COOKIE, **ENDS[version])


def syn_flow(version: Literal[4, 6] = 4) -> SynFlow:
    return SynFlow(version, (50_000, 80), COOKIE, **ENDS[version])


def datagram(flow_of: UdpFlow, number: int, version: int = 4) -> bytes:
    """With the header that the kernel makes."""
    header = UdpHeader(source_port=50_000, destination_port=33_434)
    return header.emit(flow_of.build(number), **ENDS[version])


@pytest.mark.parametrize("version", [4, 6])
def test_echoes_of_all_numbers_have_one_checksum(version: Literal[4, 6]) -> None:
    messages = [echo_flow(version).build(number) for number in NUMBERS]

    assert len({message[:4] for message in messages}) == 1
    assert all(checksum(message) == 0 for message in messages)


def test_echoes_are_of_the_size_that_was_asked_for() -> None:
    assert len(echo_flow(4, 100).build(3)) == 100 - 20
    assert len(echo_flow(6, 100).build(3)) == 100 - 40
    assert len(udp_flow(4, 100).build(3)) == 100 - 28
    assert len(udp_flow(6, 100).build(3)) == 100 - 48


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("quoted", [8, 10, 14, 200])
def test_a_quoted_echo_says_which_it_is_from_eight_bytes(number: int, quoted: int) -> None:
    flow = echo_flow()

    assert flow.number_of_quoted(flow.build(number)[:quoted]) == number


def test_a_reply_needs_identifier_and_cookie() -> None:
    flow = echo_flow()
    reply = bytes([0]) + flow.build(7)[1:]
    other = EchoFlow(4, 60, 0xBEEF, b"forged..")

    assert flow.number_of_reply(reply) == 7
    assert flow.number_of_reply(flow.build(7)) is None  # our own request, as lo shows it
    assert flow.number_of_reply(bytes([0]) + other.build(7)[1:]) is None
    assert flow.number_of_reply(reply[:4] + b"\xbe\xee" + reply[6:]) is None
    assert flow.number_of_reply(reply[:10]) is None
    assert flow.number_of_reply(b"") is None


def test_an_error_about_the_echo_of_another_is_not_ours() -> None:
    flow = echo_flow()

    assert flow.number_of_quoted(EchoFlow(4, 60, 0xBEEF, b"forged..").build(7)) is None
    assert flow.number_of_quoted(EchoFlow(4, 60, 0xBEEE, COOKIE).build(7)) is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_quoted_datagram_says_which_it_is(version: Literal[4, 6], number: int) -> None:
    flow = udp_flow(version)
    whole = datagram(flow, number, version)

    assert flow.number_of_quoted(whole) == number
    assert flow.number_of_payload(whole[8:]) == number


def test_of_a_quoted_datagram_eight_bytes_are_enough() -> None:
    flow = udp_flow()
    numbers = range(300)
    quoted = [datagram(flow, number)[:8] for number in numbers]

    assert [flow.number_of_quoted(each) for each in quoted] == list(numbers)


def test_all_datagrams_are_of_one_flow() -> None:
    flow = udp_flow()

    assert len({datagram(flow, number)[:4] for number in NUMBERS}) == 1


def test_a_datagram_of_another_is_not_ours() -> None:
    flow = udp_flow()
    whole = datagram(flow, 7)

    assert flow.number_of_quoted(b"\0\1" + whole[2:]) is None
    assert flow.number_of_quoted(whole[:8] + b"forged" + whole[14:]) is None
    assert flow.number_of_payload(b"short") is None
    assert flow.number_of_quoted(b"") is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_segment_says_which_it_is(version: Literal[4, 6], number: int) -> None:
    flow = syn_flow(version)
    segment = flow.build(number)
    header, _ = TcpHeader.parse(segment)
    ends = ENDS[version]
    covered = pseudo_header(ends["source"], ends["destination"], 6, len(segment))

    assert checksum(covered + segment) == 0
    assert segment[:4] == bytes.fromhex("c3500050")
    assert header.flags == TcpFlag.SYN
    assert flow.number_of_quoted(segment[:8]) == number
    for flags in (TcpFlag.SYN | TcpFlag.ACK, TcpFlag.RST | TcpFlag.ACK):
        answer = TcpHeader(
            source_port=80,
            destination_port=50_000,
            acknowledgement=(header.sequence + 1) & 0xFFFFFFFF,
            flags=flags,
        )
        assert flow.number_of_reply(answer.emit()) == number


def test_segments_of_others_are_not_ours() -> None:
    flow = syn_flow()
    answer = TcpHeader(source_port=80, destination_port=50_000, flags=TcpFlag.SYN | TcpFlag.ACK)

    assert flow.number_of_reply(answer.emit()) is None
    assert flow.number_of_reply(flow.build(7)) is None
    assert flow.number_of_reply(b"") is None
    assert flow.number_of_quoted(b"1234567") is None
    assert flow.number_of_quoted(b"\0\1" + flow.build(7)[2:]) is None
