import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden
from aioprocket.errors import WireError
from aioprocket.wire.checksum import checksum
from aioprocket.wire.ip import IPv4Header, IPv6Header, skip_extensions

V4 = ipaddress.IPv4Address("192.0.2.1")
V6 = ipaddress.IPv6Address("2001:db8::1")

headers4 = st.builds(
    IPv4Header,
    source=st.ip_addresses(v=4),
    destination=st.ip_addresses(v=4),
    protocol=st.integers(0, 255),
    ttl=st.integers(0, 255),
    tos=st.integers(0, 255),
    identification=st.integers(0, 0xFFFF),
    dont_fragment=st.booleans(),
    more_fragments=st.booleans(),
    fragment_offset=st.integers(0, 0x1FFF),
    options=st.integers(0, 10).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
)
headers6 = st.builds(
    IPv6Header,
    source=st.ip_addresses(v=6),
    destination=st.ip_addresses(v=6),
    next_header=st.integers(0, 255),
    hop_limit=st.integers(0, 255),
    traffic_class=st.integers(0, 255),
    flow_label=st.integers(0, 0xFFFFF),
)


def quoted() -> bytes:
    """A header with options and 8 bytes of 36 behind it, as an ICMP error quotes it."""
    return bytes.fromhex(golden.load("packets", "icmp-time-exceeded")["payload"])


@given(headers4, st.binary(max_size=64))
def test_ipv4_header_survives_the_way_there_and_back(header: IPv4Header, payload: bytes) -> None:
    packet = header.emit(payload)

    assert IPv4Header.parse(packet) == (header, payload)
    assert checksum(packet[: 20 + len(header.options)]) == 0


@given(headers6, st.binary(max_size=64))
def test_ipv6_header_survives_the_way_there_and_back(header: IPv6Header, payload: bytes) -> None:
    assert IPv6Header.parse(header.emit(payload)) == (header, payload)


@given(st.binary(max_size=80), st.sampled_from([IPv4Header, IPv6Header]))
def test_any_bytes_are_a_header_or_a_wire_error(
    data: bytes, codec: type[IPv4Header] | type[IPv6Header]
) -> None:
    try:
        _, payload = codec.parse(data)
    except WireError:
        return
    assert payload in data


@given(st.integers(0, 255), st.binary(max_size=64))
def test_any_extension_headers_end_in_a_protocol_or_a_wire_error(
    number: int, payload: bytes
) -> None:
    try:
        _, rest = skip_extensions(number, payload)
    except WireError:
        return
    assert payload.endswith(rest)


@pytest.mark.parametrize("codec", [IPv4Header, IPv6Header])
def test_padding_of_the_frame_is_not_payload(codec: type[IPv4Header] | type[IPv6Header]) -> None:
    packet = golden.load("packets", "udp4" if codec is IPv4Header else "udp6").data

    assert codec.parse(packet + bytes(20)) == codec.parse(packet)


def test_quoted_packet_is_read_as_far_as_it_goes() -> None:
    header, payload = IPv4Header.parse(quoted())

    assert header.ttl == 1
    assert header.options == bytes.fromhex("94040000")
    assert payload == quoted()[24:]


@pytest.mark.parametrize(
    ("data", "words", "offset"),
    [
        (quoted()[:19], "IPv4 header: 19 bytes of 20", 19),
        (quoted()[:23], "IPv4 options: 23 bytes of 24", 23),
        (b"\x66" + quoted()[1:], "IP version 6, not 4", 0),
        (b"\x44" + quoted()[1:], "header of 16 bytes", 0),
        (quoted()[:2] + b"\x00\x17" + quoted()[4:], "total length 23, of a header of 24", 2),
    ],
    ids=["short", "options cut", "version", "header length", "total length"],
)
def test_ipv4_fault_is_found_where_it_is(data: bytes, words: str, offset: int) -> None:
    with pytest.raises(WireError, match=words) as caught:
        IPv4Header.parse(data)

    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("data", "words", "offset"),
    [
        (bytes(39), "IPv6 header: 39 bytes of 40", 39),
        (b"\x45" + bytes(39), "IP version 4, not 6", 0),
    ],
    ids=["short", "version"],
)
def test_ipv6_fault_is_found_where_it_is(data: bytes, words: str, offset: int) -> None:
    with pytest.raises(WireError, match=words) as caught:
        IPv6Header.parse(data)

    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("number", "data", "words"),
    [
        (0, bytes(7), "extension header: 7 bytes of 8"),
        (60, b"\x11\x01" + bytes(13), "extension header: 15 bytes of 16"),
        (44, bytes(7), "fragment header: 7 bytes of 8"),
        (51, bytes(7), "authentication header: 7 bytes of 8"),
        (51, b"\x11\x01" + bytes(9), "extension header: 11 bytes of 12"),
    ],
    ids=["head", "body", "fragment", "authentication head", "authentication body"],
)
def test_extension_header_that_is_cut_is_refused(number: int, data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        skip_extensions(number, data)


@pytest.mark.parametrize("number", [6, 17, 50, 58, 59])
def test_what_is_no_readable_extension_ends_the_skipping(number: int) -> None:
    assert skip_extensions(number, b"rest") == (number, b"rest")


@pytest.mark.parametrize(("count", "left"), [(15, 0), (16, 0), (17, 1), (8000, 7984)])
def test_sixteen_extensions_are_skipped(count: int, left: int) -> None:
    padding = b"\x3c\0\1\4\0\0\0\0"  # destination options that say nothing
    headers = padding * (count - 1) + b"\x11" + padding[1:]

    protocol, rest = skip_extensions(60, headers + b"rest")

    assert (protocol, len(rest)) == (60 if left else 17, 8 * left + 4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"protocol": 256}, "protocol 256"),
        ({"protocol": 1, "ttl": -1}, "ttl -1"),
        ({"protocol": 1, "tos": 256}, "tos 256"),
        ({"protocol": 1, "identification": 0x10000}, "identification 65536"),
        ({"protocol": 1, "fragment_offset": 0x2000}, "fragment_offset 8192"),
        ({"protocol": 1, "options": b"abc"}, "3 bytes of options"),
        ({"protocol": 1, "options": bytes(44)}, "44 bytes of options"),
    ],
)
def test_ipv4_header_that_cannot_be_sent_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(WireError, match=words):
        IPv4Header(source=V4, destination=V4, **fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"next_header": 256}, "next_header 256"),
        ({"next_header": 1, "hop_limit": 256}, "hop_limit 256"),
        ({"next_header": 1, "traffic_class": 256}, "traffic_class 256"),
        ({"next_header": 1, "flow_label": 0x100000}, "flow_label 1048576"),
    ],
)
def test_ipv6_header_that_cannot_be_sent_is_refused(fields: dict[str, int], words: str) -> None:
    with pytest.raises(WireError, match=words):
        IPv6Header(source=V6, destination=V6, **fields)


@pytest.mark.parametrize(
    ("header", "most"),
    [
        (IPv4Header(source=V4, destination=V4, protocol=1), 65515),
        (IPv4Header(source=V4, destination=V4, protocol=1, options=bytes(4)), 65511),
        (IPv6Header(source=V6, destination=V6, next_header=58), 65535),
    ],
    ids=["IPv4", "IPv4 with options", "IPv6"],
)
def test_longest_payload_fits_and_one_more_byte_does_not(
    header: IPv4Header | IPv6Header, most: int
) -> None:
    assert header.parse(header.emit(bytes(most))) == (header, bytes(most))
    with pytest.raises(WireError, match=f"payload of {most + 1} bytes"):
        header.emit(bytes(most + 1))
