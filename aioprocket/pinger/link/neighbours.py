"""The hardware addresses of next hops: what the kernel is sure of, and what the link answers.

A question is asked three times, a second apart or in as much less time as a probe has; a neighbour
that has answered is not asked again for half a minute. No socket and no clock: frames are handed
out and in.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ...errors import WireError
from ...wire.arp import ArpPacket, Operation
from ...wire.ethernet import EthernetHeader, is_of_host, mac_bytes, mac_text
from ...wire.ip import IPv6Header
from ...wire.ndp import HOP_LIMIT, NeighbourAdvertisement
from ...wire.neighbour import ARP, IPV6, arp_request, solicitation
from .ways import Hop

__all__ = ("ASKED", "Neighbours")

ASKED: Final = 256  # neighbours at once
_TIMES: Final = 3
_PART: Final = 0.3  # of a probe's time, until it is asked again; but a second at most
_KNOWN: Final = 30.0  # seconds
_KEPT: Final = 4096

_Key = tuple[int, bytes]


@dataclass(slots=True)
class _Question:
    hop: Hop
    gap: float
    next_at: float
    until: float  # however late the program is: before its probes have had their time
    left: int = _TIMES
    waiting: list[tuple[Hop, int]] = field(default_factory=list)


class Neighbours:
    """Who is asked for, who waits for it, and who has answered."""

    def __init__(self) -> None:
        self._known: dict[_Key, tuple[bytes, float]] = {}
        self._asked: dict[_Key, _Question] = {}

    def __len__(self) -> int:
        """How many are asked for."""
        return len(self._asked)

    def hwaddr(self, hop: Hop, now: float) -> bytes | None:
        """What is known of a next hop."""
        found = self._known.get((hop.ifindex, hop.address))
        return found[0] if found is not None and now < found[1] else None

    def learn(self, hop: Hop, hwaddr: bytes, now: float) -> None:
        """This is a next hop's."""
        self._keep((hop.ifindex, hop.address), hwaddr, now)

    def forget(self) -> None:
        """What was known may be wrong."""
        self._known.clear()

    def wait(self, hop: Hop, serial: int, timeout: float, now: float) -> None:
        """A probe waits for a next hop, which has as long to answer as the probe's reply."""
        key = hop.ifindex, hop.address
        question = self._asked.get(key)
        if question is None or question.until <= now:
            gap = min(timeout * _PART, 1.0)
            waited = [] if question is None else question.waiting
            question = self._asked[key] = _Question(
                hop, gap, now, now + _TIMES * gap, waiting=waited
            )
        question.waiting.append((hop, serial))

    def due(self) -> float | None:
        """When `questions` or `failures` have something next."""
        return min((min(each.next_at, each.until) for each in self._asked.values()), default=None)

    def questions(self, now: float) -> Iterator[tuple[str, bytes]]:
        """Interfaces, and frames that are to be sent by them now."""
        for question in self._asked.values():
            if question.next_at <= now < question.until and question.left:
                question.left -= 1
                question.next_at = now + question.gap if question.left else question.until
                yield question.hop.name, _frame(question.hop)

    def failures(self, now: float) -> list[tuple[Hop, int]]:
        """The probes whose next hop has not answered in time."""
        lost: list[tuple[Hop, int]] = []
        for key, question in list(self._asked.items()):
            if question.until <= now:
                lost += self._asked.pop(key).waiting
        return lost

    def hear(
        self, ifindex: int, frame: bytes, now: float
    ) -> tuple[bytes, list[tuple[Hop, int]]] | None:
        """A hardware address, and the probes that have waited for it; None: nobody has.

        Who is on another link than the one that was asked on is not believed, nor who claims the
        address of a group: RFC 1812, section 3.3.2.
        """
        try:
            said = _parse(frame)
        except WireError:
            return None
        if said is None:
            return None
        address, own, hwaddr = said
        if not is_of_host(mac_text(hwaddr)):
            return None
        key = ifindex, address
        question = self._asked.get(key)
        if question is None or own not in (None, question.hop.own):
            return None
        self._keep(key, hwaddr, now)
        return hwaddr, self._asked.pop(key).waiting

    def _keep(self, key: _Key, hwaddr: bytes, now: float) -> None:
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[key] = hwaddr, now + _KNOWN


def _frame(hop: Hop) -> bytes:
    own = mac_text(hop.own)
    if len(hop.address) == 4:
        source, target = ipaddress.IPv4Address(hop.source), ipaddress.IPv4Address(hop.address)
        return arp_request(own, source, target)
    return solicitation(own, ipaddress.IPv6Address(hop.source), ipaddress.IPv6Address(hop.address))


def _parse(frame: bytes) -> tuple[bytes, bytes | None, bytes] | None:
    """Who says so, to which hardware address if that is told, and the own one."""
    header, rest = EthernetHeader.parse(frame)
    if header.protocol == ARP:
        packet, _ = ArpPacket.parse(rest)
        if packet.operation != Operation.REPLY:
            return None
        return packet.sender_ip.packed, mac_bytes(packet.target_mac), mac_bytes(packet.sender_mac)
    if header.protocol != IPV6:
        return None
    ip, message = IPv6Header.parse(rest)
    answer = NeighbourAdvertisement.parse(message)
    if ip.hop_limit != HOP_LIMIT or not answer.solicited:
        return None
    hwaddr = mac_bytes(answer.target_mac or header.source)
    return answer.target.packed, None, hwaddr
