"""TCP headers (RFC 9293), as much as it takes to ask whether somebody listens."""

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Self

from ..errors import WireError
from ..spec import IpAddress
from .checksum import checksum, pseudo_header
from .fields import BytesT, check_bits, check_length

__all__ = ("PROTOCOL", "TcpFlag", "TcpHeader")

PROTOCOL: Final = 6
_HEADER: Final = struct.Struct("!HHIIBBHHH")
_CHECKSUM: Final = slice(16, 18)


class TcpFlag(IntFlag):
    """The control bits."""

    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    ACK = 16
    URG = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpHeader:
    """The header. ``flags`` are `TcpFlag`. ``options`` are whole: 0, 4, 8… or 40 bytes."""

    source_port: int
    destination_port: int
    sequence: int = 0
    acknowledgement: int = 0
    flags: int = 0
    window: int = 0
    urgent: int = 0
    options: bytes = b""

    def __post_init__(self) -> None:
        check_bits(
            self,
            source_port=16, destination_port=16, sequence=32, acknowledgement=32, flags=8,
            window=16, urgent=16,
        )  # fmt: skip
        if len(self.options) % 4 or len(self.options) > 40:
            raise WireError(f"{len(self.options)} bytes of options: 0, 4, 8… or 40")

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The header and the payload. The checksum is not judged."""
        check_length(data, _HEADER.size, "TCP header")
        (
            source_port,
            destination_port,
            sequence,
            acknowledgement,
            offset,
            flags,
            window,
            _,
            urgent,
        ) = _HEADER.unpack_from(data)
        header_len = (offset >> 4) * 4
        if header_len < _HEADER.size:
            raise WireError(f"a TCP header of {header_len} bytes, less than {_HEADER.size}")
        check_length(data, header_len, "TCP options")
        header = cls(
            source_port=source_port,
            destination_port=destination_port,
            sequence=sequence,
            acknowledgement=acknowledgement,
            flags=TcpFlag(flags),
            window=window,
            urgent=urgent,
            options=bytes(data[_HEADER.size : header_len]),
        )
        return header, data[header_len:]

    def emit(
        self,
        payload: bytes = b"",
        *,
        source: IpAddress | None = None,
        destination: IpAddress | None = None,
    ) -> bytes:
        """The segment for an IP header.

        Args:
            payload: What follows the header.
            source: With ``destination``: the addresses of the IP header, both of one version, for
                the checksum. Without them it is 0, and every receiver drops the segment.
            destination: See ``source``.
        """
        segment = bytearray(
            _HEADER.pack(
                self.source_port,
                self.destination_port,
                self.sequence,
                self.acknowledgement,
                (_HEADER.size + len(self.options)) // 4 << 4,
                self.flags,
                self.window,
                0,
                self.urgent,
            )
            + self.options
            + payload
        )
        if source is not None and destination is not None:
            covered = pseudo_header(source, destination, PROTOCOL, len(segment)) + bytes(segment)
            segment[_CHECKSUM] = checksum(covered).to_bytes(2, "big")
        return bytes(segment)
