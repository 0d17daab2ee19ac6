"""Bytes of a capture file in, packets out: no file, no loop.

Packets are read in C. Where that ends, the next thing is no packet, not whole or not right, and is
left to the codecs in ``wire/``, which know all blocks and have the words for what is wrong.
"""

import struct
import sys
from collections.abc import Sized
from typing import Final

from .._system._native import capture_read
from ..errors import WireError
from ..packet import Packet
from ..wire.options import ByteOrder
from ..wire.pcap import HEADER_SIZE, PcapHeader, RecordHeader, is_pcap
from ..wire.pcapng import (
    Block,
    BlockType,
    EnhancedPacket,
    InterfaceDescription,
    InterfaceStatistics,
    SectionHeader,
    SimplePacket,
    nanoseconds,
    parse_block,
    section_order,
)
from .layout import MICROSECONDS, MODIFIED, PCAP, SWAPPED

__all__ = ("Parser",)

_SECTION: Final = BlockType.SECTION_HEADER.to_bytes(4, "big")
_INTERFACE: Final = struct.Struct("=qII")  # struct interface in native/capture_read.c
_DIRECTIONS: Final = ("in", "in", "multicast", "broadcast", "otherhost")
# Of sections, and of interfaces: they are kept, and are small in the file.
_MOST: Final = 65536
_LARGEST: Final = (1 << 63) - 1


class Parser:
    """A capture file that comes in pieces.

    Attributes:
        interfaces: Those of all sections, in order. A packet's ``ifindex`` counts them from 1.
        sections: The sections' headers; none in a pcap file.
        statistics: The last of each interface, by its ``ifindex``.
        truncated: Whether the file ended within a block.
        packets: How many were read; of them ``bytes``, how many were ``cut`` when they were
            captured, and how many the file says were ``dropped`` between them.
    """

    def __init__(self, strict: bool = False) -> None:
        self.interfaces: list[InterfaceDescription] = []
        self.sections: list[SectionHeader] = []
        self.statistics: dict[int, InterfaceStatistics] = {}
        self.truncated = False
        self.packets = self.bytes = self.cut = self.dropped = 0
        self._strict = strict
        self._data = bytearray()
        self._at = 0
        self._block_at = 0  # where the last block began that was not read in C
        self._offset = 0  # in the file, of what is at 0 in the data
        self._ended = False
        self._error: WireError | None = None
        self._bits: int | None = None  # None: what kind of file it is is not known yet
        self._header: PcapHeader | None = None
        self._order: ByteOrder = "little"
        self._table = bytearray()  # of the section's interfaces, for C
        self._before = 0  # interfaces of earlier sections

    @property
    def format(self) -> str:
        """``"pcapng"`` or ``"pcap"``; empty until that is known."""
        if self._bits is None:
            return ""
        return "pcapng" if self._header is None else "pcap"

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        del self._data[: self._at]
        self._offset += self._at
        self._at = 0
        self._data += data

    def finish(self, cut: bool = False) -> None:
        """There are no more; ``cut``: for there should have been."""
        self._ended = True
        self.truncated = cut

    def take(self, count: int) -> list[Packet]:
        """Up to ``count`` packets. None at all: another piece is needed, or that was the end.

        Raises:
            WireError: The file is damaged, or cut and this is strict. ``offset`` is in the file,
                as it is without compression.
        """
        if self._error is not None:
            raise self._error
        try:
            while True:
                packets = self._read(count) if self._begun() else []
                if packets:
                    return packets
                block = self._next_block() if self._bits is not None else None
                if block is None:
                    return self._stop()
                packets = self._note(block)
                if packets:
                    return packets
        except WireError as error:
            raise self._fail(error) from None

    def take_block(self) -> Block | None:
        """The next block of a pcapng file; None as `take`, for the end of it.

        Raises:
            WireError: As `take`; or it is a pcap file, which has none.
        """
        try:
            if not self._begun():
                self._stop()
                return None
            if self._header is not None:
                raise WireError("a pcap file has no blocks")
            block = self._next_block()
            if block is None:
                self._stop()
                return None
            self._note(block)
            return block
        except WireError as error:
            raise self._fail(error) from None

    def _fail(self, error: WireError) -> WireError:
        at = self._offset + error.offset
        self._error = WireError(f"{error}, at byte {at}", offset=at, hint=error.hint)
        return self._error

    def _stop(self) -> list[Packet]:
        left = len(self._data) - self._at
        if self._ended and (left or self._bits is None):
            self.truncated = True
        if self._ended and self.truncated and self._strict:
            raise WireError(f"the file ends within a block, {left} bytes of it", offset=self._at)
        return []

    def _begun(self) -> bool:
        """Whether it is known what kind of file it is."""
        if self._bits is not None:
            return True
        magic = bytes(self._data[:4])
        if len(magic) < 4:
            return False
        if magic == _SECTION:
            self._bits = 0
            return True
        if not is_pcap(magic):
            raise WireError(
                f"neither a pcapng nor a pcap file begins with {magic.hex()}",
                hint="files may be compressed, by gzip or zstd",
            )
        if len(self._data) < HEADER_SIZE:
            return False
        self._begin_pcap(PcapHeader.parse(bytes(self._data[:HEADER_SIZE])))
        return True

    def _begin_pcap(self, header: PcapHeader) -> None:
        self._header = header
        self._bits = PCAP | (MODIFIED if header.modified else 0)
        if header.order != sys.byteorder:
            self._bits |= SWAPPED
        if not header.nanoseconds:
            self._bits |= MICROSECONDS
        self._at = HEADER_SIZE
        self.interfaces.append(
            InterfaceDescription(
                linktype=header.linktype,
                snaplen=header.snaplen,
                resolution=9 if header.nanoseconds else 6,
                fcslen=header.fcslen,
            )
        )

    def _read(self, count: int) -> list[Packet]:
        assert self._bits is not None
        packets, self._at, size, cut, dropped = capture_read(
            self._data, self._at, count, self._bits, self._table, self._before + 1
        )
        self.packets += len(packets)
        self.bytes += size
        self.cut += cut
        self.dropped += dropped
        return packets

    def _next_block(self) -> Block | None:
        """What comes next in a pcapng file; None before all of it is there."""
        if self._header is not None:
            # Whole records are read in C; what has no end is found out here.
            RecordHeader.parse(self._data, self._at, self._header)
            return None
        if self._data[self._at : self._at + 4] == _SECTION:
            order = section_order(self._data, self._at)
            if order is None:
                return None
            self._order = order
        self._block_at = self._at
        found = parse_block(self._data, self._at, self._order)
        if found is None:
            return None
        block, self._at = found
        return block

    def _note(self, block: Block) -> list[Packet]:
        """Keep what is said of packets to come; what is a packet itself is returned."""
        match block:
            case SectionHeader():
                self._bound(self.sections)
                self.sections.append(block)
                self._bits = SWAPPED if block.order != sys.byteorder else 0
                self._before = len(self.interfaces)
                self._table = bytearray()
            case InterfaceDescription():
                self._bound(self.interfaces)
                self.interfaces.append(block)
                self._table += _INTERFACE.pack(block.offset, block.snaplen, block.resolution)
            case InterfaceStatistics():
                if self._before + block.interface < len(self.interfaces):
                    self.statistics[self._before + block.interface + 1] = block
            case EnhancedPacket():
                return [self._packet(block)]
            case SimplePacket():
                snaplen = self._described(0).snaplen or len(block.data)
                data = block.data[:snaplen]
                return [self._count(Packet(data, wire_len=max(block.wire_len, len(data)),
                                           ifindex=self._before + 1), 0)]  # fmt: skip
        return []

    def _bound(self, kept: Sized) -> None:
        if len(kept) >= _MOST:
            raise WireError(
                f"more than {_MOST} sections, or interfaces in them", offset=self._block_at
            )

    def _described(self, number: int) -> InterfaceDescription:
        count = len(self.interfaces) - self._before
        if number >= count:
            raise WireError(
                f"interface {number} is not one of the {count} that the section describes",
                offset=self._block_at,
            )
        return self.interfaces[self._before + number]

    def _packet(self, block: EnhancedPacket) -> Packet:
        interface = self._described(block.interface)
        moment = nanoseconds(block.timestamp, interface.resolution, interface.offset)
        flags = block.flags or 0
        reception = flags >> 2 & 7
        direction = _DIRECTIONS[reception] if reception < len(_DIRECTIONS) else "in"
        packet = Packet(
            block.data,
            # Beyond the years that fit, it is not known.
            timestamp_ns=moment if -_LARGEST <= moment <= _LARGEST else 0,
            wire_len=max(block.wire_len, len(block.data)),
            ifindex=self._before + block.interface + 1,
            direction="out" if flags & 3 == 2 else direction,  # type: ignore[arg-type]
        )
        return self._count(packet, block.drop_count or 0)

    def _count(self, packet: Packet, dropped: int) -> Packet:
        self.packets += 1
        self.bytes += len(packet)
        self.cut += packet.truncated
        self.dropped += dropped
        return packet
