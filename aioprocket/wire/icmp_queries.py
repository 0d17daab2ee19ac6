"""ICMP's questions beside the echo: the time (RFC 792) and the address mask (RFC 950)."""

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final, Self

from ..errors import WireError
from .fields import BytesT, check_bits, check_length
from .icmp import IcmpHeader

__all__ = ("AddressMask", "Timestamp")

_TIMES: Final = struct.Struct("!III")
_TIMESTAMP: Final = 13
_TIMESTAMP_REPLY: Final = 14
_MASK: Final = 17
_MASK_REPLY: Final = 18
_MASK_SIZE: Final = 4
_NONSTANDARD: Final = 1 << 31  # of a time that is not in milliseconds since midnight UT


def _parse(message: BytesT, types: tuple[int, int], what: str) -> tuple[IcmpHeader, BytesT]:
    header, rest = IcmpHeader.parse(message)
    if header.type not in types or header.code:
        raise WireError(f"no {what}: type {header.type}, code {header.code}")
    return header, rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """A question for the time or, with ``reply``, its answer.

    Times are milliseconds since midnight UT; with the highest bit set, something else.
    """

    identifier: int
    sequence: int
    originate: int = 0
    receive: int = 0
    transmit: int = 0
    reply: bool = False

    def __post_init__(self) -> None:
        check_bits(self, identifier=16, sequence=16, originate=32, receive=32, transmit=32)

    @classmethod
    def parse(cls, message: BytesT) -> tuple[Self, BytesT]:
        """The question or the answer, and what follows it."""
        header, rest = _parse(message, (_TIMESTAMP, _TIMESTAMP_REPLY), "timestamp")
        check_length(rest, _TIMES.size, "ICMP timestamp")
        originate, receive, transmit = _TIMES.unpack_from(rest)
        found = cls(
            identifier=header.rest >> 16,
            sequence=header.rest & 0xFFFF,
            originate=originate,
            receive=receive,
            transmit=transmit,
            reply=header.type == _TIMESTAMP_REPLY,
        )
        return found, rest[_TIMES.size :]

    def emit(self) -> bytes:
        """The message."""
        header = IcmpHeader(
            type=_TIMESTAMP_REPLY if self.reply else _TIMESTAMP,
            rest=self.identifier << 16 | self.sequence,
        )
        return header.emit(_TIMES.pack(self.originate, self.receive, self.transmit))

    @property
    def standard(self) -> bool:
        """Whether the answering host's times are milliseconds since midnight UT, as it says."""
        return not (self.receive | self.transmit) & _NONSTANDARD


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressMask:
    """A question for the network's mask or, with ``reply``, its answer."""

    identifier: int
    sequence: int
    mask: ipaddress.IPv4Address = ipaddress.IPv4Address(0)  # noqa: RUF009
    reply: bool = False

    def __post_init__(self) -> None:
        check_bits(self, identifier=16, sequence=16)

    @classmethod
    def parse(cls, message: BytesT) -> tuple[Self, BytesT]:
        """The question or the answer, and what follows it."""
        header, rest = _parse(message, (_MASK, _MASK_REPLY), "address mask")
        check_length(rest, _MASK_SIZE, "ICMP address mask")
        found = cls(
            identifier=header.rest >> 16,
            sequence=header.rest & 0xFFFF,
            mask=ipaddress.IPv4Address(bytes(rest[:_MASK_SIZE])),
            reply=header.type == _MASK_REPLY,
        )
        return found, rest[_MASK_SIZE:]

    def emit(self) -> bytes:
        """The message."""
        header = IcmpHeader(
            type=_MASK_REPLY if self.reply else _MASK,
            rest=self.identifier << 16 | self.sequence,
        )
        return header.emit(self.mask.packed)
