"""Packets in a pcapng file.

Source: draft-ietf-opsawg-pcapng, and its appendix A for the obsolete Packet Block.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from ..errors import WireError
from .block import BlockType, emit_block, unpack_head
from .options import (
    COMMENT,
    ByteOrder,
    Option,
    comment_options,
    emit_options,
    number_of,
    padding,
    parse_options,
    prefix_of,
    texts_of,
)

__all__ = ("EnhancedPacket", "SimplePacket")

_UNKNOWN_DROPS: Final = 0xFFFF


class _Code(IntEnum):
    """Numbers of options; they mean something else in each block."""

    PACKET_FLAGS = 2
    PACKET_DROPCOUNT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhancedPacket:
    """A packet of an interface; also the older Packet Block is read as one.

    Attributes:
        interface: Its number in the section.
        timestamp: In the interface's own units: see `nanoseconds`.
        data: The bytes that were kept.
        wire_len: How many there were.
        flags: Bits 0 and 1: 1 came in, 2 went out; bits 2 to 4: 1 to this host, 2 multicast, 3
            broadcast, 4 to another host; None: nothing is said.
        drop_count: Packets of the interface that were lost since the last one; None: not said.
        comments: Those of the packet.
        options: All others, as they are.
        unread: Bytes of options behind the first 256, or the first 64 KiB of them: no part of what
            is emitted.
    """

    interface: int = 0
    timestamp: int = 0
    data: bytes = b""
    wire_len: int = 0
    flags: int | None = None
    drop_count: int | None = None
    comments: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    unread: int = 0

    def emit(self, order: ByteOrder) -> bytes:
        """The block."""
        head = struct.pack(
            f"{prefix_of(order)}IIIII",
            self.interface,
            self.timestamp >> 32,
            self.timestamp & 0xFFFFFFFF,
            len(self.data),
            self.wire_len,
        )
        options = comment_options(self.comments)
        if self.flags is not None:
            options.append((_Code.PACKET_FLAGS, self.flags.to_bytes(4, order)))
        if self.drop_count is not None:
            options.append((_Code.PACKET_DROPCOUNT, self.drop_count.to_bytes(8, order)))
        tail = emit_options((*options, *self.options), order)
        body = head + self.data + padding(len(self.data)) + tail
        return emit_block(BlockType.ENHANCED_PACKET, body, order)

    @classmethod
    def parse(cls, body: bytes, order: ByteOrder) -> Self:
        """What follows type and length."""
        interface, high, low, length, wire_len = unpack_head(
            "IIIII", body, order, "enhanced packet"
        )
        return cls._with_data(body, order, interface, high << 32 | low, length, wire_len, None)

    @classmethod
    def parse_obsolete(cls, body: bytes, order: ByteOrder) -> Self:
        """The body of a Packet Block."""
        interface, drops, high, low, length, wire_len = unpack_head("HHIIII", body, order, "packet")
        dropped = None if drops == _UNKNOWN_DROPS else drops
        return cls._with_data(body, order, interface, high << 32 | low, length, wire_len, dropped)

    @classmethod
    def _with_data(
        cls,
        body: bytes,
        order: ByteOrder,
        interface: int,
        timestamp: int,
        length: int,
        wire_len: int,
        dropped: int | None,
    ) -> Self:
        if length > len(body) - 20:
            raise WireError(f"a packet of {length} bytes in a block of {len(body)}", offset=12)
        options, unread = parse_options(body, 20 + length + -length % 4, order)
        known = {COMMENT, _Code.PACKET_FLAGS, _Code.PACKET_DROPCOUNT}
        told = number_of(options, _Code.PACKET_DROPCOUNT, 8, order)
        return cls(
            interface=interface,
            timestamp=timestamp,
            data=body[20 : 20 + length],
            wire_len=wire_len,
            flags=number_of(options, _Code.PACKET_FLAGS, 4, order),
            drop_count=dropped if told is None else told,
            comments=texts_of(options, COMMENT),
            options=tuple(option for option in options if option[0] not in known),
            unread=unread,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimplePacket:
    """A packet of the section's first interface, without a timestamp.

    Its data may end with bytes that fill it up: the interface's snaplen says how many are its own.
    """

    wire_len: int
    data: bytes

    def emit(self, order: ByteOrder) -> bytes:
        """The block."""
        body = self.wire_len.to_bytes(4, order) + self.data + padding(len(self.data))
        return emit_block(BlockType.SIMPLE_PACKET, body, order)

    @classmethod
    def parse(cls, body: bytes, order: ByteOrder) -> Self:
        """What follows type and length."""
        (wire_len,) = unpack_head("I", body, order, "simple packet")
        return cls(wire_len=wire_len, data=body[4 : 4 + wire_len])
