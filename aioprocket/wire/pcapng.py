"""Blocks of a pcapng file.

A file is one or more sections. A section begins with its header, which says in which byte order all
of it is written; interfaces are described before their packets, and are numbered from 0 in each
section anew.

``value.emit(order)`` gives a whole block, `parse_block` reads one. What raises, raises `WireError`
with the offset in what was given.

Source: draft-ietf-opsawg-pcapng, with the obsolete Packet Block of its appendix A.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self, TypeAlias

from ..errors import WireError
from .block import SMALLEST_BLOCK, BlockType, emit_block, unpack_head
from .interface_block import InterfaceDescription, InterfaceStatistics, nanoseconds
from .options import (
    COMMENT,
    ByteOrder,
    comment_options,
    emit_options,
    padding,
    parse_options,
    prefix_of,
    text_of,
    text_options,
    texts_of,
)
from .packet_block import EnhancedPacket, SimplePacket

__all__ = (
    "MAX_BLOCK",
    "Block",
    "BlockType",
    "ByteOrder",
    "EnhancedPacket",
    "InterfaceDescription",
    "InterfaceStatistics",
    "OtherBlock",
    "SectionHeader",
    "SimplePacket",
    "block_size",
    "nanoseconds",
    "parse_block",
    "section_order",
)

# A longer one is taken for damage: nobody writes them, and a length may be forged. 16 MiB, as
# Wireshark has it.
MAX_BLOCK: Final = 0x1000000
_ORDER_MAGIC: Final = 0x1A2B3C4D
_UNKNOWN_LENGTH: Final = (1 << 64) - 1


class _Code(IntEnum):
    """Numbers of options; they mean something else in each block."""

    SHB_HARDWARE = 2
    SHB_OS = 3
    SHB_APPLICATION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionHeader:
    """The beginning of a section: the byte order of all of it, and who wrote it.

    ``unread`` is as in `InterfaceDescription`.
    """

    order: ByteOrder = "little"
    length: int | None = None
    hardware: str = ""
    os: str = ""
    application: str = ""
    comments: tuple[str, ...] = ()
    unread: int = 0

    def emit(self, order: ByteOrder | None = None) -> bytes:
        """The block, in the section's own byte order."""
        order = order or self.order
        length = _UNKNOWN_LENGTH if self.length is None else self.length
        body = struct.pack(f"{prefix_of(order)}IHHQ", _ORDER_MAGIC, 1, 0, length)
        texts = (
            (_Code.SHB_HARDWARE, self.hardware),
            (_Code.SHB_OS, self.os),
            (_Code.SHB_APPLICATION, self.application),
        )
        options = emit_options(comment_options(self.comments) + text_options(*texts), order)
        return emit_block(BlockType.SECTION_HEADER, body + options, order)

    @classmethod
    def parse(cls, body: bytes, order: ByteOrder) -> Self:
        """What follows type and length."""
        _, major, minor, length = unpack_head("IHHQ", body, order, "section header")
        if (major, minor) not in ((1, 0), (1, 2)):
            raise WireError(f"pcapng version {major}.{minor}, not 1.0", offset=4)
        options, unread = parse_options(body, 16, order)
        return cls(
            order=order,
            length=None if length == _UNKNOWN_LENGTH else length,
            hardware=text_of(options, _Code.SHB_HARDWARE),
            os=text_of(options, _Code.SHB_OS),
            application=text_of(options, _Code.SHB_APPLICATION),
            comments=texts_of(options, COMMENT),
            unread=unread,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherBlock:
    """A block that is not understood here: names of hosts, secrets, what programs add."""

    type: int
    body: bytes

    def emit(self, order: ByteOrder) -> bytes:
        """The block."""
        return emit_block(self.type, self.body + padding(len(self.body)), order)


Block: TypeAlias = (
    SectionHeader
    | InterfaceDescription
    | EnhancedPacket
    | SimplePacket
    | InterfaceStatistics
    | OtherBlock
)

_PARSERS: Final[dict[int, Callable[[bytes, ByteOrder], Block]]] = {
    BlockType.SECTION_HEADER: SectionHeader.parse,
    BlockType.INTERFACE_DESCRIPTION: InterfaceDescription.parse,
    BlockType.PACKET: EnhancedPacket.parse_obsolete,
    BlockType.SIMPLE_PACKET: SimplePacket.parse,
    BlockType.INTERFACE_STATISTICS: InterfaceStatistics.parse,
    BlockType.ENHANCED_PACKET: EnhancedPacket.parse,
}


def section_order(data: bytes | bytearray, at: int = 0) -> ByteOrder | None:
    """The byte order of the section that begins at ``at``; None before its 12th byte is there.

    Raises:
        WireError: No section begins there.
    """
    if len(data) < at + 12:
        return None
    magic = data[at + 8 : at + 12]
    if magic == _ORDER_MAGIC.to_bytes(4, "little"):
        return "little"
    if magic == _ORDER_MAGIC.to_bytes(4, "big"):
        return "big"
    raise WireError(f"a section whose byte order is {magic.hex()}", offset=at + 8)


def block_size(data: bytes | bytearray, at: int, order: ByteOrder) -> int | None:
    """How many bytes the block at ``at`` takes; None before its length is there.

    Raises:
        WireError: No block can have such a length.
    """
    if len(data) < at + 8:
        return None
    size = int.from_bytes(data[at + 4 : at + 8], order)
    if size % 4 or not SMALLEST_BLOCK <= size <= MAX_BLOCK:
        raise WireError(f"a block of {size} bytes", offset=at + 4)
    return size


def parse_block(data: bytes | bytearray, at: int, order: ByteOrder) -> tuple[Block, int] | None:
    """The block at ``at`` and where the next one is; None before all of it is there.

    Raises:
        WireError: It contradicts itself.
    """
    size = block_size(data, at, order)
    if size is None or len(data) < at + size:
        return None
    kind = int.from_bytes(data[at : at + 4], order)
    again = int.from_bytes(data[at + size - 4 : at + size], order)
    if again != size:
        raise WireError(
            f"a block of {size} bytes that ends as one of {again}", offset=at + size - 4
        )
    body = bytes(data[at + 8 : at + size - 4])
    parse = _PARSERS.get(kind)
    if parse is None:
        return OtherBlock(type=kind, body=body), at + size
    try:
        return parse(body, order), at + size
    except WireError as error:
        raise WireError(str(error), offset=at + 8 + error.offset, hint=error.hint) from None
