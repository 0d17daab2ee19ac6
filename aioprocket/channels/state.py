"""What a channel says of itself: counters, and attributes for anyio's typed look-up."""

from typing import Literal, NamedTuple, Self, TypeAlias

import anyio

__all__ = ("ChannelAttribute", "Sent", "Stamp", "StampInfo", "StampSource", "Stats")

StampSource: TypeAlias = Literal["software", "hardware", "sched"]


class Sent(int):
    """How many packets of a batch the kernel took: a number that can say why it is not larger.

    Attributes:
        error: What it said of the first that it did not take; None if it took all.
    """

    error: OSError | None

    def __new__(cls, count: int, error: OSError | None = None) -> Self:
        """Make one."""
        sent = super().__new__(cls, count)
        sent.error = error
        return sent


class Stamp(NamedTuple):
    """When a packet was sent.

    Attributes:
        timestamp_ns: Nanoseconds of ``clock``.
        source: ``"software"``: the driver had given the packet to the device, or was about to;
            ``"hardware"``: the device began to send it; ``"sched"``: it came to the interface's
            queue.
        clock: ``"realtime"``: since 1970, as of received packets; ``"hardware"``: of the device's
            own clock, which starts and runs as whoever rules it wants.
    """

    timestamp_ns: int
    source: StampSource
    clock: Literal["realtime", "hardware"]


class StampInfo(NamedTuple):
    """Which timestamps there are on a channel, by which clock.

    Attributes:
        rx_source: Of received packets, ``"software"``: taken by the kernel when it got the packet
            from the driver, or when it had been sent, for one of this host's. None: they have
            none. In the first moments after nobody on the machine wanted timestamps, the kernel
            stamps packets when they come to the socket's ring, or are read.
        rx_clock: ``"realtime"``: nanoseconds since 1970, as `time.time_ns`; None: no timestamps.
        tx_sources: What `Channel.send_stamped` can give; None: that depends on the interface that
            a packet takes, and the channel is not bound to one. ``"hardware"`` is there where
            the driver can, whether or not root has switched it on.
        phc: The interface's own clock is ``/dev/ptp`` with this number; None: it has none.
    """

    rx_source: Literal["software"] | None
    rx_clock: Literal["realtime"] | None
    tx_sources: frozenset[StampSource] | None
    phc: int | None


class Stats(NamedTuple):
    """Totals since the channel was made, but for the two that say how things are now.

    No reading sets them back. What the kernel has for a channel is received (``rx_packets``),
    dropped (``rx_dropped``), or still waits; `Channel.set_filter` and `Channel.close` throw away
    what waits, which is counted nowhere.

    Attributes:
        rx_packets: Packets read from the kernel.
        rx_bytes: Their bytes, without what was cut off.
        rx_dropped: Packets that the kernel had no room for. Packet sockets: PACKET_STATISTICS.
            Other sockets: SO_MEMINFO, which counts wrong checksums as well, and of UDP what a
            filter rejects; with offload, those that came in one as one: there were as many at
            least. Tun and tap: tx_dropped of
            the interface, for all queues at the first one; 0 where the interface is in another
            network namespace, or may be. Other devices: 0, they keep no count. UNIX sockets drop
            nothing: their sender waits.
        rx_truncated: Packets that were longer than the room for them.
        rx_queued: Now: bytes of kernel memory that packets hold that were not read yet.
        rx_held: Now: packets that were read and keep room: not delivered yet, of a delivery that
            was broken off, for a receive that read ahead, that came in one with others, or of a
            sparse ring that nobody read in time (after the end: never, but for those in
            `Channel.undelivered`), or in a block of a ring
            that somebody keeps a batch or a view of.
        tx_packets: Packets that the kernel took.
        tx_bytes: Their bytes.
        tx_refused: Packets that the kernel had no room for at first, sent later or not.
        wakeups: How often the loop said that there is something to read.
        errors: Errors that did not end a receive: link down, ICMP errors, overruns.
        link_down: How many of them said that the link went down.
        rx_freezes: How often a ring stood still because its reader had not given the next block
            back; what came meanwhile is in ``rx_dropped``.
    """

    rx_packets: int
    rx_bytes: int
    rx_dropped: int
    rx_truncated: int
    rx_queued: int
    rx_held: int
    tx_packets: int
    tx_bytes: int
    tx_refused: int
    wakeups: int
    errors: int
    link_down: int
    rx_freezes: int


class ChannelAttribute(anyio.TypedAttributeSet):
    """What ``channel.extra(…)`` knows beside `anyio.abc.SocketAttribute`."""

    interface: str = anyio.typed_attribute()
    ifindex: int = anyio.typed_attribute()
    hwaddr: bytes = anyio.typed_attribute()
    mtu: int = anyio.typed_attribute()
    protocol: int = anyio.typed_attribute()
    stats: Stats = anyio.typed_attribute()
