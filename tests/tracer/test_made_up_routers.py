"""What real routers of this machine do not do: labels, short quotes, silence, forgery, load."""

import ipaddress
import struct
from collections.abc import Callable
from typing import Any, Literal

import pytest

import aioprocket
from aioprocket import Hop, MplsLabel
from aioprocket.wire.icmp import Echo, IcmpError
from aioprocket.wire.icmp_extensions import IcmpExtensions
from aioprocket.wire.ip import IPv4Header, IPv6Header
from lab.answering import answering

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

US = {4: "10.55.0.1", 6: "fd55::1"}
TARGET = {4: "10.55.0.99", 6: "fd55::99"}
PATIENT = 20.0
LABELS = (
    MplsLabel(label=16_001, traffic_class=3, ttl=1),
    MplsLabel(label=24_017, bottom=True, ttl=254),
)
RAW_AND_NOT = pytest.mark.parametrize("flavour", ["raw", "dgram"])

_TYPES = {
    ("expired", 4): (11, 0),
    ("port", 4): (3, 3),
    ("expired", 6): (3, 0),
    ("port", 6): (1, 4),
}

Answer = Callable[[bytes], list[bytes]]


def parse(packet: bytes) -> tuple[int, int, bytes]:
    """Version, time to live, payload."""
    if packet[0] >> 4 == 4:
        header, payload = IPv4Header.parse(packet)
        return 4, header.ttl, payload
    header6, payload = IPv6Header.parse(packet)
    return 6, header6.hop_limit, payload


def router(version: int, ttl: int) -> Any:
    return ipaddress.ip_address(f"10.55.1.{ttl}" if version == 4 else f"fd55:1::{ttl}")


def from_to(version: int, source: Any, message: bytes) -> bytes:
    if version == 4:
        return IPv4Header(source=source, destination=ipaddress.IPv4Address(US[4]), protocol=1).emit(
            message
        )
    return IPv6Header(source=source, destination=ipaddress.IPv6Address(US[6]), next_header=58).emit(
        message
    )


def error(
    version: Literal[4, 6], source: Any, kind: str, quoted: bytes, extensions: bytes = b"",
    length: bool = True,
) -> bytes:  # fmt: skip
    """An ICMP error; with extensions, its quotation is padded to 128 bytes."""
    types = {
        ("expired", 4): (11, 0),
        ("port", 4): (3, 3),
        ("expired", 6): (3, 0),
        ("port", 6): (1, 4),
    }
    type_, code = types[kind, version]
    rest = 0
    if extensions:
        quoted = quoted.ljust(128, b"\0")[:128]
        if length:
            rest = 32 << 16 if version == 4 else 16 << 24
    message = IcmpError(type=type_, code=code, rest=rest, version=version)
    ends: dict[str, Any] = {}
    if version == 6:
        ends = {"source": source, "destination": ipaddress.IPv6Address(US[6])}
    return from_to(version, source, message.emit(quoted + extensions, **ends))


def reply(packet: bytes) -> bytes:
    """The destination's answer to an echo."""
    version, _, payload = parse(packet)
    assert version in (4, 6)
    echo, data = Echo.parse(payload, 4 if version == 4 else 6)
    target = ipaddress.ip_address(TARGET[version])
    answer = Echo(
        identifier=echo.identifier, sequence=echo.sequence, reply=True, version=echo.version
    )
    ends: dict[str, Any] = {}
    if version == 6:
        ends = {"source": target, "destination": ipaddress.IPv6Address(US[6])}
    return from_to(version, target, answer.emit(data, **ends))


def path(
    distance: int, *, quoted: int = 1000, extensions: bytes = b"", length: bool = True,
    silent: tuple[int, ...] = (),
) -> Answer:  # fmt: skip
    """Routers up to ``distance``, where the destination is."""

    def answer(packet: bytes) -> list[bytes]:
        version, ttl, payload = parse(packet)
        target = ipaddress.ip_address(TARGET[version]).packed
        if target not in packet[:40] or ttl in silent:
            return []
        assert version in (4, 6)
        of: Literal[4, 6] = 4 if version == 4 else 6
        header = 20 if version == 4 else 40
        cut = packet[: header + quoted]
        if ttl < distance:
            return [error(of, router(of, ttl), "expired", cut, extensions, length)]
        if payload[0] in (8, 128) and packet[9 if version == 4 else 6] in (1, 58):
            return [reply(packet)]
        return [error(of, ipaddress.ip_address(TARGET[of]), "port", cut)]

    return answer


async def traced(answer: Answer, version: Literal[4, 6] = 4, **arguments: Any) -> list[Hop]:
    arguments.setdefault("timeout", PATIENT)
    arguments.setdefault("probes", 2)
    with answering(answer, f"{US[version]}/{16 if version == 4 else 32}"):
        return [hop async for hop in aioprocket.traceroute(TARGET[version], **arguments)]


def check(hops: list[Hop], distance: int, version: int = 4) -> None:
    expected = [router(version, ttl) for ttl in range(1, distance)]
    assert [hop.address for hop in hops] == [*expected, ipaddress.ip_address(TARGET[version])]
    assert all(hop.loss == 0 for hop in hops)
    assert hops[-1].reached


@RAW_AND_NOT
@pytest.mark.parametrize("length", [True, False], ids=["rfc4884", "before"])
@pytest.mark.parametrize("version", [4, 6])
async def test_labels_of_the_packet_are_told(
    version: Literal[4, 6], length: bool, flavour: Any
) -> None:
    stack = IcmpExtensions.of_labels(LABELS).emit()

    hops = await traced(
        path(3, extensions=stack, length=length), version, method="udp", type=flavour
    )

    check(hops, 3, version)
    assert [hop.labels for hop in hops] == [LABELS, LABELS, ()]


async def test_labels_are_told_of_echoes_as_well() -> None:
    stack = IcmpExtensions.of_labels(LABELS).emit()

    hops = await traced(path(2, extensions=stack), method="icmp", type="raw")

    assert [hop.labels for hop in hops] == [LABELS, ()]


@pytest.mark.parametrize("method", ["icmp", "udp"])
async def test_eight_quoted_bytes_are_enough(method: Any) -> None:
    check(await traced(path(4, quoted=8), method=method, type="raw"), 4)


async def test_quotes_that_do_not_say_of_what_are_asked_for_one_by_one() -> None:
    # The kernel's error queue leaves out the UDP header, and nothing follows it here.
    hops = await traced(path(4, quoted=8), method="udp", type="dgram", probes=1, timeout=0.5)

    check(hops, 4)


async def test_a_silent_router_is_a_hop_without_an_address() -> None:
    hops = await traced(path(4, silent=(2,)), timeout=0.5)

    assert [hop.address for hop in hops] == [
        router(4, 1), None, router(4, 3), ipaddress.ip_address(TARGET[4]),
    ]  # fmt: skip
    assert (hops[1].loss, hops[1].received) == (1, 0)


async def test_routers_that_share_the_load_are_all_named() -> None:
    real = path(3)
    asked = [0]

    def answer(packet: bytes) -> list[bytes]:
        version, ttl, _ = parse(packet)
        if version == 4 and ttl == 1:
            asked[0] += 1
            twin = ipaddress.IPv4Address(f"10.55.2.{asked[0]}")
            return [error(4, twin, "expired", packet)]
        return real(packet)

    hops = await traced(answer, probes=3)

    assert [str(address) for address in hops[0].addresses] == [
        "10.55.2.1",
        "10.55.2.2",
        "10.55.2.3",
    ]


@RAW_AND_NOT
async def test_forged_and_doubled_answers_change_nothing(flavour: Any) -> None:
    real = path(3)
    liar = ipaddress.IPv4Address("10.55.3.3")

    def answer(packet: bytes) -> list[bytes]:
        forged = bytearray(packet)
        forged[28:36] = b"\xff" * 8  # another cookie
        elsewhere = bytearray(packet)
        elsewhere[19] ^= 1  # quotes a packet to somebody else
        lies = [error(4, liar, "expired", bytes(lie)) for lie in (forged, elsewhere)]
        true = real(packet)
        return lies + true + true

    hops = await traced(answer, method="udp", type=flavour)

    check(hops, 3)
    assert all(len(hop.addresses) == 1 for hop in hops)


async def test_a_service_at_the_port_is_the_destination() -> None:
    real = path(2)

    def answer(packet: bytes) -> list[bytes]:
        _, ttl, payload = parse(packet)
        if ttl < 2 or packet[9] != 17:
            return real(packet)
        source, destination = struct.unpack_from("!HH", payload)
        datagram = struct.pack("!HHHH", destination, source, 8 + 3, 0) + b"hi!"
        header = IPv4Header(
            source=ipaddress.IPv4Address(TARGET[4]),
            destination=ipaddress.IPv4Address(US[4]),
            protocol=17,
        )
        return [header.emit(datagram)]

    hops = await traced(answer, method="udp", probes=1, timeout=0.5)

    check(hops, 2)
    assert hops[-1].answers[0].error is None
