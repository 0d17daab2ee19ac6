"""Interfaces of a capture file, and what is known of them while it is written."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import AF_PACKET, SOCK_DGRAM
from typing import Any, Final

from ..channels import Channel, Stats
from ..errors import ClosedError, SpecError
from ..wire.pcapng import InterfaceDescription as Interface
from ..wire.pcapng import InterfaceStatistics

__all__ = ("ETHERNET", "LINUX_SLL", "Interface", "Recorded", "describe")

# LINKTYPE_… of pcap.
ETHERNET: Final = 1
LINUX_SLL: Final = 113

# Where in a packet a VLAN tag stands that the kernel has taken out: behind the two addresses, or
# before the protocol of the cooked header.
_TAG_AT: Final = {ETHERNET: 12, LINUX_SLL: 14}


@dataclass(slots=True)
class Recorded:
    """An interface of the file that is being written.

    Attributes:
        interface: As it is described there.
        number: Its number in every section.
        cooked: Whether its packets get a cooked header.
        stats: The counters of what it comes from.
        tag_at: Where a VLAN tag is put back into a packet; -1: nowhere.
        snaplen: Bytes of a packet at most.
    """

    interface: Interface
    number: int
    cooked: bool = False
    stats: Callable[[], Stats] | None = None
    delivered: int = 0
    dropped: int = 0  # by us
    unsaid: int = 0  # of these, not yet written down
    tag_at: int = field(init=False)
    snaplen: int = field(init=False)
    _before: Stats | None = field(default=None, init=False)
    _last: Stats | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.tag_at = _TAG_AT.get(self.interface.linktype, -1)
        self.snaplen = self.interface.snaplen
        self._before = self._last = self._ask()

    def drop(self, count: int) -> None:
        """Packets of it get lost."""
        self.dropped += count
        self.unsaid += count

    def statistics(self, now: int, start: int) -> InterfaceStatistics:
        """What it has seen since it is recorded; moments in nanoseconds."""
        self._last = self._ask() or self._last
        if self._before is None or self._last is None:
            received, lost = self.delivered + self.dropped, None
        else:
            lost = self._last.rx_dropped - self._before.rx_dropped
            received = self._last.rx_packets - self._before.rx_packets + lost
        return InterfaceStatistics(
            interface=self.number,
            timestamp=now,
            start=start,
            end=now,
            received=received,
            dropped=self.dropped + (lost or 0),
            os_dropped=lost,
            delivered=self.delivered,
        )

    def _ask(self) -> Stats | None:
        try:
            return self.stats() if self.stats is not None else None
        except ClosedError:
            return None


def describe(source: Channel, snaplen: int, facts: dict[str, Any]) -> tuple[Interface, bool]:
    """The interface that a channel is, and whether its packets get a cooked header.

    Args:
        source: A channel.
        snaplen: Bytes of a packet at most.
        facts: What is said of it beside, or in place of what it says of itself.

    Raises:
        SpecError: It does not say what its packets start with, and neither do the facts.
    """
    linktype = facts.pop("linktype", None) or source.linktype
    kind = getattr(source.get_extra_info("spec"), "type", None)
    cooked = linktype is None and source.family == AF_PACKET and kind == SOCK_DGRAM
    known = {
        "name": source.interface or source.name or "any",
        "hwaddr": source.hwaddr or b"",
        "os": " ".join(os.uname()[:3:2]),
    }
    if cooked:
        linktype = LINUX_SLL
    if linktype is None:
        raise SpecError(
            f"what packets of {known['name']} start with is not known",
            hint="say linktype=, a LINKTYPE_… number of pcap",
        )
    return Interface(linktype=linktype, snaplen=snaplen, **{**known, **facts}), cooked
