"""A policy that grants packets of one interface: what a channel for all says of it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import aioprocket
from aioprocket.bpf import Ancillary
from aioprocket.spec import Latency
from lab.policies import ACCOUNT, Policy, run_as

pytestmark = [pytest.mark.netns, pytest.mark.realroot]


@pytest.mark.parametrize("snaplen", [65535, 128])
@pytest.mark.parametrize("ring", [True, False])
@pytest.mark.parametrize("latency", ["balanced", "low"])
def test_the_channel_is_bound_to_the_only_interface_that_is_granted(
    policy: Policy, everybodys_helper: Path, snaplen: int, ring: bool, latency: Latency
) -> None:
    policy(f"uid={ACCOUNT} packet if=lo")

    async def opened() -> tuple[str | None, int, str]:
        async with aioprocket.open_packet(
            helper=str(everybodys_helper), snaplen=snaplen, ring=ring, latency=latency
        ) as channel:
            return channel.interface, channel.ifindex, channel.get_extra_info("sockname")[0]

    assert run_as(lambda: asyncio.run(opened()), ACCOUNT, ACCOUNT) == ("lo", 1, "lo")


def test_the_filter_that_the_policy_imposes_can_be_seen(
    policy: Policy, everybodys_helper: Path
) -> None:
    policy(f"uid={ACCOUNT} packet if=lo")

    async def opened() -> tuple[bool, list[int], bool, bool]:
        async with aioprocket.open_packet("lo", helper=str(everybodys_helper)) as channel:
            imposed = channel.attached_filter
            assert imposed is not None
            passing = [imposed.run(b"", ancillary=Ancillary(ifindex=index)) for index in (1, 2)]
            locked = "filter=locked" in repr(channel)
            return channel.filter is None, passing, channel.filter_locked, locked

    asked, (own, other), locked, shown = run_as(lambda: asyncio.run(opened()), ACCOUNT, ACCOUNT)

    assert asked
    assert own > 0 == other
    assert locked
    assert shown


def test_sniff_says_which_interface_it_is(policy: Policy, everybodys_helper: Path) -> None:
    policy(f"uid={ACCOUNT} packet if=lo")
    words = ("sniff", "--helper", str(everybodys_helper), "--duration", "0.1")
    command = [sys.executable, "-P", "-m", "aioprocket.cli", *words]

    def said(*more: str) -> str:
        run = subprocess.run([*command, *more], capture_output=True, text=True, check=True)
        return run.stderr.splitlines()[0]

    def all_said() -> list[str]:
        os.chdir("/")
        return [said(), said("-i", "lo")]

    assert run_as(all_said, ACCOUNT, ACCOUNT) == [
        "listening on lo, the only interface that the policy grants",
        "listening on lo",
    ]
