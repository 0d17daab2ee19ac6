"""Where packets come from, and what each begins with."""

from collections.abc import AsyncIterator
from typing import Final, NamedTuple, Protocol

import aioprocket

from ... import dissect

__all__ = ("ETHERNET", "RAW", "LiveSource", "Origin", "Source")

ETHERNET: Final = int(dissect.Linktype.ETHERNET)
RAW: Final = int(dissect.Linktype.RAW)
_UNKNOWN: Final = 147  # LINKTYPE_USER0: of no meaning to others

# ARPHRD_…, linux/if_arp.h: what frames of a device begin with, as a packet socket of type raw
# gives them. All that a tunnel of IP has is the packet.
_LINKTYPES: Final = {
    1: ETHERNET, 772: ETHERNET, 512: RAW, 768: RAW, 769: RAW, 776: RAW, 778: RAW, 823: RAW,
    65534: RAW,
}  # fmt: skip


class Origin(NamedTuple):
    """An interface, and the link type of its packets."""

    name: str
    linktype: int


class Source(Protocol):
    """Packets of one interface, of all, or of a file."""

    name: str
    live: bool

    def batches(self) -> AsyncIterator[aioprocket.Batch]:
        """All that comes."""
        ...

    def linktype(self, batch: aioprocket.Batch) -> int | None:
        """What all packets of a batch begin with; None: not all with the same."""
        ...

    def origin(self, packet: aioprocket.Packet) -> Origin:
        """Where a packet is from."""
        ...

    def dropped(self) -> int:
        """Packets that were lost before they could be read, until now."""
        ...

    def unread(self) -> int:
        """Bytes of memory with packets that wait, and will not be read any more."""
        ...

    def remarks(self) -> list[str]:
        """What else is to be said at the end."""
        ...


class LiveSource:
    """A packet channel, of one interface or of all of them."""

    live = True

    def __init__(self, channel: aioprocket.PacketChannel) -> None:
        self.channel = channel
        self.name = channel.interface or "any"
        self._origins: dict[int, Origin] = {}
        self._linktype = channel.linktype if channel.interface is not None else None

    def batches(self) -> AsyncIterator[aioprocket.Batch]:
        """All that comes, until the interface is removed."""
        return self.channel.batches()

    def linktype(self, batch: aioprocket.Batch) -> int | None:
        """What all packets of a batch begin with; None: not all with the same."""
        if self._linktype is not None:
            return self._linktype
        found = {self.origin(packet).linktype for packet in batch}
        return found.pop() if len(found) == 1 else None

    def origin(self, packet: aioprocket.Packet) -> Origin:
        """Where a packet is from."""
        known = self._origins.get(packet.ifindex)
        if known is None:
            # Of all that packets carry, the address is dear to make: once for each interface.
            name, _, _, hardware, *_ = packet.addr
            name = self.channel.interface or name or f"index {packet.ifindex}"
            known = Origin(name, self._linktype or _LINKTYPES.get(hardware, _UNKNOWN))
            self._origins[packet.ifindex] = known
        return known

    def dropped(self) -> int:
        """Packets for which the kernel had no room."""
        return self.channel.stats().rx_dropped

    def unread(self) -> int:
        """Bytes of memory with packets that wait in the kernel."""
        return self.channel.stats().rx_queued

    def remarks(self) -> list[str]:
        """What else is to be said at the end."""
        times = self.channel.stats().link_down
        return [f"{self.name} went down {times} times"] if times else []
