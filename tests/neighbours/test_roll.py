"""Who is known, and what a flood of forged answers adds to that."""

import ipaddress
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

import aioprocket
from aioprocket.neighbours.questions import ALL_NODES
from aioprocket.neighbours.roll import Roll
from aioprocket.wire.arp import ArpPacket, Operation
from aioprocket.wire.ethernet import EthernetHeader, mac_text
from aioprocket.wire.icmp import Echo
from aioprocket.wire.ip import IPv6Header
from sandbox import links

ARP, IPV6 = 0x0806, 0x86DD
OURS = ipaddress.IPv6Address("fd68::1")


def mac(number: int) -> str:
    return mac_text(b"\x02\x99" + number.to_bytes(4))


def host(number: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(0x0A440000 + number)


def test_a_host_is_new_once() -> None:
    roll = Roll()

    assert [roll.add(host(1), mac(1), asked=True) for _ in range(3)] == [True, False, False]
    assert roll.refused == 0


def test_of_an_address_eight_hosts_are_believed() -> None:
    roll = Roll()

    assert [roll.add(host(1), mac(n), asked=True) for n in range(10)] == [True] * 8 + [False] * 2
    assert roll.refused == 2


def test_one_host_may_answer_for_all_that_is_asked_for() -> None:
    # As a router does that answers for what is behind it (proxy ARP).
    roll = Roll()

    assert all(roll.add(host(n), mac(1), asked=True) for n in range(5000))


def test_of_a_host_64_addresses_are_believed_that_were_not_asked_for() -> None:
    roll = Roll()

    told = [roll.add(host(n), mac(1), asked=False) for n in range(100)]

    assert told == [True] * 64 + [False] * 36
    assert roll.add(host(5000), mac(1), asked=True)
    assert roll.refused == 36


def test_of_all_hosts_65536_addresses_are_believed_that_were_not_asked_for() -> None:
    roll = Roll()

    assert sum(roll.add(host(n), mac(n), asked=False) for n in range(70_000)) == 65_536
    assert roll.add(host(80_000), mac(80_000), asked=True)


@pytest.fixture
def cable(veth: tuple[str, str]) -> tuple[str, str]:
    """Two ends: at one a host, at the other nobody."""
    near, far = veth
    links.set_address(near, "02:00:00:00:00:01")
    links.add_address(near, "10.68.0.1/28")
    Path(f"/proc/sys/net/ipv6/conf/{near}/disable_ipv6").write_text("0")
    links.add_address(near, f"{OURS}/64")
    return near, far


async def flooded(
    scan: aioprocket.Scan, far: str, forge: Callable[[bytes], list[bytes]], count: int
) -> set[aioprocket.Neighbour]:
    """What a scan finds where each frame that comes to ``far`` is answered by those of ``forge``.

    It ends when ``count`` answers were taken note of.
    """
    found: set[aioprocket.Neighbour] = set()

    async def listen() -> None:
        async with scan:
            async for neighbour in scan:
                found.add(neighbour)

    async with aioprocket.open_packet(far) as channel, anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        while len(found) + scan.strays < count:
            with anyio.move_on_after(0.01):
                packet = await channel.receive()
                await channel.send_batch(forge(bytes(packet)))
        tasks.cancel_scope.cancel()
    return found


@pytest.mark.netns
@pytest.mark.anyio
async def test_a_flood_of_forged_arp_is_counted(cable: tuple[str, str]) -> None:
    near, far = cable

    def forge(frame: bytes) -> list[bytes]:
        header, rest = EthernetHeader.parse(frame)
        if header.protocol != ARP:
            return []
        question, _ = ArpPacket.parse(rest)
        if str(question.target_ip) != "10.68.0.5":
            return []
        strangers = [_answer(question, f"10.69.0.{n}", mac(n)) for n in range(60)]
        return strangers + [_answer(question, "10.68.0.5", mac(n)) for n in range(60)]

    scan = aioprocket.scan(near, "10.68.0.4/30", timeout=30.0)
    found = await flooded(scan, far, forge, 120)

    assert {str(neighbour.ip) for neighbour in found} == {"10.68.0.5"}
    assert len(found) <= 8
    assert len(found) + scan.strays == 120


@pytest.mark.netns
@pytest.mark.anyio
async def test_who_claims_the_address_of_a_group_is_counted_and_not_believed(
    cable: tuple[str, str],
) -> None:
    near, far = cable
    groups = ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05", "00:00:00:00:00:00"]

    def forge(frame: bytes) -> list[bytes]:
        header, rest = EthernetHeader.parse(frame)
        if header.protocol != ARP:
            return []
        question, _ = ArpPacket.parse(rest)
        if str(question.target_ip) != "10.68.0.5":
            return []
        return [_answer(question, "10.68.0.5", hwaddr) for hwaddr in (*groups, mac(5))]

    scan = aioprocket.scan(near, "10.68.0.4/30", timeout=30.0)
    found = await flooded(scan, far, forge, 4)

    assert {(str(neighbour.ip), neighbour.hwaddr) for neighbour in found} == {("10.68.0.5", mac(5))}
    assert scan.strays == 3


def _answer(question: ArpPacket, ip: str, hwaddr: str) -> bytes:
    answer = ArpPacket(
        operation=Operation.REPLY,
        sender_mac=hwaddr,
        sender_ip=ipaddress.IPv4Address(ip),
        target_mac=question.sender_mac,
        target_ip=question.sender_ip,
    )
    header = EthernetHeader(destination=question.sender_mac, source=mac(1), protocol=ARP)
    return header.emit(answer.emit())


@pytest.mark.netns
@pytest.mark.anyio
async def test_a_flood_of_forged_echo_replies_is_counted(cable: tuple[str, str]) -> None:
    near, far = cable

    def forge(frame: bytes) -> list[bytes]:
        header, rest = EthernetHeader.parse(frame)
        if header.protocol != IPV6:
            return []
        ip, message = IPv6Header.parse(rest)
        if (ip.source, ip.destination, message[0]) != (OURS, ALL_NODES, 128):
            return []
        echo, _ = Echo.parse(message, 6)
        return [_echo(echo, header.source, number) for number in range(100)]

    scan = aioprocket.scan(near, family=6, timeout=30.0)
    found = await flooded(scan, far, forge, 100)

    assert {neighbour.hwaddr for neighbour in found} == {mac(7)}
    assert (len(found), scan.strays) == (64, 36)


def _echo(question: Echo, near_mac: str, number: int) -> bytes:
    source = ipaddress.IPv6Address(int(OURS) + 100 + number)
    echo = Echo(identifier=question.identifier, sequence=1, reply=True, version=6)
    ip = IPv6Header(source=source, destination=OURS, next_header=58, hop_limit=255)
    header = EthernetHeader(destination=near_mac, source=mac(7), protocol=IPV6)
    return header.emit(ip.emit(echo.emit(source=source, destination=OURS)))
