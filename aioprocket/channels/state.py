"""What a channel says of itself: counters, and attributes for anyio's typed look-up."""

from typing import Literal, NamedTuple, Self, TypeAlias

import anyio

__all__ = ("ChannelAttribute", "Sent", "Stamp", "StampSource", "Stats")

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


class Stats(NamedTuple):
    """Totals since the channel was made, but for the two that say how things are now.

    Attributes:
        rx_packets: Packets read from the kernel.
        rx_bytes: Their bytes, without what was cut off.
        rx_dropped: Packets that the kernel had no room for. Packet sockets: PACKET_STATISTICS;
            other sockets: SO_MEMINFO; a device keeps no count, so 0.
        rx_truncated: Packets that were longer than the room for them.
        rx_queued: Now: bytes of kernel memory that packets hold that were not read yet.
        rx_held: Now: packets that were read and keep room: not delivered yet, of a delivery that
            was broken off or for a receive that read ahead (after the end: never), or in a block
            of a ring that somebody keeps a batch or a view of.
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
