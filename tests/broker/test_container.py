"""A container: a user and a network namespace without any capability, and a broker's socket.

What it has of its own network there is what the broker opened for it.
"""

import asyncio
import errno
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import aioprocket
from aioprocket.helper import obtain
from aioprocket.spec import SocketSpec
from lab.accounts import Unprivileged
from lab.brokers import Broker, running_broker
from lab.must import require
from lab.policies import hide_etc, run_as
from sandbox import kernel, links
from sandbox.accounts import NOBODY

# A broker is a service of the machine: it needs accounts beside that of its client.
pytestmark = [pytest.mark.netns, pytest.mark.realroot]

PROJECT: Final = Path(__file__).parents[2]
LOCAL: Final = "127.0.0.1"
ECHO_REQUEST, ECHO_REPLY = 8, 0
MANY: Final = 16


@pytest.fixture
def broker(helper_binary: Path, stage: Path, is_root: bool) -> Iterator[Broker]:
    """With the capabilities that packaging/systemd gives it, and no more."""
    folder = stage / "containers"
    folder.mkdir(mode=0o755)
    unit = (PROJECT / "packaging/systemd/aioprocket.service").read_text()
    [names] = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    kept = ",".join(name.replace("CAP_", "+").lower() for name in names.split())
    command = [require("setpriv"), f"--bounding-set=-all,{kept}", str(helper_binary)]
    try:
        with running_broker(command, folder / "socket") as running:
            if is_root:
                os.chown(running.path, 0, NOBODY)
            yield running
    finally:
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()


def _become_container() -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    links.set_up("lo")
    kernel.drop_capabilities()
    assert kernel.effective_capabilities() == 0
    with pytest.raises(PermissionError):
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)


async def _ping_and_capture(helper: str) -> tuple[int, list[int]]:
    """How many echo replies came, and the types of ICMP that were seen on the wire."""
    async with (
        aioprocket.open_packet("lo", helper=helper) as wire,
        aioprocket.open_icmp(type="raw", helper=helper) as icmp,
    ):
        request = bytes([ECHO_REQUEST, 0, 0xF7, 0xFF, 0, 0, 0, 0])  # RFC 792; sum of this alone
        await icmp.sendto(request, (LOCAL, 0))
        replies = 0
        async with asyncio.timeout(30):
            while replies == 0:
                packet = await icmp.receive()
                replies += bytes(packet)[0] == ECHO_REPLY
            seen: list[int] = []
            while ECHO_REPLY not in seen:
                frame = bytes(await wire.receive())
                seen.append(frame[14 + 20])  # behind the headers of Ethernet and IPv4
        return replies, seen


def test_a_container_without_a_capability_pings_and_sees_its_own_traffic(
    broker: Broker, as_nobody: Unprivileged
) -> None:
    def contained() -> tuple[int, list[int]]:
        _become_container()
        return asyncio.run(_ping_and_capture(f"unix:{broker.path}"))

    replies, seen = as_nobody(contained)
    assert replies == 1
    assert {ECHO_REQUEST, ECHO_REPLY} <= set(seen)


def test_a_container_sees_nothing_of_the_host(
    broker: Broker, as_nobody: Unprivileged, veth: tuple[str, str]
) -> None:
    def contained() -> tuple[int | None, str, list[str]]:
        _become_container()
        helper = f"unix:{broker.path}"

        async def look() -> tuple[int | None, str]:
            try:
                async with aioprocket.open_packet(veth[0], helper=helper):
                    return None, ""
            except aioprocket.OpenError as error:
                return error.errno, str(error.step)

        return *asyncio.run(look()), [name for _, name in socket.if_nameindex()]

    number, step, names = as_nobody(contained)
    assert (number, step) == (errno.ENODEV, "interface")
    assert veth[0] not in names


def test_a_device_is_refused_in_words_that_help(broker: Broker, as_nobody: Unprivileged) -> None:
    def contained() -> str:
        _become_container()

        async def ask() -> str:
            try:
                async with aioprocket.open_tun(helper=f"unix:{broker.path}"):
                    return "granted"
            except aioprocket.NotPermittedError as error:
                return str(error)

        return asyncio.run(ask())

    assert "this kind is not granted" in as_nobody(contained)


@pytest.mark.realroot
def test_a_rule_names_a_container_by_its_account(broker: Broker) -> None:
    os.chown(broker.path, 0, 1234)
    helper = f"unix:{broker.path}"

    def here() -> list[str]:
        return [asyncio.run(_answer(helper, port)) for port in (53, 123)]

    def advice() -> str:
        _become_container()
        with pytest.raises(aioprocket.NotPermittedError) as caught:
            asyncio.run(_once(helper, 123))
        return caught.value.hint

    def contained() -> list[str]:
        _become_container()
        return here()

    with hide_etc() as etc:
        rules = "version 1\nallow gid=1234 udp port=53 netns=own\nallow gid=1234 udp port=123\n"
        (etc / "policy").write_text(rules)
        (etc / "policy").chmod(0o644)
        assert run_as(contained, 1000, 1000, [1234]) == ["granted", "refused: policy"]
        assert run_as(here, 1000, 1000, [1234]) == ["refused: policy", "granted"]
        # Inside it is root, to the broker it is not; and its network is not the broker's.
        assert "allow uid=1000 udp port=123 netns=own\n" in run_as(advice, 1000, 1000, [1234])


async def _answer(helper: str, port: int) -> str:
    try:
        await _once(helper, port)
    except aioprocket.NotPermittedError as error:
        return f"refused: {error.step}"
    return "granted"


async def _once(helper: str, port: int) -> None:
    spec = SocketSpec(
        family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_UDP, port=port
    )
    (await obtain(spec, helper=helper)).descriptor.close()


def test_many_at_a_time_from_one_container(broker: Broker, as_nobody: Unprivileged) -> None:
    def contained() -> int:
        _become_container()

        async def many() -> int:
            async def one() -> None:
                async with aioprocket.open_icmp(type="raw", helper=f"unix:{broker.path}"):
                    pass

            async with asyncio.TaskGroup() as tasks:
                made = [tasks.create_task(one()) for _ in range(MANY)]
            return len(made)

        return asyncio.run(many())

    assert as_nobody(contained) == MANY
