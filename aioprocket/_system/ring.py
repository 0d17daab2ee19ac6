"""The memory-mapped rings of a packet socket (TPACKET_V3, TPACKET_V2), and fanout groups.

A ring of version 3 is blocks of one size that the kernel fills one after the other. It hands a
block over when it is full, or when a packet has waited in it for the retire time. A block that was
handed over with one packet in it is as much out of the kernel's hands as a full one: so how long a
reader may stand still is the number of blocks times the retire time, however little comes, unless
somebody empties blocks meanwhile (`channels.spill`).

A ring of version 2 is frames, one for each packet, which is seen there at once. A packet that is
larger is shown by its beginning, and is in the socket's own queue as well if that has room.

Source: packet(7), Documentation/networking/packet_mmap.rst.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..spec import Fanout, Instruction, Latency
from .numbers import SOL_PACKET, TPACKET_V2, TPACKET_V3, FanoutFlag, FanoutMode, PacketOption

__all__ = (
    "FrameGeometry",
    "Geometry",
    "fanout_group",
    "frame_geometry",
    "join_fanout",
    "make_frames",
    "make_ring",
    "ring_geometry",
    "unmake_ring",
)

_libc = ctypes.CDLL(None, use_errno=True)

_NUMBER: Final = struct.Struct("@I")
_REQUEST: Final = struct.Struct("@7I")  # struct tpacket_req3, linux/if_packet.h
_PROGRAM: Final = struct.Struct("@HP")  # struct sock_fprog, linux/filter.h
_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter, linux/filter.h

# Of a block that are no bytes of packets: struct tpacket_block_desc, and of a packet: struct
# tpacket3_hdr, the sender, and room for a link header and alignment.
_OVERHEAD: Final = 256
_LARGEST_BLOCK: Final = 4 << 20
# Any that divides all block sizes: a packet of TPACKET_V3 takes what it needs, and no frame.
_FRAME: Final = 2048

_FRAMES_REQUEST: Final = struct.Struct("@4I")  # struct tpacket_req, linux/if_packet.h
_FRAMES_SIZE: Final = 2 << 20  # bytes that are asked for if nobody says how many
# Memory that the kernel finds in one piece without trouble, and every size of a frame divides it.
_FRAMES_BLOCK: Final = 32 << 10
_SMALLEST_FRAME: Final = 256
_LARGEST_FRAME: Final = 2048  # room for 1,982 bytes: a full Ethernet frame


_LONGEST_BEAT: Final = 10_000_000  # nanoseconds, for which an opening may wait


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a ring is divided. Sizes in bytes; ``retire_ms``: the longest wait for a full block."""

    block_size: int
    blocks: int
    retire_ms: int

    @property
    def size(self) -> int:
        """All of it, in bytes of memory that cannot be swapped."""
        return self.block_size * self.blocks


# Bytes that are asked for if nobody says how many, blocks to divide them into, milliseconds.
_PLANS: Final[dict[Latency, tuple[int, int, int]]] = {
    "balanced": (8 << 20, 64, 1),
    "throughput": (32 << 20, 8, 50),
}


def ring_geometry(latency: Latency, snaplen: int, size: int | None) -> Geometry:
    """The ring for a latency, with ``size`` bytes of memory or a little more.

    A block has room for the largest packet, so ``size`` divided by ``snaplen`` bounds how many
    there are; there are two at least.
    """
    wanted, blocks, retire_ms = _PLANS[latency]
    size = wanted if size is None else size
    page = mmap.PAGESIZE
    smallest = -(-(snaplen + _OVERHEAD) // page) * page
    block = min(_LARGEST_BLOCK, size // blocks // page * page)
    block = max(smallest, block)
    return Geometry(block, max(2, size // block), retire_ms)


def make_ring(sock: socket.socket, geometry: Geometry) -> None:
    """Give the socket a ring. What is queued is lost, so it comes before a bind.

    It is begun at a whole hundredth of a second, or a whole retire time if that is less, for which
    the thread waits: from there on its timer is periodic (Linux 6.18), and those of many rings run
    out at few moments, so that one wakeup serves several. Older kernels' timers go by whole ticks
    of their clock.

    Raises:
        OSError: ``ENOMEM``: the kernel has no memory for it.
    """
    sock.setsockopt(SOL_PACKET, PacketOption.VERSION, TPACKET_V3)
    frames = geometry.block_size // _FRAME * geometry.blocks
    request = _REQUEST.pack(
        geometry.block_size, geometry.blocks, _FRAME, frames, geometry.retire_ms, 0, 0
    )
    _await_beat(geometry)
    _set(sock, PacketOption.RX_RING, request)


def _await_beat(geometry: Geometry) -> None:
    beat = min(_LONGEST_BEAT, geometry.retire_ms * 1_000_000)
    time.sleep((beat - time.monotonic_ns() % beat) / 1e9)


def _set(sock: socket.socket, option: PacketOption, value: bytes) -> None:
    """setsockopt(2) for what takes the kernel milliseconds: other threads go on meanwhile.

    The socket module keeps the interpreter's lock.
    """
    if _libc.setsockopt(sock.fileno(), SOL_PACKET, int(option), value, len(value)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """A ring of version 2: ``frames`` of ``frame_size`` bytes each."""

    frame_size: int
    frames: int

    @property
    def size(self) -> int:
        """All of it, in bytes of memory that cannot be swapped."""
        return self.frame_size * self.frames


def frame_geometry(snaplen: int, size: int | None) -> FrameGeometry:
    """Frames for ``snaplen`` bytes or a full Ethernet frame; ``size`` bytes or a few less."""
    frame = _SMALLEST_FRAME
    while frame < min(snaplen + _OVERHEAD // 2, _LARGEST_FRAME):
        frame *= 2
    blocks = max(1, (_FRAMES_SIZE if size is None else size) // _FRAMES_BLOCK)
    return FrameGeometry(frame, blocks * (_FRAMES_BLOCK // frame))


def make_frames(sock: socket.socket, geometry: FrameGeometry) -> None:
    """As `make_ring`, of version 2."""
    sock.setsockopt(SOL_PACKET, PacketOption.VERSION, TPACKET_V2)
    # Whether, and not from which size on: tpacket_rcv in net/packet/af_packet.c.
    sock.setsockopt(SOL_PACKET, PacketOption.COPY_THRESH, 1)
    request = _FRAMES_REQUEST.pack(
        _FRAMES_BLOCK, geometry.size // _FRAMES_BLOCK, geometry.frame_size, geometry.frames
    )
    _set(sock, PacketOption.RX_RING, request)


def unmake_ring(sock: socket.socket) -> bool:
    """Make it a socket that is read by recv(2) again, when nothing maps the ring any more.

    Returns:
        False: another process has it mapped, and it stays.
    """
    try:
        _set(sock, PacketOption.RX_RING, bytes(_REQUEST.size))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def join_fanout(sock: socket.socket, fanout: Fanout) -> None:
    """Share the packets of a bound socket with the others of its group.

    Raises:
        OSError: ``EINVAL``: the group has another mode, or is of another interface, protocol or
            type; ``EALREADY``: it is in a group.
    """
    kind = FanoutMode[fanout.mode.upper()].value
    if fanout.defrag:
        kind |= FanoutFlag.DEFRAG
    if fanout.rollover:
        kind |= FanoutFlag.ROLLOVER
    if fanout.group is None:
        kind |= FanoutFlag.UNIQUEID
    _set(sock, PacketOption.FANOUT, _NUMBER.pack((fanout.group or 0) | kind << 16))
    if fanout.program is not None:
        _set_program(sock, fanout.program)


def _set_program(sock: socket.socket, program: Sequence[Instruction]) -> None:
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    memory = ctypes.create_string_buffer(code, len(code))
    fprog = _PROGRAM.pack(len(program), ctypes.addressof(memory))
    sock.setsockopt(SOL_PACKET, PacketOption.FANOUT_DATA, fprog)


def fanout_group(sock: socket.socket) -> int:
    """The number of the group that the socket is in, for others to join."""
    return sock.getsockopt(SOL_PACKET, PacketOption.FANOUT) & 0xFFFF
