"""Interfaces in a pcapng file, and what they have seen.

Source: draft-ietf-opsawg-pcapng
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from .block import BlockType, emit_block, unpack_head
from .options import (
    COMMENT,
    ByteOrder,
    comment_options,
    emit_options,
    number_of,
    parse_options,
    prefix_of,
    text_of,
    text_options,
    texts_of,
)

__all__ = ("InterfaceDescription", "InterfaceStatistics", "nanoseconds")

_MICROSECONDS: Final = 6
_NANOSECONDS: Final = 9


class _Code(IntEnum):
    """Numbers of options; they mean something else in each block."""

    IF_NAME = 2
    IF_DESCRIPTION = 3
    IF_MAC = 6
    IF_SPEED = 8
    IF_TSRESOL = 9
    IF_FILTER = 11
    IF_OS = 12
    IF_FCSLEN = 13
    IF_TSOFFSET = 14
    IF_HARDWARE = 15
    ISB_START = 2
    ISB_END = 3
    ISB_RECEIVED = 4
    ISB_DROPPED = 5
    ISB_ACCEPTED = 6
    ISB_OS_DROPPED = 7
    ISB_DELIVERED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceDescription:
    """Where packets come from.

    Attributes:
        linktype: What a packet starts with: a LINKTYPE_… number.
        snaplen: Bytes of a packet at most; 0: no limit.
        name: As the system calls it.
        description: For people.
        filter: What was captured, as an expression.
        os: Of the machine that has the interface.
        hardware: What kind of device it is.
        hwaddr: Six bytes, or none.
        speed: Bits/s; None: not known.
        resolution: Of timestamps: 9 is nanoseconds, 6 microseconds; with the bit 0x80 a power of
            two instead of ten.
        offset: Seconds to be added to each timestamp.
        fcslen: Bytes of frame check sequence at the end of each packet; None: not known.
        comments: Any others.
        unread: Bytes of options behind the first 256, or the first 64 KiB of them: no part of what
            is emitted.
    """

    linktype: int = 1
    snaplen: int = 0
    name: str = ""
    description: str = ""
    filter: str = ""
    os: str = ""
    hardware: str = ""
    hwaddr: bytes = b""
    speed: int | None = None
    resolution: int = _NANOSECONDS
    offset: int = 0
    fcslen: int | None = None
    comments: tuple[str, ...] = ()
    unread: int = 0

    def emit(self, order: ByteOrder) -> bytes:
        """The block."""
        body = struct.pack(f"{prefix_of(order)}HHI", self.linktype, 0, self.snaplen)
        options = comment_options(self.comments) + text_options(
            (_Code.IF_NAME, self.name), (_Code.IF_DESCRIPTION, self.description)
        )
        if self.hwaddr:
            options.append((_Code.IF_MAC, self.hwaddr))
        if self.speed is not None:
            options.append((_Code.IF_SPEED, self.speed.to_bytes(8, order)))
        if self.resolution != _MICROSECONDS:
            options.append((_Code.IF_TSRESOL, bytes([self.resolution])))
        if self.filter:  # byte 0: it is an expression
            options.append((_Code.IF_FILTER, b"\0" + self.filter.encode()))
        options += text_options((_Code.IF_OS, self.os), (_Code.IF_HARDWARE, self.hardware))
        if self.fcslen is not None:
            options.append((_Code.IF_FCSLEN, bytes([self.fcslen])))
        if self.offset:
            options.append((_Code.IF_TSOFFSET, self.offset.to_bytes(8, order, signed=True)))
        return emit_block(
            BlockType.INTERFACE_DESCRIPTION, body + emit_options(options, order), order
        )

    @classmethod
    def parse(cls, body: bytes, order: ByteOrder) -> Self:
        """What follows type and length."""
        linktype, _, snaplen = unpack_head("HHI", body, order, "interface description")
        options, unread = parse_options(body, 8, order)
        expressions = [
            value[1:] for code, value in options if code == _Code.IF_FILTER and value[:1] == b"\0"
        ]
        resolution = number_of(options, _Code.IF_TSRESOL, 1, order)
        return cls(
            linktype=linktype,
            snaplen=snaplen,
            name=text_of(options, _Code.IF_NAME),
            description=text_of(options, _Code.IF_DESCRIPTION),
            filter=b"".join(expressions[:1]).rstrip(b"\0").decode("utf-8", "replace"),
            os=text_of(options, _Code.IF_OS),
            hardware=text_of(options, _Code.IF_HARDWARE),
            hwaddr=next((value for code, value in options if code == _Code.IF_MAC), b""),
            speed=number_of(options, _Code.IF_SPEED, 8, order),
            resolution=_MICROSECONDS if resolution is None else resolution,
            offset=number_of(options, _Code.IF_TSOFFSET, 8, order, signed=True) or 0,
            fcslen=number_of(options, _Code.IF_FCSLEN, 1, order),
            comments=texts_of(options, COMMENT),
            unread=unread,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceStatistics:
    """What an interface has seen until now; None is not known.

    Attributes:
        interface: Its number in the section.
        timestamp: When this was so; like ``start`` and ``end``, the moments at which the capture
            began and ended, in the interface's own units.
        received: Packets that came, from the beginning of the capture.
        dropped: Those of them that were lost.
        accepted: Those that the filter let through.
        os_dropped: Those that the operating system had no room for.
        delivered: Those that came to the program.
        unread: As in `InterfaceDescription`.
    """

    interface: int = 0
    timestamp: int = 0
    start: int | None = None
    end: int | None = None
    received: int | None = None
    dropped: int | None = None
    accepted: int | None = None
    os_dropped: int | None = None
    delivered: int | None = None
    comments: tuple[str, ...] = ()
    unread: int = 0

    def emit(self, order: ByteOrder) -> bytes:
        """The block."""
        high, low = self.timestamp >> 32, self.timestamp & 0xFFFFFFFF
        body = struct.pack(f"{prefix_of(order)}III", self.interface, high, low)
        options = comment_options(self.comments)
        for code, moment in ((_Code.ISB_START, self.start), (_Code.ISB_END, self.end)):
            if moment is not None:
                parts = struct.pack(f"{prefix_of(order)}II", moment >> 32, moment & 0xFFFFFFFF)
                options.append((code, parts))
        counts = (
            (_Code.ISB_RECEIVED, self.received),
            (_Code.ISB_DROPPED, self.dropped),
            (_Code.ISB_ACCEPTED, self.accepted),
            (_Code.ISB_OS_DROPPED, self.os_dropped),
            (_Code.ISB_DELIVERED, self.delivered),
        )
        options += [(code, n.to_bytes(8, order)) for code, n in counts if n is not None]
        return emit_block(
            BlockType.INTERFACE_STATISTICS, body + emit_options(options, order), order
        )

    @classmethod
    def parse(cls, body: bytes, order: ByteOrder) -> Self:
        """What follows type and length."""
        interface, high, low = unpack_head("III", body, order, "interface statistics")
        options, unread = parse_options(body, 12, order)

        def moment(code: int) -> int | None:
            for number, value in options:
                if number == code and len(value) == 8:
                    first, second = struct.unpack(f"{prefix_of(order)}II", value)
                    return int(first << 32 | second)
            return None

        return cls(
            interface=interface,
            timestamp=high << 32 | low,
            start=moment(_Code.ISB_START),
            end=moment(_Code.ISB_END),
            received=number_of(options, _Code.ISB_RECEIVED, 8, order),
            dropped=number_of(options, _Code.ISB_DROPPED, 8, order),
            accepted=number_of(options, _Code.ISB_ACCEPTED, 8, order),
            os_dropped=number_of(options, _Code.ISB_OS_DROPPED, 8, order),
            delivered=number_of(options, _Code.ISB_DELIVERED, 8, order),
            comments=texts_of(options, COMMENT),
            unread=unread,
        )


def nanoseconds(timestamp: int, resolution: int, offset: int = 0) -> int:
    """A timestamp in an interface's units, as nanoseconds since 1970.

    Args:
        timestamp: As the file has it.
        resolution: As in `InterfaceDescription`.
        offset: In seconds, as there.
    """
    power = resolution & 0x7F
    if resolution & 0x80:
        since = (timestamp * 10**_NANOSECONDS) >> power
    elif power <= _NANOSECONDS:
        since = timestamp * 10 ** (_NANOSECONDS - power)
    else:
        since = timestamp // 10 ** (power - _NANOSECONDS)
    return since + offset * 10**_NANOSECONDS
