"""Who is believed about a next hop's hardware address."""

import ipaddress

import pytest

from aioprocket.pinger.link.neighbours import Neighbours
from aioprocket.pinger.link.ways import Hop
from aioprocket.wire.arp import ArpPacket, Operation
from aioprocket.wire.ethernet import EthernetHeader, mac_bytes
from aioprocket.wire.ip import IPv6Header
from aioprocket.wire.ndp import NeighbourAdvertisement

ASKED_ON, ANOTHER = 3, 4
OWN, THEIRS = "02:00:00:00:00:01", "02:00:00:00:00:09"
SOURCE = {4: ipaddress.ip_address("198.18.0.1"), 6: ipaddress.ip_address("2001:db8::1")}
ROUTER = {4: ipaddress.ip_address("198.18.0.9"), 6: ipaddress.ip_address("2001:db8::9")}


def hop(version: int) -> Hop:
    first, last = (ROUTER[version].packed,) * 2
    return Hop(
        first=first, last=last, scope=0, ifindex=ASKED_ON, name="eth0",
        source=SOURCE[version].packed, own=mac_bytes(OWN), mtu=1500,
        address=ROUTER[version].packed, hwaddr=None, until=1.0,
    )  # fmt: skip


def answer(version: int, hwaddr: str = THEIRS) -> bytes:
    source, router = SOURCE[version], ROUTER[version]
    if isinstance(source, ipaddress.IPv4Address) and isinstance(router, ipaddress.IPv4Address):
        header = EthernetHeader(destination=OWN, source=THEIRS, protocol=0x0806)
        reply = ArpPacket(
            operation=Operation.REPLY,
            sender_mac=hwaddr,
            sender_ip=router,
            target_mac=OWN,
            target_ip=source,
        )
        return header.emit(reply.emit())
    assert isinstance(source, ipaddress.IPv6Address)
    assert isinstance(router, ipaddress.IPv6Address)
    header = EthernetHeader(destination=OWN, source=THEIRS, protocol=0x86DD)
    advertisement = NeighbourAdvertisement(target=router, target_mac=hwaddr, solicited=True)
    packet = IPv6Header(source=router, destination=source, next_header=58, hop_limit=255)
    return header.emit(packet.emit(advertisement.emit(source=router, destination=source)))


@pytest.mark.parametrize("version", [4, 6])
def test_answer_from_another_link_is_not_believed(version: int) -> None:
    neighbours = Neighbours()
    neighbours.wait(hop(version), 7, 1.0, 0.0)

    assert neighbours.hear(ANOTHER, answer(version), 0.1) is None
    assert neighbours.hwaddr(hop(version), 0.1) is None
    assert neighbours.hear(ASKED_ON, answer(version), 0.1) == (
        mac_bytes(THEIRS),
        [(hop(version), 7)],
    )
    assert neighbours.hwaddr(hop(version), 0.1) == mac_bytes(THEIRS)


@pytest.mark.parametrize("version", [4, 6])
def test_answer_to_no_question_is_not_believed(version: int) -> None:
    neighbours = Neighbours()

    assert neighbours.hear(ASKED_ON, answer(version), 0.1) is None
    assert neighbours.hwaddr(hop(version), 0.1) is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    "hwaddr", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "00:00:00:00:00:00"]
)
def test_answer_that_names_no_hosts_address_is_not_believed(version: int, hwaddr: str) -> None:
    neighbours = Neighbours()
    neighbours.wait(hop(version), 7, 1.0, 0.0)

    assert neighbours.hear(ASKED_ON, answer(version, hwaddr), 0.1) is None
    assert neighbours.hwaddr(hop(version), 0.1) is None
    assert neighbours.hear(ASKED_ON, answer(version), 0.1) is not None
