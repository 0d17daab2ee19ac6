"""What distinguishes the formats of capture files, where they are written."""

import os
import sys
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from ..errors import SpecError
from ..wire.block import BlockType
from ..wire.options import ByteOrder
from ..wire.pcap import HEADER_SIZE, PcapHeader
from ..wire.pcapng import InterfaceDescription, SectionHeader
from .compression import suffix_of

__all__ = ("COOKED", "MICROSECONDS", "MODIFIED", "PCAP", "SWAPPED", "FileFormat", "Layout", "Whole")

FileFormat: TypeAlias = Literal["pcapng", "pcap"]

# Bits of native/capture.h.
PCAP: Final = 1
SWAPPED: Final = 2
MICROSECONDS: Final = 4
MODIFIED: Final = 8
COOKED: Final = 16


class Whole(NamedTuple):
    """What is whole of some bytes of a file."""

    size: int
    packets: int


class Layout:
    """A format with its byte order and resolution.

    Attributes:
        pcapng: Whether it is that; else classic pcap.
        order: Of all numbers.
        bits: As `capture_write` takes it.

    Raises:
        SpecError: There is no such format or byte order.
    """

    def __init__(
        self,
        path: str,
        file_format: FileFormat | None,
        order: ByteOrder,
        nanoseconds: bool,
        snaplen: int,
        section: SectionHeader,
    ) -> None:
        chosen = file_format or _format_of(path)
        if chosen not in ("pcapng", "pcap"):
            raise SpecError(f"no capture file has the format {chosen!r}: pcapng or pcap")
        if order not in ("little", "big"):
            raise SpecError(f"no byte order is called {order!r}: little or big")
        self.pcapng = chosen == "pcapng"
        self.order = order
        self._nanoseconds = nanoseconds
        self._snaplen = snaplen
        self._section = section
        self.bits = 0 if self.pcapng else PCAP
        if order != sys.byteorder:
            self.bits |= SWAPPED
        if not self.pcapng and not nanoseconds:
            self.bits |= MICROSECONDS

    def beginning(self, interfaces: Sequence[InterfaceDescription]) -> bytes:
        """What a file begins with; of pcap there is at least one interface."""
        if self.pcapng:
            descriptions = [each.emit(self.order) for each in interfaces]
            return b"".join([self._section.emit(), *descriptions])
        header = PcapHeader(
            order=self.order,
            nanoseconds=self._nanoseconds,
            linktype=interfaces[0].linktype,
            snaplen=self._snaplen,
        )
        return header.emit()

    def whole(self, data: memoryview, size: int, *, first: bool) -> Whole:
        """How many of the first ``size`` bytes are whole blocks or records, and their packets.

        Args:
            data: Blocks or records one after the other.
            size: At most as many as there are.
            first: Whether the file begins here.
        """
        at = packets = 0
        if first and not self.pcapng:
            at = HEADER_SIZE if size >= HEADER_SIZE else 0
            size = size if at else 0
        while True:
            head, more = (4, 0) if self.pcapng else (8, 16)
            length = int.from_bytes(data[at + head : at + head + 4], self.order) + more
            if at + head + 4 > size or at + length > size:
                return Whole(at, packets)
            kind = int.from_bytes(data[at : at + 4], self.order)
            packets += not self.pcapng or kind == BlockType.ENHANCED_PACKET
            at += length


def _format_of(path: str) -> FileFormat:
    name = os.path.basename(path)
    return "pcap" if name.removesuffix(suffix_of(name)).endswith(".pcap") else "pcapng"
