"""The older capture file: one header, and before each packet one of its own.

Source: draft-ietf-opsawg-pcap; the variant with the number a1b2cd34: libpcap's sf-pcap.c.
"""

import struct
from dataclasses import dataclass
from typing import Final, Self

from ..errors import WireError
from .options import ByteOrder, prefix_of

__all__ = ("HEADER_SIZE", "MAX_SNAPLEN", "PcapHeader", "RecordHeader", "is_pcap")

HEADER_SIZE: Final = 24
MAX_SNAPLEN: Final = 262144  # as tcpdump and Wireshark have it: they read no larger packets
_MAX_RECORD: Final = 0x1000000

_MICROSECONDS: Final = 0xA1B2C3D4
_NANOSECONDS: Final = 0xA1B23C4D
_MODIFIED: Final = 0xA1B2CD34  # by Alexey Kuznetzov's patch: longer records, with the interface
_MAGICS: Final = (_MICROSECONDS, _NANOSECONDS, _MODIFIED)
_FCS_GIVEN: Final = 0x04000000


def is_pcap(magic: bytes) -> bool:
    """Whether a file that begins with these four bytes is one."""
    return any(number.to_bytes(4, order) == magic for number in _MAGICS for order in _ORDERS)


_ORDERS: Final[tuple[ByteOrder, ...]] = ("little", "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class PcapHeader:
    """The header of the file.

    Attributes:
        order: The byte order of all numbers.
        nanoseconds: Of timestamps; else microseconds.
        modified: Records have 24 bytes instead of 16; read, never written.
        linktype: What a packet starts with: a LINKTYPE_… number.
        snaplen: Bytes of a packet at most.
        fcslen: Bytes of frame check sequence at the end of each packet; None: not known.
    """

    order: ByteOrder = "little"
    nanoseconds: bool = True
    modified: bool = False
    linktype: int = 1
    snaplen: int = MAX_SNAPLEN
    fcslen: int | None = None

    @property
    def record_size(self) -> int:
        """Bytes before the data of each packet."""
        return 24 if self.modified else 16

    def emit(self) -> bytes:
        """The header's 24 bytes."""
        magic = _NANOSECONDS if self.nanoseconds else _MICROSECONDS
        return struct.pack(
            f"{prefix_of(self.order)}IHHiIII", magic, 2, 4, 0, 0, self.snaplen, self.linktype
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From the first 24 bytes of a file.

        Raises:
            WireError: They are no such header.
        """
        if len(data) < HEADER_SIZE:
            raise WireError(f"a pcap header of {len(data)} bytes, not 24", offset=len(data))
        for order in _ORDERS:
            head = struct.unpack_from(f"{prefix_of(order)}IHHiIII", data)
            magic, major, _, _, _, snaplen, kind = head
            if magic in _MAGICS:
                break
        else:
            raise WireError(f"no pcap file begins with {data[:4].hex()}")
        if major != 2:
            raise WireError(f"pcap version {major}.{head[2]}, not 2.4", offset=4)
        return cls(
            order=order,
            nanoseconds=magic == _NANOSECONDS,
            modified=magic == _MODIFIED,
            linktype=kind & 0xFFFF,
            snaplen=snaplen,
            fcslen=(kind >> 28) * 2 if kind & _FCS_GIVEN else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHeader:
    """What stands before a packet: when it came, and how many bytes of how many follow."""

    timestamp_ns: int
    length: int
    wire_len: int

    def emit(self, header: PcapHeader) -> bytes:
        """Its 16 bytes."""
        seconds, fraction = divmod(self.timestamp_ns, 10**9)
        if not header.nanoseconds:
            fraction //= 1000
        return struct.pack(
            f"{prefix_of(header.order)}IIII",
            seconds & 0xFFFFFFFF,
            fraction,
            self.length,
            self.wire_len,
        )

    @classmethod
    def parse(cls, data: bytes | bytearray, at: int, header: PcapHeader) -> Self | None:
        """The header at ``at``; None before all of it is there.

        Raises:
            WireError: No packet is that long.
        """
        if len(data) < at + header.record_size:
            return None
        layout = f"{prefix_of(header.order)}IIII"
        seconds, fraction, length, wire_len = struct.unpack_from(layout, data, at)
        if length > _MAX_RECORD:
            raise WireError(f"a packet of {length} bytes", offset=at + 8)
        unit = 1 if header.nanoseconds else 1000
        moment = seconds * 10**9 + fraction * unit
        return cls(timestamp_ns=moment, length=length, wire_len=wire_len)
