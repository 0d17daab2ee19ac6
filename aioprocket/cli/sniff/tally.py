"""Counting all packets, whether they are shown or not, without making one of them."""

from collections import Counter
from typing import Final

import aioprocket

from ... import dissect
from .source import ETHERNET, Source

__all__ = ("Rates", "Tally", "protocols")

_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_FIRST_ETHERTYPE: Final = 0x0600
_IP: Final = {
    1: "ICMP", 2: "IGMP", 4: "IPv4", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 50: "ESP",
    51: "AH", 58: "ICMPv6", 89: "OSPF", 103: "PIM", 112: "VRRP", 132: "SCTP",
}  # fmt: skip
_EXTENSIONS: Final = frozenset({0, 43, 44, 60, 135, 139, 140})
_MAX_BINS: Final = 1024
_FIRST_WIDTH_NS: Final = 100_000_000


class Rates:
    """Packets over time, in as many bins as a plot can use, however long it takes."""

    def __init__(self) -> None:
        self.width_ns = _FIRST_WIDTH_NS
        self.bins: Counter[int] = Counter()

    def add(self, batch: aioprocket.Batch) -> None:
        """Count a batch's packets where their timestamps say."""
        times, width = batch.timestamps_ns, self.width_ns
        first, last = times[0] // width, times[-1] // width
        if first == last:
            self.bins[first] += len(batch)
        else:
            self.bins.update(time // width for time in times)
        while len(self.bins) > _MAX_BINS:
            self._fold()

    def _fold(self) -> None:
        folded: Counter[int] = Counter()
        for number, count in self.bins.items():
            folded[number // 2] += count
        self.bins = folded
        self.width_ns *= 2

    def series(self, columns: int) -> tuple[list[int], float]:
        """At most so many counts, from the first packet to the last, and the seconds of each."""
        if not self.bins:
            return [], 0.0
        first, last = min(self.bins), max(self.bins)
        each = -(-(last - first + 1) // columns)
        counts = [0] * -(-(last - first + 1) // each)
        for number, count in self.bins.items():
            counts[(number - first) // each] += count
        return counts, each * self.width_ns / 1e9


class Tally:
    """What has come, in numbers."""

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0
        self.protocols: Counter[str] = Counter()
        self.rates = Rates()
        self.first_ns = self.last_ns = 0

    def add(self, batch: aioprocket.Batch) -> None:
        """Count a batch, which is not empty; its protocols are counted by who knows them."""
        self.packets += len(batch)
        self.bytes += sum(batch.wire_lens)
        self.rates.add(batch)
        times = batch.timestamps_ns
        self.first_ns = self.first_ns or times[0]
        self.last_ns = max(self.last_ns, times[-1])


def protocols(source: Source, batch: aioprocket.Batch) -> Counter[str]:
    """How many packets there are of each protocol, by what is in the IP header or before it."""
    if source.linktype(batch) != ETHERNET:
        return Counter(_one(source, packet) for packet in batch)
    counts: Counter[str] = Counter()
    keys = list(zip(batch.field(12, 2), batch.field(23, 1), batch.field(20, 1), strict=True))
    for (ethertype, ipv4, ipv6), count in Counter(keys).items():
        name = _name(ethertype, ipv4, ipv6)
        if name:
            counts[name] += count
        elif ethertype >= _FIRST_ETHERTYPE and ethertype not in _TAGS and ethertype != _IPV6:
            # The number alone decides: one packet speaks for all.
            one = batch[keys.index((ethertype, ipv4, ipv6))]
            counts[dissect.summarize(bytes(one)).protocol] += count
        else:
            for index, key in enumerate(keys):
                if key == (ethertype, ipv4, ipv6):
                    counts[_one(source, batch[index])] += 1
    return counts


def _name(ethertype: int, ipv4: int, ipv6: int) -> str:
    if ethertype == _IPV4:
        return _IP.get(ipv4) or f"IP protocol {ipv4}"
    if ethertype == _IPV6 and ipv6 not in _EXTENSIONS:
        return _IP.get(ipv6) or f"IP protocol {ipv6}"
    return "ARP" if ethertype == _ARP else ""


def _one(source: Source, packet: aioprocket.Packet) -> str:
    summary = dissect.summarize(bytes(packet), source.origin(packet).linktype)
    for layer in summary.layers:
        if layer.name in ("ipv4", "ipv6"):
            number = layer.fields["protocol"]
            assert isinstance(number, int)
            return _IP.get(number) or f"IP protocol {number}"
    return summary.protocol
