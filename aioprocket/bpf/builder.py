"""Filters by calls, without libpcap: what a packet is, put together by all, any and not."""

import ipaddress
from collections.abc import Callable
from typing import Final

from ..errors import FilterError
from ..spec import IpAddress
from .ground import ETHERTYPE_IPV4
from .match import (
    TCP,
    UDP,
    VLAN_ID,
    All,
    Any,
    Direction,
    EtherType,
    Host,
    IcmpId,
    IcmpType,
    IpProtocol,
    Match,
    Network,
    Not,
    Port,
    Vlan,
)

__all__ = (
    "all_of",
    "any_of",
    "arp",
    "dhcp",
    "ethertype",
    "host",
    "icmp6_type",
    "icmp_id",
    "icmp_type",
    "ip_protocol",
    "negate",
    "tcp_port",
    "udp_port",
    "vlan",
)

_ETHERTYPE_ARP: Final = 0x0806
_BOOTPS, _BOOTPC = 67, 68


def _number(what: str, value: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise FilterError(f"{what} {value!r} is not a number from 0 to {most}", text=repr(value))
    return int(value)


def _direction(value: Direction) -> Direction:
    if value not in ("src", "dst", "any"):
        raise FilterError(f"direction {value!r} is none of src, dst, any", text=repr(value))
    return value


def _matches(parts: tuple[Match, ...], made: Callable[[tuple[Match, ...]], Match]) -> Match:
    for part in parts:
        if not isinstance(part, Match):
            raise FilterError(
                f"{part!r:.60} is no match to put together",
                text=repr(part),
                hint="what bpf.udp_port, bpf.arp and their like return; an expression stands alone",
            )
    return made(parts)


def all_of(*matches: Match) -> Match:
    """All of these; of none: every packet."""
    return _matches(matches, All)


def any_of(*matches: Match) -> Match:
    """One of these at least; of none: no packet."""
    return _matches(matches, Any)


def negate(match: Match) -> Match:
    """Everything else."""
    return _matches((match,), lambda parts: Not(parts[0]))


def ethertype(number: int) -> Match:
    """Frames of an Ethernet protocol, in host order: 0x0806 is ARP."""
    return EtherType(_number("Ethernet protocol", number, 0xFFFF))


def arp() -> Match:
    """ARP."""
    return EtherType(_ETHERTYPE_ARP)


def vlan(number: int | None = None) -> Match:
    """Frames of this VLAN, or of any: by their outer tag."""
    return Vlan(None if number is None else _number("VLAN", number, VLAN_ID))


def ip_protocol(number: int) -> Match:
    """IPv4 and IPv6 packets of this protocol, fragments of them included."""
    return IpProtocol(_number("IP protocol", number, 0xFF))


def tcp_port(number: int, direction: Direction = "any") -> Match:
    """TCP from (``"src"``) or to (``"dst"``) this port, or both."""
    return Port(TCP, _number("port", number, 0xFFFF), _direction(direction))


def udp_port(number: int, direction: Direction = "any") -> Match:
    """UDP from (``"src"``) or to (``"dst"``) this port, or both.

    Also inside a VLAN tag that is still in the frame, as in a capture file, where the expression
    ``udp port 67`` of pcap-filter(7) matches untagged frames alone.
    """
    return Port(UDP, _number("port", number, 0xFFFF), _direction(direction))


def dhcp() -> Match:
    """DHCP of IPv4: what clients and servers send."""
    return All((EtherType(ETHERTYPE_IPV4), Any((udp_port(_BOOTPS), udp_port(_BOOTPC)))))


def host(address: str | IpAddress | Network, direction: Direction = "any") -> Match:
    """IP packets from or to an address, or a network as ``"10.0.0.0/8"``. No name is looked up."""
    try:
        network = ipaddress.ip_network(address)
    except ValueError as error:
        raise FilterError(f"address {address!r}: {error}", text=str(address)) from None
    return Host(network, _direction(direction))


def icmp_id(identifier: int) -> Match:
    """Echo requests and replies with this identifier, of ICMP and ICMPv6."""
    return IcmpId(_number("identifier", identifier, 0xFFFF))


def icmp_type(*numbers: int) -> Match:
    """ICMP messages of these types."""
    return IcmpType(4, tuple(_number("ICMP type", number, 0xFF) for number in numbers))


def icmp6_type(*numbers: int) -> Match:
    """ICMPv6 messages of these types, on any socket; `icmp6_types` is for those of ICMPv6 alone."""
    return IcmpType(6, tuple(_number("ICMPv6 type", number, 0xFF) for number in numbers))
