import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden
from aioprocket.wire.checksum import checksum, pseudo_header


def word_by_word(data: bytes) -> int:
    """RFC 1071 as its section 4.1 has it: add 16-bit words, fold the carries, invert."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\x00" * (len(data) % 2)):
        total += word
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def test_checksum_of_the_example_in_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001 f203 f4f5 f6f7")) == 0xFFFF - 0xDDF2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xFFFF),
        (b"\x00" * 8, 0xFFFF),
        (b"\xff\xff", 0),
        (b"\xff\xff\xff\xff", 0),
        (b"\x01", 0xFEFF),
    ],
    ids=["nothing", "zeros", "minus zero", "twice minus zero", "odd length"],
)
def test_checksum_at_the_edges(data: bytes, expected: int) -> None:
    assert checksum(data) == expected


@given(st.binary(max_size=200))
def test_checksum_agrees_with_adding_word_by_word(data: bytes) -> None:
    assert checksum(data) == word_by_word(data)
    assert checksum(memoryview(data)) == word_by_word(data)


@given(st.binary(max_size=100).map(lambda half: half * 2))
def test_bytes_with_their_own_checksum_have_the_checksum_zero(data: bytes) -> None:
    assert checksum(data + checksum(data).to_bytes(2, "big")) == 0


def test_checksum_of_a_header_that_another_tool_made_is_right() -> None:
    packet = golden.load("packets", "ipv4-options").data

    assert checksum(packet[:24]) == 0


@pytest.mark.parametrize(("name", "header_len"), [("udp4", 20), ("udp6", 40)])
def test_checksum_of_a_datagram_covers_the_addresses(name: str, header_len: int) -> None:
    packet = golden.load("packets", name)
    source, destination = (
        ipaddress.ip_address(packet[f"ipv{packet.data[0] >> 4}.{end}"])
        for end in ("source", "destination")
    )
    datagram = packet.data[header_len:]

    assert checksum(pseudo_header(source, destination, 17, len(datagram)) + datagram) == 0
