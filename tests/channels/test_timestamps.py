"""When packets came, by which clock; compared with what another program says of the same ones."""

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from aioprocket import Channel, StampInfo
from aioprocket._system import options
from channels.rig import Cable, cable, frame, number, open_packet, tap
from lab.must import require
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

FRAMES = 50
_PCAP = struct.Struct("=I20x")
_NANOSECONDS = 0xA1B23C4D  # pcap-savefile(5)
_RECORD = struct.Struct("=4I")


async def until_stamped_on_arrival(wire: Cable) -> None:
    """Wait until the kernel stamps what comes: that begins some time after somebody wanted it."""
    with anyio.fail_after(20):
        # Not by a ring: the kernel stamps for it what nobody has stamped before.
        async with open_packet(wire.ifname, ring=False) as witness:
            while True:
                wire.send(0)
                await witness._readiness.wait_readable()
                now = time.time_ns()
                if (await witness.receive()).timestamp_ns <= now:
                    return


@contextmanager
def tcpdump(ifname: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The program, which writes the next frames on an interface and ends after them."""
    command = [require("tcpdump"), "-i", ifname, "-j", "host", "--time-stamp-precision=nano"]
    # A small snapshot length: frames get slots of that size, and there are few large ones.
    command += ["-s", "128", "--immediate-mode", "-Z", "root", "-n", "-c", str(FRAMES), "-w", "-"]
    command += ["ether proto 0x88b5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if b"listening on" in line:
                    break
            yield process
        finally:
            process.kill()


def stamps(pcap: bytes) -> dict[int, int]:
    """When each frame came, by its number."""
    assert _PCAP.unpack_from(pcap)[0] == _NANOSECONDS
    found = {}
    at = _PCAP.size
    while at < len(pcap):
        seconds, nanoseconds, length, _ = _RECORD.unpack_from(pcap, at)
        at += _RECORD.size
        found[number(pcap[at : at + length])] = seconds * 10**9 + nanoseconds
        at += length
    return found


@pytest.mark.realroot  # tcpdump sets its groups, which a user namespace does not allow
@pytest.mark.parametrize("ring", [True, False], ids=["ring", "queue"])
async def test_stamps_are_those_that_tcpdump_sees(veth: tuple[str, str], ring: bool) -> None:
    with cable(veth, ring=ring) as wire:
        await until_stamped_on_arrival(wire)
        with tcpdump(wire.ifname) as program:
            wire.send(*range(1, FRAMES + 1))
            mine: dict[int, int] = {}
            with anyio.fail_after(20):
                while len(mine) < FRAMES:
                    packet = await wire.channel.receive()
                    if number(packet):
                        mine[number(packet)] = packet.timestamp_ns
            theirs = stamps(program.communicate(timeout=20)[0])

    assert mine == theirs
    assert len(set(mine.values())) > 1


@pytest.mark.parametrize("ring", [True, False], ids=["ring", "queue"])
async def test_columns_of_a_batch_have_the_same_stamps(veth: tuple[str, str], ring: bool) -> None:
    with cable(veth, ring=ring) as wire, anyio.fail_after(20):
        wire.send(*range(10))
        batch = await anext(wire.channel.batches())

        assert batch.timestamps_ns.tolist() == [packet.timestamp_ns for packet in batch]
        assert all(batch.timestamps_ns)


async def test_a_channel_says_which_stamps_it_has(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        assert wire.channel.timestamping == StampInfo(
            "software", "realtime", frozenset({"software", "sched"}), None
        )
        assert (await wire.channel.send_stamped(frame(1))).clock == wire.channel.timestamping[1]


async def test_what_depends_on_the_way_of_a_packet_is_not_said() -> None:
    async with Channel.from_fd(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as channel:
        assert channel.timestamping == StampInfo(None, None, None, None)
        options.enable_timestamps(channel._port.sock)  # type: ignore[arg-type]
        assert channel.timestamping == StampInfo("software", "realtime", None, None)


async def test_where_there_are_no_stamps_there_are_none() -> None:
    with tap() as wire:
        wire.send(1)
        with anyio.fail_after(20):
            packet = await wire.channel.receive()

        assert packet.timestamp_ns == 0
        assert wire.channel.timestamping == StampInfo(None, None, frozenset(), None)


async def test_a_removed_interface_has_no_stamps_to_tell_of(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        links.delete_link(veth[0])
        with pytest.raises(OSError, match="No such device"):
            _ = wire.channel.timestamping
    with pytest.raises(OSError, match="closed"):
        _ = wire.channel.timestamping
