"""The memory-mapped ring of a packet socket (TPACKET_V3), and fanout groups.

A ring is blocks of one size that the kernel fills one after the other. It hands a block over when
it is full, or when a packet has waited in it for the retire time. A block that was handed over with
one packet in it is as much out of the kernel's hands as a full one: so how long a reader may stand
still is the number of blocks times the retire time, however little comes.

Source: packet(7), Documentation/networking/packet_mmap.rst.
"""

import ctypes
import mmap
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..spec import Fanout, Instruction, Latency
from .numbers import SOL_PACKET, TPACKET_V3, FanoutFlag, FanoutMode, PacketOption

__all__ = ("Geometry", "fanout_group", "join_fanout", "make_ring", "ring_geometry", "unmake_ring")

_REQUEST: Final = struct.Struct("@7I")  # struct tpacket_req3, linux/if_packet.h
_PROGRAM: Final = struct.Struct("@HP")  # struct sock_fprog, linux/filter.h
_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter, linux/filter.h

# Of a block that are no bytes of packets: struct tpacket_block_desc, and of a packet: struct
# tpacket3_hdr, the sender, and room for a link header and alignment.
_OVERHEAD: Final = 256
_LARGEST_BLOCK: Final = 2 << 20
# Any that divides all block sizes: a packet of TPACKET_V3 takes what it needs, and no frame.
_FRAME: Final = 2048


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
    "throughput": (32 << 20, 32, 10),
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

    Raises:
        OSError: ``ENOMEM``: the kernel has no memory for it.
    """
    sock.setsockopt(SOL_PACKET, PacketOption.VERSION, TPACKET_V3)
    frames = geometry.block_size // _FRAME * geometry.blocks
    request = _REQUEST.pack(
        geometry.block_size, geometry.blocks, _FRAME, frames, geometry.retire_ms, 0, 0
    )
    sock.setsockopt(SOL_PACKET, PacketOption.RX_RING, request)


def unmake_ring(sock: socket.socket) -> None:
    """Make it a socket that is read by recv(2) again, when nothing maps the ring any more."""
    sock.setsockopt(SOL_PACKET, PacketOption.RX_RING, bytes(_REQUEST.size))


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
    sock.setsockopt(SOL_PACKET, PacketOption.FANOUT, (fanout.group or 0) | kind << 16)
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
