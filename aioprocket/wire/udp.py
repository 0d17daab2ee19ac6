"""UDP (RFC 768)."""

import struct
from dataclasses import dataclass
from typing import Final, Self

from ..errors import WireError
from ..spec import IpAddress
from .checksum import checksum, pseudo_header
from .fields import BytesT, check_bits, check_length

__all__ = ("PROTOCOL", "UdpHeader")

PROTOCOL: Final = 17
_HEADER: Final = struct.Struct("!HHHH")  # source, destination, length, checksum
_LENGTH: Final = slice(4, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpHeader:
    """The two ports; length and checksum are made from what is sent."""

    source_port: int
    destination_port: int

    def __post_init__(self) -> None:
        check_bits(self, source_port=16, destination_port=16)

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The header and the payload: as much of it as is there, at most as much as it says.

        The checksum is not judged: a sender's hardware fills it in behind a capture.
        """
        check_length(data, _HEADER.size, "UDP header")
        source_port, destination_port, length, _ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            raise WireError(f"UDP length {length}, of a header of 8", offset=_LENGTH.start)
        header = cls(source_port=source_port, destination_port=destination_port)
        return header, data[_HEADER.size : length]

    def emit(
        self,
        payload: bytes = b"",
        *,
        source: IpAddress | None = None,
        destination: IpAddress | None = None,
    ) -> bytes:
        """The datagram for an IP header.

        Args:
            payload: At most 65,527 bytes.
            source: With ``destination``: the addresses of the IP header, both of one version, for
                the checksum. Without them there is none, which only IPv4 allows.
            destination: See ``source``.
        """
        length = _HEADER.size + len(payload)
        if length > 0xFFFF:
            raise WireError(f"a UDP payload of {len(payload)} bytes: at most 65527 fit")
        header = _HEADER.pack(self.source_port, self.destination_port, length, 0)
        if source is None or destination is None:
            return header + payload
        covered = pseudo_header(source, destination, PROTOCOL, length) + header + payload
        # A sum of 0 would say that there is no checksum.
        return header[:6] + (checksum(covered) or 0xFFFF).to_bytes(2, "big") + payload
