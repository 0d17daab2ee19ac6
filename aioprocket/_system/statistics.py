"""What the kernel dropped, as totals since the socket was opened.

Three sources. A packet socket has PACKET_STATISTICS, which the kernel zeroes at each read: so there
must be one reader, and it keeps the sums. Every other socket has the drop count of SO_MEMINFO,
which is cumulative but wraps at 32 bits. A tun or tap device has that of its interface.
"""

import socket
import struct

from .numbers import SK_MEMINFO_DROPS, SK_MEMINFO_VARS, SOL_PACKET, PacketOption, SocketOption
from .rtnetlink import transmit_drops

__all__ = ("LinkDrops", "PacketStatistics", "SocketDrops", "queued_bytes")

# struct tpacket_stats_v3, linux/if_packet.h; without a ring of that version, the first two.
_TPACKET_STATS = struct.Struct("@III")
_MEMINFO = struct.Struct(f"@{SK_MEMINFO_VARS}I")
_WRAP = 1 << 32


def _meminfo(sock: socket.socket) -> tuple[int, ...]:
    answer = sock.getsockopt(socket.SOL_SOCKET, SocketOption.MEMINFO, _MEMINFO.size)
    return _MEMINFO.unpack(answer)


class PacketStatistics:
    """The one reader of a packet socket's PACKET_STATISTICS.

    ``packets`` counts what passed the filter, the dropped ones included; ``dropped`` what found no
    room. ``freezes``: how often a ring stood still because its next block was not given back. All
    are as of the last `update`.
    """

    __slots__ = ("dropped", "freezes", "packets")

    def __init__(self) -> None:
        self.packets = 0
        self.dropped = 0
        self.freezes = 0

    def update(self, sock: socket.socket) -> None:
        """Read, and so zero, the kernel's counters. Source: packet(7)."""
        answer = sock.getsockopt(SOL_PACKET, PacketOption.STATISTICS, _TPACKET_STATS.size)
        packets, dropped, freezes = _TPACKET_STATS.unpack(answer.ljust(_TPACKET_STATS.size, b"\0"))
        self.packets += packets
        self.dropped += dropped
        self.freezes += freezes


class SocketDrops:
    """Datagrams that a socket had no room for, as of the last `update`."""

    __slots__ = ("_last", "dropped")

    def __init__(self) -> None:
        self.dropped = 0
        self._last = 0

    def update(self, sock: socket.socket) -> None:
        """Read the kernel's count. Often enough: the wrap is seen if under 2**32 are dropped."""
        now = _meminfo(sock)[SK_MEMINFO_DROPS]
        self.dropped += (now - self._last) % _WRAP
        self._last = now


class LinkDrops:
    """What an interface of the calling thread's namespace dropped on its way out, from here on.

    A tun device drops what its reader has no room for, and counts it there (drivers/net/tun.c).
    """

    __slots__ = ("_ifindex", "_last", "dropped")

    def __init__(self, ifindex: int) -> None:
        self.dropped = 0
        self._ifindex = ifindex
        self._last = transmit_drops(ifindex)

    def update(self) -> None:
        """Ask the kernel.

        Raises:
            OSError: ``ENODEV``: the interface was removed.
        """
        now = transmit_drops(self._ifindex)
        self.dropped += max(0, now - self._last)
        self._last = now


def queued_bytes(sock: socket.socket) -> int:
    """Kernel memory that waiting packets hold, with the kernel's overhead for each."""
    return _meminfo(sock)[0]  # SK_MEMINFO_RMEM_ALLOC, linux/sock_diag.h
