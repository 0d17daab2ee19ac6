"""From bytes to a summary, whatever the bytes are."""

import struct
from typing import Final

from ..errors import WireError
from .link import ETHERNET, Linktype, parse_link
from .result import Dissection, Summary

__all__ = ("summarize",)

_ETHERTYPE_VLAN: Final = 0x8100


def summarize(
    data: bytes | memoryview,
    linktype: int = ETHERNET,
    *,
    vlan_tci: int | None = None,
    vlan_tpid: int | None = None,
) -> Summary:
    """Say what a packet is.

    Args:
        data: The packet, from its link header on; cut where a capture has cut it.
        linktype: What it begins with: one of `LINKTYPES`, as ``channel.linktype`` says it. Of
            others the number is all that is said.
        vlan_tci: The tag that the kernel took out of a received frame: ``packet.vlan_tci``.
        vlan_tpid: ``packet.vlan_tpid``; 0x8100 where that is None.
    """
    into = Dissection()
    try:
        if vlan_tci is not None:
            into.vlans = (vlan_tci & 0xFFF,)
            into.add("vlan", id=vlan_tci & 0xFFF, priority=vlan_tci >> 13,
                     tpid=vlan_tpid or _ETHERTYPE_VLAN)  # fmt: skip
        parse_link(into, bytes(data), linktype)
    except (struct.error, IndexError, WireError):
        into.complete = False
        into.info = f"{into.info}, incomplete" if into.info else "incomplete"
    if not into.protocol:
        into.protocol = f"linktype {linktype}" if linktype not in set(Linktype) else "unknown"
    return into.summary()
