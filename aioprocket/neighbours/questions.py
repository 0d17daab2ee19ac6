"""Questions to a link as frames, and what frames answer. Pure."""

import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..errors import SpecError, WireError
from ..spec import IpAddress, IpInterface
from ..wire.arp import ArpPacket, Operation
from ..wire.ethernet import BROADCAST, EthernetHeader
from ..wire.icmp import PROTOCOLS, Echo
from ..wire.ip import IPv6Header, skip_extensions
from ..wire.ndp import (
    HOP_LIMIT,
    NeighbourAdvertisement,
    NeighbourSolicitation,
    multicast_mac,
    solicited_node,
)

__all__ = ("ALL_NODES", "ANSWERS", "Questions", "Said")

ALL_NODES: Final = ipaddress.IPv6Address("ff02::1")  # RFC 4291, section 2.7.1
_ARP: Final = 0x0806
_IPV6: Final = 0x86DD
_UNSPECIFIED: Final = ipaddress.IPv4Address(0)  # as the sender: a probe, RFC 5227, section 1.1

# ARP replies, neighbour advertisements and echo replies of IPv6, on Ethernet.
ANSWERS: Final = (
    (0x28, 0, 0, 12),
    (0x15, 0, 2, _ARP),
    (0x28, 0, 0, 20),
    (0x15, 6, 7, Operation.REPLY),
    (0x15, 0, 6, _IPV6),
    (0x30, 0, 0, 20),
    (0x15, 0, 4, PROTOCOLS[6]),
    (0x30, 0, 0, 54),
    (0x15, 1, 0, 136),
    (0x15, 0, 1, 129),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


class Said(NamedTuple):
    """What a frame says: who is where, and which question it answers."""

    ip: IpAddress
    hwaddr: str
    asked: IpAddress


class Questions:
    """Asks as one host.

    Args:
        hwaddr: Its hardware address.
        addresses: Its addresses on the link, with their networks.
        identifier: Of its echo requests.
    """

    def __init__(self, hwaddr: str, addresses: Sequence[IpInterface], identifier: int) -> None:
        self._hwaddr = hwaddr
        self._addresses = addresses
        self._own = {address.ip for address in addresses}
        self._echo = Echo(identifier=identifier, sequence=1, version=6)

    def frames(self, target: IpAddress) -> list[bytes]:
        """The frames that ask for a target; `ALL_NODES` asks everybody with IPv6.

        Raises:
            SpecError: There is no address of this version to ask from.
        """
        if isinstance(target, ipaddress.IPv4Address):
            return [self._arp(target)]
        if target == ALL_NODES:
            return [self._echo_from(source) for source in self._ipv6()]
        return [self._solicitation(target)]

    def parse(self, frame: bytes) -> Said | None:
        """What a frame says; None: nothing that we asked for."""
        try:
            header, rest = EthernetHeader.parse(frame)
            if header.protocol == _ARP:
                return self._parse_arp(rest)
            if header.protocol == _IPV6:
                return self._parse_ipv6(header.source, rest)
        except WireError:
            pass
        return None

    def _parse_arp(self, data: bytes) -> Said | None:
        packet, _ = ArpPacket.parse(data)
        if packet.operation != Operation.REPLY or packet.target_mac != self._hwaddr:
            return None
        return Said(packet.sender_ip, packet.sender_mac, packet.sender_ip)

    def _parse_ipv6(self, sender: str, data: bytes) -> Said | None:
        header, rest = IPv6Header.parse(data)
        protocol, message = skip_extensions(header.next_header, rest)
        if protocol != PROTOCOLS[6] or header.destination not in self._own:
            return None
        if message[:1] == b"\x81":
            echo, _ = Echo.parse(message, 6)
            mine = echo.reply and echo.identifier == self._echo.identifier
            return Said(header.source, sender, ALL_NODES) if mine else None
        answer = NeighbourAdvertisement.parse(message)
        if header.hop_limit != HOP_LIMIT or not answer.solicited:
            return None
        return Said(answer.target, answer.target_mac or sender, answer.target)

    def _arp(self, target: ipaddress.IPv4Address) -> bytes:
        question = ArpPacket(
            operation=Operation.REQUEST,
            sender_mac=self._hwaddr,
            sender_ip=self._source4(target),
            target_ip=target,
        )
        return self._frame(BROADCAST, _ARP, question.emit())

    def _solicitation(self, target: ipaddress.IPv6Address) -> bytes:
        group = solicited_node(target)
        source = self._source6(target)
        question = NeighbourSolicitation(
            target=ipaddress.IPv6Address(target.packed), source_mac=self._hwaddr
        )
        return self._ipv6_frame(source, group, question.emit(source=source, destination=group))

    def _echo_from(self, source: ipaddress.IPv6Address) -> bytes:
        return self._ipv6_frame(
            source, ALL_NODES, self._echo.emit(source=source, destination=ALL_NODES)
        )

    def _ipv6_frame(
        self, source: ipaddress.IPv6Address, group: ipaddress.IPv6Address, message: bytes
    ) -> bytes:
        header = IPv6Header(
            source=source, destination=group, next_header=PROTOCOLS[6], hop_limit=HOP_LIMIT
        )
        return self._frame(multicast_mac(group), _IPV6, header.emit(message))

    def _frame(self, destination: str, protocol: int, payload: bytes) -> bytes:
        header = EthernetHeader(destination=destination, source=self._hwaddr, protocol=protocol)
        return header.emit(payload)

    def _source4(self, target: ipaddress.IPv4Address) -> ipaddress.IPv4Address:
        ours = [each for each in self._addresses if isinstance(each, ipaddress.IPv4Interface)]
        near = (each.ip for each in ours if target in each.network)
        return next(near, ours[0].ip if ours else _UNSPECIFIED)

    def _source6(self, target: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
        ours = [each for each in self._addresses if isinstance(each, ipaddress.IPv6Interface)]
        if not ours:
            raise SpecError(
                f"there is no IPv6 address to ask for {target} from",
                hint="an interface that is up has one of the link itself, unless IPv6 is off",
            )
        bare = ipaddress.IPv6Address(target.packed)
        return next((each.ip for each in ours if bare in each.network), ours[0].ip)

    def _ipv6(self) -> list[ipaddress.IPv6Address]:
        return [each.ip for each in self._addresses if isinstance(each, ipaddress.IPv6Interface)]
