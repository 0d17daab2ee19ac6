"""What goes into the chunks of a spool: packets, and what a file needs around them."""

import time
from collections.abc import Sequence
from dataclasses import replace

from .._system._native import capture_write
from ..errors import SpecError
from ..packet import Batch, Packet
from ..wire.pcapng import EnhancedPacket, parse_block
from .interface import ETHERNET, Interface, Recorded
from .layout import COOKED, Layout
from .rotation import Rotation
from .spool import Chunk, Spool

__all__ = ("SLACK", "Recording", "items_of")

SLACK = 4096  # bytes for what a block has beside the packet


def items_of(packets: Packet | Batch | Sequence[Packet]) -> Batch | list[Packet]:
    """As `capture_write` takes them."""
    if isinstance(packets, Packet):
        return [packets]
    if isinstance(packets, bytes | bytearray | memoryview):
        raise TypeError(
            "what is written are packets, not bytes: aioprocket.Packet(data) makes one of them"
        )
    return packets if isinstance(packets, (Batch, list)) else list(packets)


class Recording:
    """One file after the other. All is called with the spool's lock held."""

    def __init__(
        self,
        path: str,
        layout: Layout,
        spool: Spool,
        rotation: Rotation | None,
        snaplen: int,
        interval: float,
    ) -> None:
        self._path = path
        self._layout = layout
        self._bits = layout.bits
        self._spool = spool
        self._rotation = rotation
        self._snaplen = snaplen
        self._interval = interval
        self.interfaces: list[Recorded] = []
        self.packets = 0
        self.files = 0
        self._start_ns = 0
        self._statistics_due = 0.0
        # Of the present file.
        self._begun = False
        self._bytes = 0
        self._in_file = 0
        self._ends = 0.0

    def start(self) -> None:
        """The first file is open."""
        self._start_ns = time.time_ns()
        self._statistics_due = time.monotonic() + self._interval

    def next_path(self) -> str:
        """What the next file is called."""
        self.files += 1
        if self._rotation is None:
            return self._path
        return self._rotation.name(self._path, self.files, time.time())

    def add(self, recorded: Recorded) -> None:
        """Describe one more interface, the next by number."""
        linktype = recorded.interface.linktype
        first = (self.interfaces or [recorded])[0].interface.linktype
        if not self._layout.pcapng and linktype != first:
            raise SpecError(
                f"a pcap file has one link type, {first}, and not {linktype} as well",
                hint="write pcapng",
            )
        self.interfaces.append(recorded)
        if self._begun and self._layout.pcapng:
            self._put(recorded.interface.emit(self._layout.order))

    def interface(self, number: int | None) -> Recorded:
        """The interface with this number; None: the first."""
        if not self.interfaces and not number:
            self.add(Recorded(Interface(linktype=ETHERNET, snaplen=self._snaplen), 0))
        if number is None:
            return self.interfaces[0]
        if not 0 <= number < len(self.interfaces):
            raise SpecError(f"there is no interface {number}: {len(self.interfaces)} were added")
        return self.interfaces[number]

    def take(self, items: Batch | list[Packet], done: int, recorded: Recorded, comment: str) -> int:
        """Put packets from ``done`` on into chunks; how far that went, for want of room."""
        block = self._commented(items, recorded, comment) if comment else b""
        while done < len(items) and self._spool.error is None:
            self._make_ready()
            chunk = self._spool.chunk()
            if chunk is None:
                break
            before = done
            done += (
                self._fill_block(chunk, block, recorded)
                if block
                else self._fill(chunk, items, done, recorded)
            )
            if done == before and self._begun:
                self._spool.seal()
        self._spool.wake()
        return done

    def finish(self) -> None:
        """The last file ends."""
        if not self._begun:
            self.interface(None)
            self._begin(None)
        self._put_statistics()

    def _make_ready(self) -> None:
        """A file has begun that takes at least one packet."""
        if not self._begun:
            self._begin(None)
        now = time.monotonic()
        if self._rotation is not None and self._in_file and self._is_full(now):
            self._turn()
        elif now >= self._statistics_due:
            self._put_statistics()
            self._statistics_due = now + self._interval

    def _is_full(self, now: float) -> bool:
        rotation = self._rotation
        assert rotation is not None
        return (
            (rotation.size is not None and self._bytes >= rotation.size)
            or (rotation.packets is not None and self._in_file >= rotation.packets)
            or (rotation.seconds is not None and now >= self._ends)
        )

    def _turn(self) -> None:
        self._put_statistics()
        self._begin(self.next_path())

    def _begin(self, path: str | None) -> None:
        self._begun = True
        self._bytes = self._in_file = 0
        if self._rotation is not None and self._rotation.seconds is not None:
            self._ends = time.monotonic() + self._rotation.seconds
        beginning = self._layout.beginning([each.interface for each in self.interfaces])
        if path is None:
            self._put(beginning)
        else:
            self._bytes = len(beginning)
            self._spool.open(path, beginning)

    def _put(self, data: bytes) -> None:
        self._bytes += len(data)
        self._spool.put(data)

    def _put_statistics(self) -> None:
        if not self._layout.pcapng:
            return
        now = time.time_ns()
        for recorded in self.interfaces:
            self._put(recorded.statistics(now, self._start_ns).emit(self._layout.order))

    def _fill(
        self, chunk: Chunk, items: Batch | list[Packet], done: int, recorded: Recorded
    ) -> int:
        """How many packets went into a chunk; 0: it, or the file, is full."""
        stop, end = len(items), len(chunk.room)
        if self._rotation is not None:
            if self._rotation.packets is not None:
                stop = min(stop, done + self._rotation.packets - self._in_file)
            if self._rotation.size is not None:
                end = min(end, chunk.at + self._rotation.size - self._bytes)
        at, reached = self._write(chunk, end, items, done, stop, recorded)
        if reached == done and end < len(chunk.room):
            if self._in_file:
                self._turn()
                return 0
            # A file of its own for a packet that is larger than a file may be.
            at, reached = self._write(chunk, len(chunk.room), items, done, done + 1, recorded)
        self._count(chunk, recorded, reached - done, at - chunk.at)
        return reached - done

    def _write(
        self,
        chunk: Chunk,
        end: int,
        items: Batch | list[Packet],
        start: int,
        stop: int,
        recorded: Recorded,
    ) -> tuple[int, int]:
        return capture_write(
            chunk.room,
            chunk.at,
            max(end, chunk.at),
            items,
            start,
            stop,
            self._bits | COOKED if recorded.cooked else self._bits,
            recorded.number,
            recorded.snaplen,
            recorded.tag_at,
            recorded.unsaid,
        )

    def _count(self, chunk: Chunk, recorded: Recorded, packets: int, size: int) -> None:
        if not packets:
            return
        chunk.at += size
        chunk.packets += packets
        recorded.delivered += packets
        recorded.unsaid = 0
        self.packets += packets
        self._bytes += size
        self._in_file += packets

    def _commented(self, items: Batch | list[Packet], recorded: Recorded, comment: str) -> bytes:
        if not self._layout.pcapng or len(items) != 1:
            raise SpecError(
                "a comment is on a single packet, in a pcapng file", hint="write them one by one"
            )
        alone = Chunk(recorded.snaplen + SLACK)
        end, _ = self._write(alone, len(alone.room), items, 0, 1, recorded)
        parsed = parse_block(alone.room[:end], 0, self._layout.order)
        assert parsed is not None
        assert isinstance(parsed[0], EnhancedPacket)
        return replace(parsed[0], comments=(comment,)).emit(self._layout.order)

    def _fill_block(self, chunk: Chunk, block: bytes, recorded: Recorded) -> int:
        if not chunk.at and len(block) > len(chunk.room):
            raise SpecError(f"a packet and its comment, {len(block)} bytes: the queue is smaller")
        if not chunk.put(block):
            return 0
        chunk.at -= len(block)
        self._count(chunk, recorded, 1, len(block))
        return 1
