"""The words of a filter expression, as libpcap's scanner sees them: where they are, what they name.

Source: pcap-filter(7); scanner.l of libpcap 1.10
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ("Word", "host_name", "split")

_WORD = re.compile(
    r"""
      \\[^ !()\n\r\t]+                                           # a name that is no keyword
    | [0-9A-Fa-f]{1,2}(?:[:.-][0-9A-Fa-f]{1,2}){5}(?![\w:.-])    # a MAC address
    | (?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]*                    # an IPv6 address
    | [A-Za-z0-9](?:[-_.A-Za-z0-9]*[.A-Za-z0-9])?
    | >=|<=|!=|==|<<|>>|&&|\|\|
    | \S
    """,
    re.VERBOSE | re.ASCII,
)

_DIRECTIONS: Final = frozenset({"src", "dst", "ra", "ta"}) | {
    f"{word}{number}" for word in ("addr", "address") for number in range(1, 5)
}
_PROTOCOLS: Final = frozenset({
    "link", "ether", "ppp", "slip", "fddi", "tr", "wlan", "arp", "rarp", "ip", "sctp", "tcp",
    "udp", "icmp", "igmp", "igrp", "pim", "vrrp", "carp", "radio", "ip6", "icmp6", "ah", "esp",
    "atalk", "aarp", "decnet", "lat", "sca", "moprc", "mopdl", "iso", "esis", "es-is", "isis",
    "is-is", "clnp", "stp", "ipx", "netbeui",
})  # fmt: skip
# What names go behind: of hosts, or of what is known on this machine alone.
_OF_HOSTS: Final = frozenset({"host", "net", "gateway", "mask"})
_LOCAL: Final = frozenset({
    "port", "portrange", "proto", "protochain", "type", "subtype", "dir", "direction", "ifname",
    "on", "rset", "ruleset", "reason", "action", "llc",
})  # fmt: skip
_QUALIFIERS: Final = _DIRECTIONS | _PROTOCOLS | _OF_HOSTS | _LOCAL
_JOINTS: Final = frozenset({"and", "or", "not", "&&", "||", "!", "(", ")"})
_OTHERS: Final = frozenset({
    "less", "greater", "byte", "broadcast", "multicast", "len", "length", "inbound", "outbound",
    "ifindex", "vlan", "mpls", "pppoed", "pppoes", "geneve", "vxlan", "l1", "l2", "iih", "lsp",
    "snp", "csnp", "psnp", "lane", "metac", "bcc", "oam", "oamf4", "oamf4ec", "oamf4sc", "sc",
    "ilmic", "connectmsg", "metaconnect", "vpi", "vci", "sio", "opc", "dpc", "sls", "hsio",
    "hopc", "hdpc", "hsls", "fisu", "lssu", "lsu", "msu", "hfisu", "hlssu", "hlsu", "hmsu",
    "rnr", "rulenum", "srnr", "subrulenum",
})  # fmt: skip
_KEYWORDS: Final = _QUALIFIERS | _JOINTS | _OTHERS

_NUMBER = re.compile(r"\d+(?:\.\d+){0,3}|0[xX][0-9A-Fa-f]+", re.ASCII)
_HARDWARE = re.compile(r"[0-9A-Fa-f]{1,2}(?:[:.-][0-9A-Fa-f]{1,2}){5}|[0-9A-Fa-f]{12}")


@dataclass(frozen=True, slots=True)
class Word:
    """One word; ``position`` counts characters."""

    text: str
    position: int

    @property
    def end(self) -> int:
        """The position behind it."""
        return self.position + len(self.text)


def split(expression: str) -> list[Word]:
    """All words, in order."""
    return [Word(found[0], found.start()) for found in _WORD.finditer(expression)]


def host_name(words: Sequence[Word]) -> Word | None:
    """The first word that libpcap would ask the resolver about, or take for a host's name."""
    return next(_host_names(words), None)


def _host_names(words: Sequence[Word]) -> Iterator[Word]:
    kind = "host"
    fresh = True  # nothing but joints since the last primitive
    for word in words:
        text = word.text
        if text in _QUALIFIERS:
            if fresh:
                kind = "host"
            fresh = False
            kind = text if text in _OF_HOSTS | _LOCAL else kind
        elif text in _JOINTS:
            fresh = True
        elif text in _KEYWORDS:
            fresh, kind = False, "other"
        elif text[0].isalnum() or text[0] == ":":
            if kind in _OF_HOSTS and not _is_address(text):
                yield word
            fresh = True
        elif text[0] not in "\\/":
            # An operator: from here to the next joint it is arithmetic.
            fresh, kind = False, "other"


def _is_address(text: str) -> bool:
    if _NUMBER.fullmatch(text) or _HARDWARE.fullmatch(text):
        return True
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
