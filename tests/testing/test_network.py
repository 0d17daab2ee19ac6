"""Networks for an ordinary user, as a test of a program of his would use them."""

import asyncio
import errno
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aioprocket
from aioprocket import testing
from aioprocket.errors import SpecError
from lab.must import require
from sandbox import kernel

pytestmark = pytest.mark.netns

# A frame of a protocol for experiments, from the near host to all.
FRAME = bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(46)


async def one_ping(near: testing.Host, far: testing.Host) -> aioprocket.PingResult:
    return await aioprocket.ping(far.address, helper=near.helper, count=1, timeout=30)


@pytest.mark.anyio
async def test_frame_crosses_the_cable() -> None:
    with testing.network() as (near, far):
        ours = aioprocket.open_packet(near.interface, helper=near.helper)
        theirs = aioprocket.open_packet(far.interface, helper=far.helper, protocol=0x88B5)
        async with ours as sender, theirs as receiver:
            await sender.send(FRAME)
            packet = await receiver.receive()

            assert packet.data == FRAME
            assert (sender.hwaddr, receiver.hwaddr) == (near.hwaddr, far.hwaddr)


@pytest.mark.anyio
async def test_kernel_of_the_other_host_answers() -> None:
    with testing.network(["10.0.0.1/24"], ["10.0.0.2/24", "fd00::2/64"]) as (near, far):
        result = await one_ping(near, far)
        port = aioprocket.open(79, protocol="udp", ip=far.address, helper=far.helper)
        door = aioprocket.open(protocol="udp", ip=near.address, helper=near.helper)
        async with port as server, door as client:
            await client.sendto(b"who", (far.address, 79))
            packet = await server.receive()

    assert result.received == 1
    assert packet.data == b"who"
    assert packet.addr[0] == near.address == "10.0.0.1"


@pytest.mark.anyio
async def test_network_of_ipv6() -> None:
    with testing.network(["fd00::1/64"], ["fd00::2/64"]) as (near, far):
        async with aioprocket.Pinger(helper=near.helper) as pinger:
            result = await pinger.ping(far.address, count=1, timeout=30)

    assert result.received == 1


@pytest.mark.anyio
async def test_without_addresses_nothing_is_sent() -> None:
    with testing.network([], []) as (near, far):
        async with aioprocket.open_packet(far.interface, helper=far.helper) as receiver:
            async with aioprocket.open_packet(near.interface, helper=near.helper) as sender:
                await sender.send(FRAME)
            packet = await receiver.receive()

    assert near.address == ""
    assert packet.data == FRAME


@pytest.mark.anyio
async def test_one_helper_opens_many() -> None:
    with testing.network() as (near, _):
        async with aioprocket.Helper(near.helper) as helper:
            for port in (7, 9):
                async with aioprocket.open(port, protocol="udp", helper=helper) as channel:
                    assert channel.address[1] == port


@pytest.mark.anyio
async def test_networks_do_not_see_each_other() -> None:
    frames = [FRAME[:-1] + bytes([number]) for number in range(2)]
    with testing.network() as one, testing.network() as other:
        doors = [
            aioprocket.open_packet("eth0", helper=host.helper, protocol=0x88B5)
            for host in (one.far, other.far, one.near, other.near)
        ]
        async with doors[0] as here, doors[1] as there, doors[2] as first, doors[3] as second:
            await first.send(frames[0])
            await second.send(frames[1])
            seen = [(await channel.receive()).data for channel in (here, there)]

    assert seen == frames


@pytest.mark.realroot
@pytest.mark.anyio
async def test_root_may_enter_it_by_its_namespace() -> None:
    with testing.network() as (near, far):
        for host in (near, far):
            async with aioprocket.open_packet("eth0", namespace=host.namespace) as channel:
                assert channel.hwaddr == host.hwaddr
                assert channel.get_extra_info("origin") == "direct"


def test_program_that_knows_nothing_of_it_opens_there() -> None:
    command = [sys.executable, "-P", "-m", "aioprocket.cli", "ping", "-c1"]
    with testing.network() as (near, far):
        environment = os.environ | {"AIOPROCKET_HELPER": near.helper}
        done = subprocess.run(
            [*command, far.address], env=environment, capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stderr
    assert "1 received" in done.stdout


def test_command_runs_on_a_host() -> None:
    ping = require("ping")
    with testing.network() as (near, far):
        done = subprocess.run(near.command(ping, "-c1", far.address), stdout=-1, check=True)
        assert b" 0% packet loss" in done.stdout
        missing = subprocess.run(
            far.command("/nowhere/program"), capture_output=True, text=True, check=False
        )

    assert missing.returncode == 1
    assert missing.stderr == "/nowhere/program: No such file or directory\n"


def test_host_that_is_gone_says_so() -> None:
    with testing.network() as (near, _):
        pass
    done = subprocess.run(near.command("true"), capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("the network is gone, or not ours: ")


def test_user_without_any_privilege(as_nobody: Callable[[Callable[[], Any]], Any]) -> None:
    def frames() -> tuple[int, int, str]:
        async def count() -> tuple[int, str]:
            with testing.network() as (near, far):
                door = aioprocket.open_packet(far.interface, helper=far.helper)
                async with door as receiver:
                    result = await one_ping(near, far)
                    return result.received, str(receiver.get_extra_info("origin"))

        return kernel.effective_capabilities(), *asyncio.run(count())

    capabilities, received, origin = as_nobody(frames)

    assert (capabilities, received, origin) == (0, 1, "helper")


@pytest.mark.realroot
def test_owner_may_enter_it_by_an_installed_helper(
    as_nobody: Callable[[Callable[[], Any]], Any], setuid_helper: Path
) -> None:
    async def address() -> tuple[bytes | None, bytes]:
        with testing.network() as (_, far):
            door = aioprocket.open_packet("eth0", namespace=far.namespace, helper=setuid_helper)
            async with door as channel:
                return channel.hwaddr, far.hwaddr

    opened, expected = as_nobody(lambda: asyncio.run(address()))

    assert opened == expected


def test_holder_goes_with_who_wanted_it() -> None:
    code = """
from aioprocket import testing
with testing.network() as (near, far):
    print(near.namespace, flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as program:
        assert program.stdout is not None
        holder = int(program.stdout.readline().removeprefix("pid:"))
        watched = os.pidfd_open(holder)
        program.kill()
    try:
        assert select.select([watched], [], [], 30)[0]
    finally:
        os.close(watched)


REFUSED = """
import sys
from pathlib import Path
from aioprocket import testing
Path("/proc/sys/user/max_net_namespaces").write_text(sys.argv[1])
try:
    with testing.network():
        pass
except testing.NetworkUnavailableError as error:
    print(error.errno, error, error.hint, sep="|")
"""


@pytest.mark.parametrize("allowed", [0, 1])  # and there are two hosts
def test_user_who_may_not_have_one_is_told_so(allowed: int) -> None:
    unshare = require("unshare")
    # Of a user namespace of its own, whose limits it may set.
    done = subprocess.run(
        [unshare, "-Ur", sys.executable, "-c", REFUSED, str(allowed)],
        stdout=-1, stderr=-1, text=True, check=True,
    )  # fmt: skip

    number, message, hint = done.stdout.strip().split("|")
    assert int(number) == errno.ENOSPC
    assert message.endswith(": unshare: No space left on device")
    assert "as root" in hint
    assert done.stderr == ""


def test_address_that_is_none() -> None:
    with pytest.raises(SpecError, match=r"192\.0\.2\.1"), testing.network(["192.0.2.1"]):
        pass


def test_only_the_standard_library_is_needed_inside() -> None:
    with testing.network() as (near, _):
        words = near.command(sys.executable, "-c", "print('there')")
        assert subprocess.check_output(words, text=True) == "there\n"
        assert words[1] == "-IS"


@pytest.mark.anyio
@pytest.mark.usefixtures("ping_sockets")
async def test_pings_go_there_where_this_process_has_ping_sockets_of_its_own() -> None:
    with testing.network() as (near, far):
        result = await one_ping(near, far)
        async with aioprocket.open_icmp(helper=near.helper) as channel:
            origin = channel.get_extra_info("origin")

    assert (result.received, origin) == (1, "helper")


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["icmp", "udp", "tcp"])
async def test_traces_go_there(method: Any) -> None:
    with testing.network() as (near, far):
        found = aioprocket.traceroute(far.address, method=method, helper=near.helper, timeout=30)
        addresses = [str(hop.address) async for hop in found]

    assert (addresses, found.type) == ([far.address], "raw")


def test_an_interpreter_finds_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nonexistent/libraries")
    with testing.network() as (near, far):
        ask = "import os; print(os.environ['LD_LIBRARY_PATH'])"
        command = near.command(sys.executable, "-c", ask)
        said = subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout
        assert said == "/nonexistent/libraries\n"
        assert asyncio.run(one_ping(near, far)).received == 1
