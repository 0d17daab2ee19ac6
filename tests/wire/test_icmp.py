import ipaddress
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket.errors import WireError
from aioprocket.wire.checksum import checksum, pseudo_header
from aioprocket.wire.icmp import Echo, ErrorKind, IcmpError, IcmpHeader

u16 = st.integers(0, 0xFFFF)
echoes = st.builds(
    Echo,
    identifier=u16,
    sequence=u16,
    reply=st.booleans(),
    version=st.sampled_from([4, 6]),
)
kinds: list[tuple[Literal[4, 6], int]] = [
    (4, 3), (4, 4), (4, 5), (4, 11), (4, 12), (6, 1), (6, 2), (6, 3), (6, 4),
]  # fmt: skip
errors = st.builds(
    lambda kind, code, rest: IcmpError(version=kind[0], type=kind[1], code=code, rest=rest),
    st.sampled_from(kinds),
    st.integers(0, 255),
    st.integers(0, 0xFFFFFFFF),
)
v6 = st.ip_addresses(v=6)


@given(echoes, st.binary(max_size=64))
def test_echo_survives_the_way_there_and_back(echo: Echo, payload: bytes) -> None:
    message = echo.emit(payload)

    assert Echo.parse(message, echo.version) == (echo, payload)
    assert checksum(message) == 0


@given(errors, st.binary(max_size=64))
def test_error_survives_the_way_there_and_back(error: IcmpError, quoted: bytes) -> None:
    message = error.emit(quoted)

    assert IcmpError.parse(message, error.version) == (error, quoted)
    assert checksum(message) == 0


@given(echoes, st.binary(max_size=64), v6, v6)
def test_checksum_covers_the_addresses_where_they_are_given(
    echo: Echo, payload: bytes, source: ipaddress.IPv6Address, destination: ipaddress.IPv6Address
) -> None:
    message = echo.emit(payload, source=source, destination=destination)

    assert checksum(pseudo_header(source, destination, 58, len(message)) + message) == 0


@given(st.binary(max_size=40), st.sampled_from([4, 6]))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes, version: Literal[4, 6]) -> None:
    for codec in (Echo, IcmpError):
        try:
            _, rest = codec.parse(data, version)
        except WireError:
            continue
        assert rest == data[8:]


def test_message_that_is_cut_is_refused_where_it_ends() -> None:
    with pytest.raises(WireError, match="7 bytes of 8") as caught:
        IcmpHeader.parse(bytes(7))

    assert caught.value.offset == 7


@pytest.mark.parametrize(
    ("header", "version"),
    [
        (IcmpHeader(type=3), 4),
        (IcmpHeader(type=8, code=1), 4),
        (IcmpHeader(type=128), 4),
        (IcmpHeader(type=8), 6),
        (IcmpHeader(type=0), 6),
    ],
    ids=["error", "code", "of IPv6", "of IPv4", "reply of IPv4"],
)
def test_other_message_is_no_echo(header: IcmpHeader, version: Literal[4, 6]) -> None:
    with pytest.raises(WireError, match="no echo"):
        Echo.parse(header.emit(), version)


@pytest.mark.parametrize(("type", "version"), [(8, 4), (1, 4), (128, 6), (11, 6)])
def test_other_message_is_no_error(type: int, version: Literal[4, 6]) -> None:
    with pytest.raises(WireError, match="is no error"):
        IcmpError.parse(IcmpHeader(type=type).emit(), version)


@pytest.mark.parametrize(
    ("version", "type", "code", "kind", "text"),
    [
        (4, 3, 0, ErrorKind.UNREACHABLE, "network unreachable"),
        (4, 3, 1, ErrorKind.UNREACHABLE, "host unreachable"),
        (4, 3, 3, ErrorKind.UNREACHABLE, "port unreachable"),
        (4, 3, 13, ErrorKind.UNREACHABLE, "communication prohibited"),
        (4, 3, 200, ErrorKind.UNREACHABLE, "unreachable"),
        (4, 3, 4, ErrorKind.PACKET_TOO_BIG, "fragmentation needed"),
        (4, 4, 0, ErrorKind.SOURCE_QUENCH, "source quench"),
        (4, 5, 1, ErrorKind.REDIRECT, "redirect for host"),
        (4, 11, 0, ErrorKind.TIME_EXCEEDED, "time to live exceeded"),
        (4, 12, 0, ErrorKind.PARAMETER_PROBLEM, "parameter problem"),
        (6, 1, 0, ErrorKind.UNREACHABLE, "no route"),
        (6, 1, 4, ErrorKind.UNREACHABLE, "port unreachable"),
        (6, 2, 0, ErrorKind.PACKET_TOO_BIG, "packet too big"),
        (6, 3, 0, ErrorKind.TIME_EXCEEDED, "hop limit exceeded"),
        (6, 4, 1, ErrorKind.PARAMETER_PROBLEM, "unknown next header"),
    ],
)
def test_error_has_a_kind_and_a_phrase(
    version: Literal[4, 6], type: int, code: int, kind: ErrorKind, text: str
) -> None:
    error = IcmpError(version=version, type=type, code=code)

    assert (error.kind, error.text) == (kind, text)


@pytest.mark.parametrize(
    ("error", "mtu"),
    [
        (IcmpError(type=3, code=4, rest=0xFFFF_0500), 0x0500),
        (IcmpError(type=3, code=4, rest=0), None),
        (IcmpError(type=3, code=3, rest=0x0500), None),
        (IcmpError(type=2, code=0, rest=0x10500, version=6), 0x10500),
    ],
    ids=["IPv4", "old router", "other error", "IPv6"],
)
def test_mtu_is_read_where_there_is_one(error: IcmpError, mtu: int | None) -> None:
    assert error.mtu == mtu


def test_gateway_is_read_from_a_redirect_only() -> None:
    assert IcmpError(type=5, code=1, rest=0xC00002FD).gateway == ipaddress.ip_address("192.0.2.253")
    assert IcmpError(type=3, code=1, rest=0xC00002FD).gateway is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: IcmpHeader(type=256), "type 256"),
        (lambda: IcmpHeader(type=1, code=-1), "code -1"),
        (lambda: IcmpHeader(type=1, rest=1 << 32), "rest 4294967296"),
        (lambda: Echo(identifier=0x10000, sequence=0), "identifier 65536"),
        (lambda: Echo(identifier=0, sequence=0x10000), "sequence 65536"),
        (lambda: IcmpError(type=3, code=256), "code 256"),
    ],
)
def test_message_that_cannot_be_sent_is_refused(make: Any, words: str) -> None:
    with pytest.raises(WireError, match=words):
        make()
