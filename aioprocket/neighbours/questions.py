"""Questions to a link as frames, and what frames answer. Pure."""

import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..errors import SpecError, WireError
from ..spec import IpAddress, IpInterface
from ..wire.arp import ArpPacket, Operation
from ..wire.ethernet import EthernetHeader, is_of_host
from ..wire.icmp import PROTOCOLS, Echo
from ..wire.ip import IPv6Header, skip_extensions
from ..wire.ndp import HOP_LIMIT, NeighbourAdvertisement
from ..wire.neighbour import ARP, IPV6, arp_request, solicitation, to_group

__all__ = ("ALL_NODES", "ANSWERS", "Questions", "Said")

ALL_NODES: Final = ipaddress.IPv6Address("ff02::1")  # RFC 4291, section 2.7.1
_UNSPECIFIED: Final = ipaddress.IPv4Address(0)  # as the sender: a probe, RFC 5227, section 1.1

# ARP replies, neighbour advertisements and echo replies of IPv6, on Ethernet.
ANSWERS: Final = (
    (0x28, 0, 0, 12),
    (0x15, 0, 2, ARP),
    (0x28, 0, 0, 20),
    (0x15, 6, 7, Operation.REPLY),
    (0x15, 0, 6, IPV6),
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

    @property
    def is_credible(self) -> bool:
        """Whether a host can be there: none is where a group is (RFC 1812, section 3.3.2)."""
        return is_of_host(self.hwaddr)


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
            if header.protocol == ARP:
                return self._parse_arp(rest)
            if header.protocol == IPV6:
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
        return arp_request(self._hwaddr, self._source4(target), target)

    def _solicitation(self, target: ipaddress.IPv6Address) -> bytes:
        bare = ipaddress.IPv6Address(target.packed)
        return solicitation(self._hwaddr, self._source6(target), bare)

    def _echo_from(self, source: ipaddress.IPv6Address) -> bytes:
        message = self._echo.emit(source=source, destination=ALL_NODES)
        return to_group(self._hwaddr, source, ALL_NODES, message)

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
