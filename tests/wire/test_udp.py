import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket.errors import WireError
from aioprocket.wire.checksum import checksum, pseudo_header
from aioprocket.wire.udp import UdpHeader

u16 = st.integers(0, 0xFFFF)
headers = st.builds(UdpHeader, source_port=u16, destination_port=u16)
addresses = st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)) | st.tuples(
    st.ip_addresses(v=6), st.ip_addresses(v=6)
)
HEADER = UdpHeader(source_port=53, destination_port=1024)


@given(headers, st.binary(max_size=64))
def test_header_survives_the_way_there_and_back(header: UdpHeader, payload: bytes) -> None:
    assert UdpHeader.parse(header.emit(payload)) == (header, payload)


@given(headers, st.binary(max_size=64), addresses)
def test_checksum_covers_the_addresses(
    header: UdpHeader,
    payload: bytes,
    ends: tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]
    | tuple[ipaddress.IPv6Address, ipaddress.IPv6Address],
) -> None:
    source, destination = ends
    datagram = header.emit(payload, source=source, destination=destination)

    assert UdpHeader.parse(datagram) == (header, payload)
    assert checksum(pseudo_header(source, destination, 17, len(datagram)) + datagram) == 0


@given(st.binary(max_size=40))
def test_any_bytes_are_a_header_or_a_wire_error(data: bytes) -> None:
    try:
        _, payload = UdpHeader.parse(data)
    except WireError:
        return
    assert payload == data[8 : int.from_bytes(data[4:6], "big")]


def test_checksum_of_zero_is_sent_as_its_other_form() -> None:
    nowhere = ipaddress.IPv4Address("0.0.0.0")
    # Chosen so that all words add up to 0xffff: 17 + 10 + 10 + 0xffda.
    datagram = UdpHeader(source_port=0, destination_port=0).emit(
        bytes.fromhex("ffda"), source=nowhere, destination=nowhere
    )

    assert datagram[6:8] == b"\xff\xff"


def test_without_addresses_there_is_no_checksum() -> None:
    assert HEADER.emit(b"x")[6:8] == b"\x00\x00"


def test_payload_ends_where_the_header_says() -> None:
    assert UdpHeader.parse(HEADER.emit(b"query") + b"padding") == (HEADER, b"query")


@pytest.mark.parametrize(
    ("data", "words", "offset"),
    [
        (HEADER.emit()[:7], "7 bytes of 8", 7),
        (HEADER.emit()[:4] + b"\x00\x07\x00\x00", "UDP length 7", 4),
    ],
    ids=["short", "length"],
)
def test_fault_is_found_where_it_is(data: bytes, words: str, offset: int) -> None:
    with pytest.raises(WireError, match=words) as caught:
        UdpHeader.parse(data)

    assert caught.value.offset == offset


@pytest.mark.parametrize("field", ["source_port", "destination_port"])
def test_port_out_of_range_is_refused(field: str) -> None:
    with pytest.raises(WireError, match=f"{field} 65536"):
        UdpHeader(**{"source_port": 1, "destination_port": 1} | {field: 65536})


def test_longest_payload_fits_and_one_more_byte_does_not() -> None:
    assert UdpHeader.parse(HEADER.emit(bytes(65527))) == (HEADER, bytes(65527))
    with pytest.raises(WireError, match="payload of 65528 bytes"):
        HEADER.emit(bytes(65528))
