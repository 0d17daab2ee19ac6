"""What all blocks of a pcapng file have: their type, and their length at both ends.

Source: draft-ietf-opsawg-pcapng
"""

import struct
from enum import IntEnum
from typing import Final

from ..errors import WireError
from .options import ByteOrder, prefix_of

__all__ = ("SMALLEST_BLOCK", "BlockType", "emit_block", "unpack_head")

SMALLEST_BLOCK: Final = 12  # type, length, and the length again


class BlockType(IntEnum):
    """The blocks that are understood here."""

    SECTION_HEADER = 0x0A0D0D0A  # the same in both byte orders
    INTERFACE_DESCRIPTION = 1
    PACKET = 2  # obsolete
    SIMPLE_PACKET = 3
    NAME_RESOLUTION = 4
    INTERFACE_STATISTICS = 5
    ENHANCED_PACKET = 6


def emit_block(kind: int, body: bytes, order: ByteOrder) -> bytes:
    """The whole block; ``body`` is filled up to 32 bits."""
    size = (len(body) + SMALLEST_BLOCK).to_bytes(4, order)
    return kind.to_bytes(4, order) + size + body + size


def unpack_head(layout: str, body: bytes, order: ByteOrder, what: str) -> tuple[int, ...]:
    """The numbers that a block's body begins with."""
    head = struct.Struct(prefix_of(order) + layout)
    if len(body) < head.size:
        raise WireError(f"{what} of {len(body)} bytes, not {head.size}", offset=len(body))
    return head.unpack_from(body)
