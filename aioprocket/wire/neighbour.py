"""The Ethernet frames that ask a link who has an address: ARP, and neighbour discovery of IPv6."""

import ipaddress
from typing import Final

from .arp import ArpPacket, Operation
from .ethernet import BROADCAST, EthernetHeader
from .icmp import PROTOCOLS
from .ip import IPv6Header
from .ndp import HOP_LIMIT, NeighbourSolicitation, multicast_mac, solicited_node

__all__ = ("ARP", "IPV6", "arp_request", "solicitation", "to_group")

ARP: Final = 0x0806  # linux/if_ether.h
IPV6: Final = 0x86DD


def arp_request(hwaddr: str, source: ipaddress.IPv4Address, target: ipaddress.IPv4Address) -> bytes:
    """The frame by which ``hwaddr``, whose address is ``source``, asks all for ``target``."""
    question = ArpPacket(
        operation=Operation.REQUEST, sender_mac=hwaddr, sender_ip=source, target_ip=target
    )
    header = EthernetHeader(destination=BROADCAST, source=hwaddr, protocol=ARP)
    return header.emit(question.emit())


def solicitation(
    hwaddr: str, source: ipaddress.IPv6Address, target: ipaddress.IPv6Address
) -> bytes:
    """As `arp_request`, of IPv6; it goes to the group of those who may have ``target``."""
    group = solicited_node(target)
    question = NeighbourSolicitation(target=target, source_mac=hwaddr)
    return to_group(hwaddr, source, group, question.emit(source=source, destination=group))


def to_group(
    hwaddr: str, source: ipaddress.IPv6Address, group: ipaddress.IPv6Address, message: bytes
) -> bytes:
    """The frame with an ICMPv6 message to a multicast group of the link."""
    packet = IPv6Header(
        source=source, destination=group, next_header=PROTOCOLS[6], hop_limit=HOP_LIMIT
    ).emit(message)
    header = EthernetHeader(destination=multicast_mac(group), source=hwaddr, protocol=IPV6)
    return header.emit(packet)
