"""Packet sockets with a ring: what is received lies in memory that the kernel shares.

Two rings, two ports: blocks, which wait for company, and frames, which do not.
"""

import os
import socket
import time
import warnings
from typing import Final

from .._system import options
from .._system._native import Batch, Reader, Receiver, Ring, settle
from .._system.ring import FrameGeometry, Geometry, unmake_ring
from ..bpf import Program
from ..packet import Packet
from ..readiness import Readiness
from ..spec import Instruction
from .modes import ReadMachine
from .packetwise import PacketwisePort
from .serve import TURN_SECONDS
from .spill import Spill

__all__ = ("FramePort", "RingPort", "cut_by_filter")

_RET_K: Final = 0x06  # BPF_RET | BPF_K: linux/filter.h
_WHOLE: Final = 65535
_AT_ONCE: Final = 64
_PATIENCE: Final = 1.0  # seconds
_MAPPED_ELSEWHERE: Final = (
    "a process that was forked from this one has the ring mapped, so the descriptor keeps it and "
    "recv(2) gets no packets: detach before the fork, or open the channel with ring=False"
)


def cut_by_filter(
    program: tuple[Instruction, ...] | None, snaplen: int
) -> tuple[Instruction, ...] | None:
    """A filter that keeps ``snaplen`` bytes of what the other one lets through.

    What a filter returns is how many bytes are kept. One that calculates it (BPF_RET | BPF_A)
    keeps what it does: the ring shows ``snaplen`` bytes of a packet, however long it is there.
    """
    if snaplen >= _WHOLE:
        return program
    if program is None:
        return ((_RET_K, 0, 0, snaplen),)
    return tuple(
        (code, jt, jf, min(k, snaplen)) if code == _RET_K else (code, jt, jf, k)
        for code, jt, jf, k in program
    )


class _MappedPort(PacketwisePort):
    """What both rings have in common. A ring has fields for what ancillary data would say."""

    _noun = "a ring"
    _no_flags = "open it with ring=False"

    def __init__(
        self, sock: socket.socket, ring: Ring | Receiver, *, size: int, snaplen: int
    ) -> None:
        super().__init__(sock)
        self._size = size
        self._snaplen = snaplen
        self._mapped = ring
        self.counters = ring
        self.receive = ring.receive
        self.dispatch = ring.dispatch

    def close(self) -> None:
        """Unmap the ring first: the kernel keeps a socket as long as it is mapped."""
        if self.sock.fileno() >= 0:
            self.dropped()
            self._mapped.close()
            self.sock.close()

    def take_waiting(self) -> list[Packet]:
        """What is in the ring, for that does not go with the descriptor."""
        if os.getpid() != self._pid:
            return []  # the ring is the parent's
        found = self._take_all()
        if self._wait_for_the_last():
            found += self._take_all()
        return found

    def _take_all(self) -> list[Packet]:
        found: list[Packet] = []
        most = self.counters.bytes + self._size  # in a flood it is never empty
        while self.counters.bytes < most:
            try:
                packets = self.receive(_AT_ONCE)
            except OSError:  # the link went down, which is told once
                continue
            if not packets:
                break
            found += packets
        return found

    def _wait_for_the_last(self) -> bool:
        """Whether there is more now than before."""
        return False

    def detach(self) -> int:
        """Without the ring."""
        self.dropped()
        self._mapped.close()
        try:
            if os.getpid() == self._pid and not unmake_ring(self.sock):
                warnings.warn(_MAPPED_ELSEWHERE, RuntimeWarning, stacklevel=3)
        except BaseException:  # also of the warning: nobody would have the descriptor
            self.sock.close()
            raise
        return self.sock.detach()

    def surrender(self) -> int:
        """With the ring, for that takes the kernel as long as to close it all."""
        self.dropped()
        self._mapped.close()
        return self.sock.detach()

    def replace_filter(self, program: Program | None) -> None:
        """Also what the ring holds is thrown away."""
        options.replace_filter(self.sock, self._cut(program), forget=self._mapped.forget)

    def try_filter(self, program: Program) -> None:
        """As it will be attached."""
        options.attach_filter(self.sock, self._cut(program) or ())

    def _cut(self, program: Program | None) -> tuple[Instruction, ...] | None:
        return cut_by_filter(None if program is None else tuple(program), self._snaplen)

    def begin_anew(self) -> None:
        """Throw away what has come until now. It waits as `options.drain` does."""
        settle()
        self._mapped.forget()

    def unmap(self) -> None:
        """Give up the ring, but not the socket."""
        self._mapped.close()

    def queued(self) -> int:
        """In the ring, with the kernel's headers."""
        return self._mapped.queued


class RingPort(_MappedPort):
    """A socket whose ring of blocks was made as ``geometry`` says, and which is not bound yet."""

    timed = True
    turn_ns = int(TURN_SECONDS * 1e9)

    def __init__(self, sock: socket.socket, geometry: Geometry, *, snaplen: int) -> None:
        self._ring = Ring(
            sock.fileno(),
            block_size=geometry.block_size,
            blocks=geometry.blocks,
            snaplen=snaplen,
        )
        self._geometry = geometry
        self._take = self._ring.take
        super().__init__(sock, self._ring, size=geometry.size, snaplen=snaplen)

    def _wait_for_the_last(self) -> bool:
        """A block that is not full is handed over after its time, on a busy machine later."""
        ends = time.monotonic() + _PATIENCE
        while self._ring.filling and not self._ring.look() and time.monotonic() < ends:
            time.sleep(self._geometry.retire_ms / 4000)
        return self._ring.look()

    def spill(self, machine: ReadMachine, readiness: Readiness, reader: Reader) -> Spill:
        """What empties it in time while nobody reads."""
        return Spill(self.fileno(), self._ring, self._geometry, machine, readiness, reader)

    def take(self, count: int | None) -> Batch | None:
        """What is left of one block, at most ``count`` packets."""
        return self._take(count)

    def dropped(self) -> int:
        """With what could not be read because a block was inconsistent: never seen so far."""
        return super().dropped() + self._ring.damaged

    def filling(self) -> int:
        """Packets that the kernel has not handed over yet."""
        return self._ring.filling

    def held(self) -> int:
        """Packets in blocks that the kernel does not have back yet."""
        return self._ring.held


class FramePort(_MappedPort):
    """As `RingPort`, with frames: each packet is there at once."""

    bare = True

    def __init__(self, sock: socket.socket, geometry: FrameGeometry, *, snaplen: int) -> None:
        ring = Receiver(
            sock.fileno(), size=snaplen, frame_size=geometry.frame_size, frames=geometry.frames
        )
        super().__init__(sock, ring, size=geometry.size, snaplen=snaplen)
