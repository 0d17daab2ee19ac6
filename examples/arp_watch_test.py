"""A program's own test, for everybody's pytest: `arp_watch.py` on a network that the test makes."""

import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

import aioprocket
from aioprocket import testing
from aioprocket.wire.arp import ArpPacket
from aioprocket.wire.ethernet import EthernetHeader

PROGRAM = Path(__file__).with_name("arp_watch.py")
TO_ALL = "ff:ff:ff:ff:ff:ff"


@pytest.fixture
def network() -> Iterator[testing.Network]:
    try:
        with testing.network() as network:
            yield network
    except testing.NetworkUnavailableError as reason:
        pytest.skip(f"{reason}: {reason.hint}")


def announcement(ip: str, mac: str) -> bytes:
    address = ipaddress.IPv4Address(ip)
    arp = ArpPacket(operation=1, sender_mac=mac, sender_ip=address, target_ip=address)
    return EthernetHeader(destination=TO_ALL, source=mac, protocol=0x0806).emit(arp.emit())


async def announce(host: testing.Host, ip: str, *macs: str) -> None:
    async with aioprocket.open_packet(host.interface, helper=host.helper) as channel:
        for mac in macs:
            await channel.send(announcement(ip, mac))


def test_address_that_moves_is_told_of(network: testing.Network) -> None:
    near, far = network
    command = [sys.executable, str(PROGRAM), near.interface, "--count=2", f"--helper={near.helper}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "watching eth0\n"
            anyio.run(announce, far, "192.0.2.9", "02:00:00:00:00:09", "02:00:00:00:00:0a")
            said, _ = program.communicate(timeout=30)
        finally:
            program.kill()

    assert program.returncode == 0
    assert said.splitlines() == [
        "192.0.2.9 is 02:00:00:00:00:09",
        "192.0.2.9: 02:00:00:00:00:09 became 02:00:00:00:00:0a",
    ]
