"""That the benchmarks measure at all: what they say is for ``make bench``."""

import asyncio
import os
import shutil
import socket
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.peers import compile_peers
from benchmarks.receivers import RECEIVERS
from benchmarks.traffic import Traffic
from benchmarks.trials import Receiver, interleave

# It forces buffers, and rings of that size are locked memory.
pytestmark = [pytest.mark.netns, pytest.mark.realroot]

OWN = [name for name in RECEIVERS if name.startswith(("endpoint", "columns", "field", "iterate"))]
FRAMES = 20


@pytest.mark.asyncio
@pytest.mark.parametrize("name", OWN)
async def test_a_receiver_counts_every_frame(veth: tuple[str, str], name: str) -> None:
    near, far = veth
    async with RECEIVERS[name](far) as counted:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as tap:
            tap.bind((near, 0))
            for _ in range(FRAMES):
                tap.send(bytes.fromhex("02000000fefe02000000fefe88b5") + bytes(50))
        async with asyncio.timeout(30):
            while True:
                received, dropped, *_ = counted()
                if received >= FRAMES:
                    break
                await asyncio.sleep(0.01)
        assert (received, dropped) == (FRAMES, 0)


def test_a_trial_tells_what_was_sent_and_what_it_cost(
    veth: tuple[str, str], tmp_path: Path
) -> None:
    near, far = veth
    assert shutil.which("taskset")
    core = min(os.sched_getaffinity(0))
    peers = compile_peers(tmp_path)
    traffic = Traffic("one send() a frame", peers["stamper"], near, core)
    receivers = [
        Receiver.program("ring", peers["ring_counter"]),
        Receiver.python("endpoint", "endpoint-low-stamped"),
    ]
    measured = interleave(
        receivers, far, traffic, core=core, size=64, rate=1000, rounds=2, seconds=0.05
    )
    assert sorted(measured) == ["endpoint", "ring"]
    for several in measured.values():
        assert len(several.trials) == 2
        for trial in several.trials:
            assert trial.sent > 0
            assert 0 <= trial.lost <= trial.sent
            assert trial.cpu > 0


def test_a_missed_bound_is_said_in_the_row_and_in_the_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures.heading("Work")
    figures.row("slow", figures.within(2.0, 1.5))
    figures.row("quick", figures.at_least(2.0, 1.5))
    figures.summary()
    slow, quick, counted, *again = (
        line for line in capsys.readouterr().out.splitlines() if "1.5" in line or "Bounds" in line
    )
    assert "OVER" in slow
    assert "≥" in quick
    assert counted == "Bounds: 1 held, 1 missed"
    assert [line.split()[0] for line in again] == ["slow", "quick"]
