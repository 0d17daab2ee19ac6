"""The internet checksum (RFC 1071) and what it covers beside the bytes themselves."""

import struct
from typing import Final

from ..spec import IpAddress

__all__ = ("checksum", "pseudo_header")

_PSEUDO4: Final = struct.Struct("!4s4sxBH")  # RFC 768
_PSEUDO6: Final = struct.Struct("!16s16sI3xB")  # RFC 8200, section 8.1


def checksum(data: bytes | memoryview) -> int:
    """The checksum of ``data``; 0 if its own checksum is among the bytes and right.

    Source: RFC 1071
    """
    # 2**16 is 1 modulo 65535, so the remainder of one large number is the one's complement sum
    # of its 16-bit words, end-around carries included.
    number = int.from_bytes(data, "big") << 8 * (len(data) % 2)
    total = number % 0xFFFF
    if total == 0 and number:
        total = 0xFFFF  # such a sum wraps to "minus zero": only zeros add up to zero
    return 0xFFFF - total


def pseudo_header(
    source: IpAddress, destination: IpAddress, protocol: int, payload_len: int
) -> bytes:
    """What UDP, TCP and ICMPv6 sum before themselves. Both addresses are of one version.

    Source: RFC 768; RFC 8200, section 8.1
    """
    if source.version == 4:
        return _PSEUDO4.pack(source.packed, destination.packed, protocol, payload_len)
    return _PSEUDO6.pack(source.packed, destination.packed, payload_len, protocol)
