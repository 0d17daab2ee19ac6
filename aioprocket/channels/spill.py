"""Spilling: what a sparse ring holds goes to memory while nobody reads it.

The kernel hands a block over when its time is over, however little is in it, and stands still when
it has handed over all. So who stays away for as long as that takes, 64 ms as a rule, would lose
packets with the ring's memory nearly empty. While the event loop lives, somebody else can empty
such blocks in time: into the backlog, from where whoever reads next gets its packets first. A
dense ring is left alone, for there the ring is the buffer; and no more is kept than it would hold.

Nothing is done for each packet, nor while a task waits or a transport is subscribed, which is most
of the time: `Readiness` says when the loop called and nobody waited. From then on a timer looks a
few times in the time that fills the ring, until somebody waits again, or nothing is left; then the
next packet starts it anew. On trio a system task does both. A channel that is carried into another
loop is seen to there as soon as it is used: entered, iterated over, polled, waited for, or given to
a transport. A receive that finds its packet at once asks nobody which loop it is in.
"""

import asyncio
import math
import os
import select
import sys
import time
from collections import deque
from contextlib import suppress
from types import ModuleType
from typing import Any, Final

from .._system._native import Reader, Ring
from .._system.ring import Geometry
from ..packet import Packet
from ..readiness import Readiness
from .modes import ReadMachine
from .serve import TURN_SECONDS

__all__ = ("Reserve", "Spill")

_PART: Final = 4  # of the ring's blocks: so many looks, and the first of them that spills
_SPARSE: Final = 4  # bytes of memory in a block for each that is used, or more
_CHUNK: Final = 64  # packets: more in one list outgrow the allocator's reserve
# Bytes that a packet takes beside its data: itself, its bytes object's head, its place.
_OVERHEAD: Final = Packet.__basicsize__ + bytes.__basicsize__ + 8
_LATER: Final = math.inf  # when something comes


class Reserve:
    """What may be spilled, and what of it is left. Pure; sizes in bytes.

    Attributes:
        held: What the spilled packets take that were not delivered yet: never too little, and too
            much by less than one call of `add`.
    """

    __slots__ = ("_blocks", "_chunks", "_packets", "_size", "held")

    def __init__(self, blocks: int, block_size: int) -> None:
        self._blocks = blocks
        self._size = blocks * block_size
        self._chunks: deque[tuple[int, int]] = deque()  # packets, bytes; oldest first
        self._packets = 0  # in the chunks
        self.held = 0

    def add(self, packets: int, data: int) -> None:
        """So many packets were spilled, behind all others, with so much data."""
        taken = data + packets * _OVERHEAD
        self._chunks.append((packets, taken))
        self._packets += packets
        self.held += taken

    def leave(self, packets: int) -> None:
        """So many packets are left, the oldest gone first."""
        while self._chunks and self._packets - self._chunks[0][0] >= packets:
            gone, taken = self._chunks.popleft()
            self._packets -= gone
            self.held -= taken

    def has_room(self) -> bool:
        """Whether there may be more."""
        return self.held < self._size

    def wants(self, blocks: int, used: int) -> bool:
        """Whether to spill ``blocks`` that the kernel has handed over, ``used`` bytes in them."""
        size = self._size // self._blocks
        return (
            blocks > 0
            and blocks * _PART >= self._blocks
            and used * _SPARSE <= blocks * size
            and self.has_room()
        )


def _running() -> object:
    """The event loop of asyncio's that runs here, or what stands for trio's; None: none."""
    loop = asyncio._get_running_loop()
    trio = sys.modules.get("trio")
    if loop is None and trio is not None:
        with suppress(RuntimeError):
            return trio.lowlevel.current_trio_token()
    return loop


class Spill:
    """Sees to one ring for which nobody waits. It is no task, and keeps no channel alive."""

    def __init__(
        self,
        fd: int,
        ring: Ring,
        geometry: Geometry,
        machine: ReadMachine,
        readiness: Readiness,
        reader: Reader,
    ) -> None:
        self._fd = fd
        self._ring = ring
        self._machine = machine
        self._readiness = readiness
        self._reader = reader
        self._reserve = Reserve(geometry.blocks, geometry.block_size)
        self._seconds = geometry.blocks * geometry.retire_ms / 1000 / _PART
        self._pid = os.getpid()
        self._closed = False
        self._here: object = None  # where it was started last
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._scope: Any = None  # of trio's task: trio.CancelScope
        readiness.tell_unattended(self._begin)

    def start(self) -> None:
        """It is used in the event loop that runs, if one does, where nobody may read it yet."""
        here = _running()
        if here is self._here or here is None or self._closed or self._readiness.attended:
            return
        self._here = here
        if isinstance(here, asyncio.AbstractEventLoop):
            self._readiness.watch()
        else:
            self._begin()

    def close(self) -> None:
        """Do nothing more. Idempotent."""
        self._closed = True
        self._readiness.tell_unattended(None)
        timer, self._timer = self._timer, None
        scope, self._scope = self._scope, None
        if os.getpid() != self._pid:
            return  # the loop is the parent's
        if timer is not None:
            timer.cancel()
        if scope is not None:
            scope.cancel()

    def _begin(self) -> None:
        """Something may be there, and nobody waits for it."""
        if self._closed or os.getpid() != self._pid:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._begin_on_trio()
            return
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(self._seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        delay = self._step()
        if delay == _LATER:
            self._readiness.watch()
        elif delay is not None and self._loop is not None:
            self._timer = self._loop.call_later(delay, self._on_time)

    def _begin_on_trio(self) -> None:
        trio = sys.modules.get("trio")
        if trio is not None and self._scope is None:
            with suppress(RuntimeError):  # nor does trio run here
                trio.lowlevel.spawn_system_task(self._watch_on_trio, trio, trio.CancelScope())

    async def _watch_on_trio(self, trio: ModuleType, scope: Any) -> None:
        if self._closed or self._scope is not None:
            return
        self._scope = scope
        delay: float | None = self._seconds
        try:
            with scope, select.epoll() as epoll:
                epoll.register(self._fd, select.EPOLLIN)
                while delay is not None:
                    if delay == _LATER:
                        await trio.lowlevel.wait_readable(epoll.fileno())
                        delay = self._seconds
                    await trio.sleep(delay)
                    delay = self._step()
        finally:
            self._scope = None

    def _step(self) -> float | None:
        """Look, and spill: in how many seconds to look again; None: somebody waits."""
        if self._closed or os.getpid() != self._pid or self._readiness.attended:
            return None
        if self._reader.reading:
            return self._seconds  # others have their turn, and it may take its packet and go
        try:
            return self._see()
        except (OSError, MemoryError):
            return self._seconds  # no memory, or an error that is for who reads

    def _see(self) -> float:
        reserve = self._reserve
        reserve.leave(len(self._machine.backlog))
        blocks, used = self._ring.waiting
        if blocks == 0:
            # With an error that nobody takes, the loop would be called again and again.
            idle = not self._ring.look() and not self._readiness.events()
            return _LATER if idle else self._seconds
        if reserve.wants(blocks, used) and not self._empty():
            return 0
        return self._seconds

    def _empty(self) -> bool:
        """Spill all that waits; False: time was over before that, and others have their turn."""
        ring, reserve = self._ring, self._reserve
        ends = time.monotonic() + TURN_SECONDS
        while reserve.has_room() and ring.look():
            before = ring.bytes
            packets = ring.receive(_CHUNK)
            self._machine.backlog.extend(packets)
            reserve.add(len(packets), ring.bytes - before)
            if time.monotonic() > ends:
                return False
        return True
