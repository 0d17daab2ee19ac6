"""What a host tells of itself by ICMP, where it is old-fashioned enough: its time, its mask."""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import anyio

from .. import doors
from ..channels import IcmpChannel
from ..errors import WireError
from ..helper import HelperLike
from ..packet import Packet
from ..resolve import resolve_host
from ..wire.icmp_queries import AddressMask, Timestamp
from .ask import check_patience

__all__ = ("HostTime", "address_mask", "icmp_timestamp")

_T = TypeVar("_T")
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTime:
    """A host's clock.

    Attributes:
        address: Whose.
        rtt: Seconds from the question to the answer.
        offset: Seconds that its clock is ahead of ours, within half of ``rtt`` and a millisecond;
            None: it says that its times are not milliseconds since midnight UT.
        received: When it got the question, as it said: milliseconds since midnight UT.
        transmitted: When it answered.
    """

    address: ipaddress.IPv4Address
    rtt: float
    offset: float | None
    received: int
    transmitted: int


async def icmp_timestamp(
    host: str | ipaddress.IPv4Address,
    *,
    timeout: float = 1.0,
    retries: int = 2,
    interface: str | None = None,
    namespace: str | None = None,
    helper: HelperLike = None,
) -> HostTime | None:
    """Ask a host for its time, by ICMP. Many do not answer; IPv6 has no such question.

    Args:
        host: A name or an address.
        timeout: Seconds to wait after each question.
        retries: Questions after the first.
        interface: As `aioprocket.open_icmp`, and so are the rest.

    Returns:
        None: no answer.

    Raises:
        SpecError: ``timeout`` or ``retries`` cannot be.
        ResolutionError: The host has no IPv4 address.
        ChannelError: This machine does not send it: no route.
        And what `aioprocket.open_icmp` raises: it takes a raw socket.
    """

    def question(identifier: int, sequence: int) -> bytes:
        asked = Timestamp(identifier=identifier, sequence=sequence, originate=_now_ms())
        return asked.emit()

    def answer(packet: Packet, identifier: int, sequence: int, rtt: float) -> HostTime | None:
        said, _ = Timestamp.parse(bytes(packet))
        if not said.reply or (said.identifier, said.sequence) != (identifier, sequence):
            return None
        return HostTime(
            address=ipaddress.IPv4Address(packet.addr[0]),
            rtt=rtt,
            offset=_offset(said, rtt) if said.standard else None,
            received=said.receive,
            transmitted=said.transmit,
        )

    way = {"interface": interface, "namespace": namespace, "helper": helper}
    return await _ask(host, timeout, retries, way, question, answer)


async def address_mask(
    host: str | ipaddress.IPv4Address,
    *,
    timeout: float = 1.0,
    retries: int = 2,
    interface: str | None = None,
    namespace: str | None = None,
    helper: HelperLike = None,
) -> ipaddress.IPv4Address | None:
    """Ask a host for the mask of its network, by ICMP. Linux answers no such question.

    Args:
        host: As `icmp_timestamp`, and so are the rest.

    Returns:
        The mask, as 255.255.255.0; None: no answer.

    Raises:
        What `icmp_timestamp` raises.
    """

    def question(identifier: int, sequence: int) -> bytes:
        return AddressMask(identifier=identifier, sequence=sequence).emit()

    def answer(
        packet: Packet, identifier: int, sequence: int, rtt: float
    ) -> ipaddress.IPv4Address | None:
        said, _ = AddressMask.parse(bytes(packet))
        good = said.reply and (said.identifier, said.sequence) == (identifier, sequence)
        return said.mask if good else None

    way = {"interface": interface, "namespace": namespace, "helper": helper}
    return await _ask(host, timeout, retries, way, question, answer)


async def _ask(
    host: str | ipaddress.IPv4Address,
    timeout: float,
    retries: int,
    way: dict[str, Any],
    question: Callable[[int, int], bytes],
    answer: Callable[[Packet, int, int, float], _T | None],
) -> _T | None:
    check_patience(timeout, retries)
    address = (await resolve_host(host, 4))[0]
    async with doors.open_icmp(4, type="raw", **way) as channel:
        for sequence in range(1, retries + 2):
            sent = time.monotonic()
            await channel.sendto(question(channel.identifier, sequence), (str(address), 0))
            with anyio.move_on_after(timeout):
                return await _hear(channel, sequence, sent, answer)
    return None


async def _hear(
    channel: IcmpChannel,
    sequence: int,
    sent: float,
    answer: Callable[[Packet, int, int, float], _T | None],
) -> _T:
    while True:
        packet = await channel.receive()
        elapsed = time.monotonic() - sent
        waited = (time.time_ns() - packet.timestamp_ns) / 1e9  # here, before it was read
        rtt = elapsed - waited if 0 <= waited <= elapsed else elapsed
        try:
            said = answer(packet, channel.identifier, sequence, rtt)
        except WireError:
            continue
        if said is not None:
            return said


def _now_ms() -> int:
    return time.time_ns() // 1_000_000 % _DAY_MS


def _offset(said: Timestamp, rtt: float) -> float:
    """As NTP reckons it, around midnight as well."""
    arrived = said.originate + rtt * 1000
    ahead = ((said.receive - said.originate) + (said.transmit - arrived)) / 2
    return ((ahead + _DAY_MS / 2) % _DAY_MS - _DAY_MS / 2) / 1000
