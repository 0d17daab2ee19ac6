"""The same way, by the tools that others made."""

import ipaddress
import re
import subprocess
from collections.abc import Iterator
from typing import Any, Literal

import pytest

import aioprocket
from lab.chain import Chain, chain
from lab.must import require
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

PATIENT = 20.0
NARROW = 1400


@pytest.fixture(scope="module")
def way() -> Iterator[Chain]:
    with chain(4) as made:
        with made.networks[1].entered():
            links.set_mtu("far", NARROW)
        with made.networks[2].entered():
            links.set_mtu("near", NARROW)
        yield made


def run(*command: str) -> str:
    path = require(command[0])
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, check=True)
    return done.stdout


def addresses_in(text: str) -> list[str]:
    """Of each line that begins with a number, the first address."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*\d+[?:]*\s+([0-9a-f.:]+)\b", line)
        if match and match[1] not in found:
            found.append(str(ipaddress.ip_address(match[1])))
    return found


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("method", "option"), [("icmp", "-I"), ("udp", "-U"), ("tcp", "-T")])
async def test_traceroute_finds_the_same_hops(
    way: Chain, version: Literal[4, 6], method: Any, option: str
) -> None:
    theirs = run("traceroute", "-n", option, "-w", "20", way.destination(version))

    ours = aioprocket.traceroute(way.destination(version), method=method, timeout=PATIENT)

    assert [str(hop.address) async for hop in ours] == addresses_in(theirs)


async def test_tracepath_finds_the_same_path_mtu(way: Chain) -> None:
    theirs = run("tracepath", "-n", way.destination())

    ours = await aioprocket.path_mtu(way.destination(), timeout=PATIENT)

    assert re.findall(r"Resume: pmtu (\d+)", theirs) == [str(ours.mtu)]
    assert ours.mtu == NARROW


async def test_arping_finds_the_same_hardware_address(way: Chain) -> None:
    theirs = run("arping", "-c", "1", "-I", "hop77", way.address(1))

    ours = await aioprocket.arp(way.address(1), timeout=PATIENT)

    assert ours is not None
    assert f"[{ours.hwaddr.upper()}]" in theirs
