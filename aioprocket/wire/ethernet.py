"""Ethernet frames: addresses, the header, VLAN tags (IEEE 802.3, 802.1Q)."""

import re
import struct
from dataclasses import dataclass
from typing import Final, Self

from ..errors import WireError
from .fields import BytesT, check_bits, check_length

__all__ = ("BROADCAST", "EthernetHeader", "VlanTag", "is_of_host", "mac_bytes", "mac_text")

BROADCAST: Final = "ff:ff:ff:ff:ff:ff"

_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_ADDRESSES: Final = struct.Struct("!6s6s")
_PROTOCOL: Final = struct.Struct("!H")
_TAG: Final = struct.Struct("!HH")
_TAG_PROTOCOLS: Final = frozenset({0x8100, 0x88A8})  # 802.1Q, 802.1ad


def mac_bytes(text: str) -> bytes:
    """``"02:00:00:00:00:01"`` as the six bytes it stands for."""
    if not _MAC.fullmatch(text):
        raise WireError(f"{text!r} is not a hardware address like 02:00:00:00:00:01")
    return bytes.fromhex(text.replace(":", ""))


def mac_text(packed: bytes) -> str:
    """The address in lower case: ``"02:00:00:00:00:01"``."""
    return packed.hex(":")


def is_of_host(mac: str) -> bool:
    """Whether one host can have the address: it is no group's, as all's is, and not zero.

    Source: IEEE 802.3, 3.2.3; is_valid_ether_addr() in linux/etherdevice.h.
    """
    packed = mac_bytes(mac)
    return not packed[0] & 1 and any(packed)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlanTag:
    """One tag; ``tpid`` 0x8100 is a customer's, 0x88a8 a provider's."""

    id: int
    priority: int = 0
    drop_eligible: bool = False
    tpid: int = 0x8100

    def __post_init__(self) -> None:
        check_bits(self, id=12, priority=3, drop_eligible=1)
        if self.tpid not in _TAG_PROTOCOLS:
            raise WireError(f"tpid 0x{self.tpid:04x} is not that of a tag")

    @classmethod
    def from_tci(cls, tci: int, tpid: int = 0x8100) -> Self:
        """The tag of a ``Packet``'s ``vlan_tci`` and ``vlan_tpid``."""
        return cls(id=tci & 0xFFF, priority=tci >> 13, drop_eligible=bool(tci >> 12 & 1), tpid=tpid)

    @property
    def tci(self) -> int:
        """Priority, drop eligibility and id in the 16 bits that the frame has for them."""
        return self.priority << 13 | self.drop_eligible << 12 | self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class EthernetHeader:
    """The header with its tags, outermost first.

    ``protocol`` below 0x0600 is a length (IEEE 802.3), and an LLC header follows. The kernel takes
    the outermost tag out of a received frame: it is in the ``Packet``, not in the data.
    """

    destination: str
    source: str
    protocol: int
    tags: tuple[VlanTag, ...] = ()

    def __post_init__(self) -> None:
        mac_bytes(self.destination)
        mac_bytes(self.source)
        check_bits(self, protocol=16)
        if self.protocol in _TAG_PROTOCOLS:
            raise WireError("a tag is not a protocol: it belongs in tags")

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The header, and what follows it up to the end: padding included."""
        check_length(data, 14, "Ethernet header")
        destination, source = _ADDRESSES.unpack_from(data)
        (protocol,) = _PROTOCOL.unpack_from(data, 12)
        offset = 14
        tags = []
        while protocol in _TAG_PROTOCOLS:
            check_length(data, offset + 4, "VLAN tag")
            tpid = protocol
            tci, protocol = _TAG.unpack_from(data, offset)
            tags.append(VlanTag.from_tci(tci, tpid))
            offset += 4
        header = cls(
            destination=mac_text(destination),
            source=mac_text(source),
            protocol=protocol,
            tags=tuple(tags),
        )
        return header, data[offset:]

    def emit(self, payload: bytes = b"") -> bytes:
        """The frame, without padding: the kernel or the device pads it."""
        tags = b"".join(_TAG.pack(tag.tpid, tag.tci) for tag in self.tags)
        addresses = mac_bytes(self.destination) + mac_bytes(self.source)
        return addresses + tags + _PROTOCOL.pack(self.protocol) + payload
