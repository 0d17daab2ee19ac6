"""Where things lie in what a filter sees: the ground that a match is tested on."""

from dataclasses import dataclass
from typing import Final, Literal

from .ancillary import Extension
from .codegen import Code, Label
from .opcodes import ABS, ALU, AND, LD, B, H, K, W

__all__ = ("ETHERNET", "ETHERTYPE_IPV4", "ETHERTYPE_IPV6", "TAGS", "Ground", "ground_of_link")

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD
TAGS: Final = (0x8100, 0x88A8, 0x9100)  # of VLANs, as libpcap knows them
_VERSIONS: Final = {ETHERTYPE_IPV4: 0x40, ETHERTYPE_IPV6: 0x60}


@dataclass(frozen=True, slots=True)
class Ground:
    """What begins where, as the ``k`` of a load.

    Attributes:
        network: The network header.
        told_by: What says the network's protocol: a field of 16 bits at ``told_at``; the
            ``"kernel"``; the ``"version"`` of the IP header; or it is ``"always"`` ``told_at``.
        told_at: Offset of that field; or the protocol.
        tag: Where the tag of a VLAN is in the data, the two bytes with its id; None: nowhere.
        live: The kernel knows more than is in the data.
    """

    network: int
    told_by: Literal["field", "kernel", "version", "always"]
    told_at: int = 0
    tag: int | None = None
    live: bool = False

    def test_protocol(self, code: Code, ethertype: int, matching: Label, otherwise: Label) -> None:
        """To ``matching`` where the network's protocol is this one."""
        if self.told_by == "always":
            code.jump(matching if ethertype == self.told_at else otherwise)
        elif self.told_by == "version":
            if ethertype not in _VERSIONS:
                code.jump(otherwise)
                return
            code.emit(LD | ABS | B, self.network)
            code.emit(ALU | AND | K, 0xF0)
            code.equal(_VERSIONS[ethertype], matching, otherwise)
        else:
            if self.told_by == "kernel":
                code.emit(LD | ABS | W, Extension.PROTOCOL)
            else:
                code.emit(LD | ABS | H, self.told_at)
            code.equal(ethertype, matching, otherwise)


ETHERNET: Final = Ground(14, "field", 12)
_BEGINNINGS: Final[dict[int, Ground]] = {
    0: Ground(4, "version"),
    1: ETHERNET,
    101: Ground(0, "version"),
    108: Ground(4, "version"),
    113: Ground(16, "field", 14),
    228: Ground(0, "always", ETHERTYPE_IPV4),
    229: Ground(0, "always", ETHERTYPE_IPV6),
    276: Ground(20, "field", 0),
}


def ground_of_link(linktype: int) -> Ground | None:
    """Of packets in a file that begin as LINKTYPE_… says; None: it is not known here."""
    return _BEGINNINGS.get(linktype)
