"""What a packet can begin with, by the names and numbers of pcap's link types.

Source: https://www.tcpdump.org/linktypes.html; the numbers that libpcap's compiler takes are those
of pcap/dlt.h, and differ for raw IP alone.
"""

from typing import Final

from ..errors import FilterError

__all__ = ("LINKTYPES", "LinkTypeLike", "dlt_number", "linktype_number")

LinkTypeLike = int | str

# The first name of a number is the one to say.
LINKTYPES: Final[dict[str, int]] = {
    "ethernet": 1, "en10mb": 1,
    "raw": 101, "raw_ip": 101,
    "ipv4": 228,
    "ipv6": 229,
    "linux_sll": 113, "sll": 113, "cooked": 113,
    "linux_sll2": 276, "sll2": 276,
    "null": 0,
    "loop": 108, "loopback": 108,
    "ppp": 9,
    "ieee802_11": 105, "wlan": 105,
    "ieee802_11_radio": 127, "ieee802_11_radiotap": 127, "radiotap": 127,
    "nflog": 239,
    "netlink": 253,
}  # fmt: skip

_LINKTYPE_RAW: Final = 101
_DLT_RAW: Final = 12


def linktype_number(linktype: LinkTypeLike) -> int:
    """The LINKTYPE_… number of a name, or of a number.

    Names are those of `LINKTYPES`, also as ``LINKTYPE_ETHERNET`` and ``DLT_EN10MB``.

    Raises:
        FilterError: There is no such link type.
    """
    if isinstance(linktype, int) and not isinstance(linktype, bool) and 0 <= linktype <= 0xFFFF:
        return _LINKTYPE_RAW if linktype == _DLT_RAW else int(linktype)
    if isinstance(linktype, str):
        name = linktype.lower().replace("-", "_").replace(" ", "_")
        name = name.removeprefix("linktype_").removeprefix("dlt_")
        if name in LINKTYPES:
            return LINKTYPES[name]
        if name.isdecimal() and name.isascii() and len(name) <= 5:
            return linktype_number(int(name))
    raise FilterError(
        f"link type {linktype!r} is none",
        text=str(linktype),
        hint=f"a number of pcap's, or one of {', '.join(LINKTYPES)}",
    )


def dlt_number(linktype: int) -> int:
    """What libpcap's compiler calls a link type."""
    return _DLT_RAW if linktype == _LINKTYPE_RAW else linktype
