"""What an answer says, and whether that can be."""

import ipaddress

import pytest

from aioprocket.neighbours.questions import Questions, Said
from aioprocket.wire.ethernet import EthernetHeader
from aioprocket.wire.icmp import Echo
from aioprocket.wire.ip import IPv6Header
from aioprocket.wire.ndp import NeighbourAdvertisement

US, HOST = ipaddress.IPv6Interface("fd68::1/64"), ipaddress.IPv6Address("fd68::9")
OUR_MAC, HOST_MAC = "02:00:00:00:00:01", "02:00:00:00:00:09"
GROUPS = ["ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "00:00:00:00:00:00"]
IDENTIFIER = 7


def frame(message: bytes, source: str = HOST_MAC) -> bytes:
    packet = IPv6Header(source=HOST, destination=US.ip, next_header=58, hop_limit=255)
    header = EthernetHeader(destination=OUR_MAC, source=source, protocol=0x86DD)
    return header.emit(packet.emit(message))


def advertisement(mac: str | None) -> bytes:
    said = NeighbourAdvertisement(target=HOST, target_mac=mac, solicited=True)
    return said.emit(source=HOST, destination=US.ip)


@pytest.fixture
def questions() -> Questions:
    return Questions(OUR_MAC, [US], IDENTIFIER)


def test_host_at_an_address_of_its_own_is_credible(questions: Questions) -> None:
    said = questions.parse(frame(advertisement(HOST_MAC)))

    assert said == Said(HOST, HOST_MAC, HOST)
    assert said is not None
    assert said.is_credible


@pytest.mark.parametrize("mac", GROUPS)
def test_host_at_the_address_of_a_group_is_not_credible(questions: Questions, mac: str) -> None:
    echo = Echo(identifier=IDENTIFIER, sequence=1, reply=True, version=6)
    reply = echo.emit(source=HOST, destination=US.ip)

    for answer in (
        frame(advertisement(mac)),
        frame(advertisement(None), source=mac),
        frame(reply, source=mac),
    ):
        said = questions.parse(answer)
        assert said is not None
        assert not said.is_credible
