"""How ``aioprocket sniff`` ends where something is against it."""

import os
import re
import resource
import select
import signal
from pathlib import Path

import pytest

from aioprocket.pcapng import Reader
from lab import traffic
from lab.sniffing import environment, send_datagrams, sniffing, wait_until

pytestmark = pytest.mark.netns

FLOOD = 60_000  # packets, more than pipe and ring have room for


def number_of(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.M)
    return int(found[1].replace(",", "")) if found else 0


def test_of_a_flood_that_nobody_reads_every_packet_is_accounted_for(
    veth: tuple[str, str],
) -> None:
    sender, receiver = veth
    reading, writing = os.pipe()
    try:
        with sniffing("-i", receiver, stdout=writing) as sniffer:
            os.close(writing)
            with traffic.flood(sender, FLOOD, size=1000) as child:
                assert child.wait(45) == 0
            # The pipe is full, and so is the ring. Whoever reads now gets whole lines.
            sniffer.process.send_signal(signal.SIGINT)
            with os.fdopen(reading, "rb", closefd=False) as pipe:
                lines = pipe.read().decode().splitlines()
            assert sniffer.finish() == 0
    finally:
        os.close(reading)
    packets = number_of(r"^([\d,]+) packets", sniffer.err)
    dropped = number_of(r"^([\d,]+) dropped by the kernel", sniffer.err)
    hidden = number_of(r" ([\d,]+) not printed", sniffer.err)

    assert dropped > 0
    assert packets == len(lines) + hidden
    assert all(line.endswith(" (1000)") for line in lines)
    # What was neither read nor dropped is still in the ring.
    assert packets + dropped < FLOOD
    assert re.search(r" [\d.]+ MB left unread", sniffer.err)


def test_output_that_is_stuck_does_not_keep_it_from_ending() -> None:
    reading, writing = os.pipe()
    try:
        with sniffing("-i", "lo", "-x", stdout=writing) as sniffer:
            os.set_blocking(reading, False)
            send_datagrams(200, size=1000)
            wait_until(lambda: select.select((), (writing,), (), 0)[1] == [], "a full pipe")
            assert sniffer.end() == 0
    finally:
        os.close(reading)
        os.close(writing)

    assert " not printed, for nobody read on" in sniffer.err


def test_reader_that_goes_away_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    try:
        with sniffing("-i", "lo", stdout=writing) as sniffer:
            os.close(reading)
            while sniffer.process.poll() is None:
                send_datagrams(10)
    finally:
        os.close(writing)

    assert sniffer.process.returncode == 0
    assert "Traceback" not in sniffer.err
    assert "Broken" not in sniffer.err


def test_no_room_for_the_output_is_said() -> None:
    with open("/dev/full", "wb") as full, sniffing("-i", "lo", stdout=full) as sniffer:
        while sniffer.process.poll() is None:
            send_datagrams(10)

    assert sniffer.process.returncode == 2
    assert "standard output: No space left on device (ENOSPC)" in sniffer.err.splitlines()[-1]


def test_full_disk_is_the_reason_and_every_packet_is_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "full.pcapng"

    def limit() -> None:  # as of a small disk, for what this process writes
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    # Nor does it leave a module compiled in part.
    unwritten = environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    with sniffing("-i", "lo", "-w", str(path), preexec_fn=limit, env=unwritten) as sniffer:
        wait_until(lambda: send_datagrams(50, size=800) and sniffer.process.poll(), "its end")
    packets = number_of(r"^([\d,]+) packets,", sniffer.err)
    written = number_of(r"^([\d,]+) packets written to", sniffer.err)
    failed = number_of(r"; ([\d,]+) not written: File too large \(EFBIG\)", sniffer.err)
    slow = number_of(r"; ([\d,]+) not written: what takes them", sniffer.err)

    assert sniffer.process.returncode == 2
    with Reader(path) as reader:
        assert written == len(reader.read(10_000)) > 40
        assert not reader.truncated
    assert packets == written + failed + slow
    assert sniffer.err.splitlines()[-1].startswith("ulimit -f ")


def test_disk_without_any_room_is_the_reason() -> None:
    with sniffing("-i", "lo", "-w", "/dev/full") as sniffer:
        wait_until(lambda: send_datagrams(1) and sniffer.process.poll(), "its end")

    assert sniffer.process.returncode == 2
    assert re.search(
        r"^0 packets written to /dev/full; [\d,]+ not written: No space left on device \(ENOSPC\)$",
        sniffer.err,
        re.M,
    )
    assert sniffer.err.splitlines()[-1].startswith("what was written before can be read; ")


def test_nobody_sniffs_by_the_helper(is_root: bool, unprivileged_helper: Path) -> None:
    helper = f"--helper={unprivileged_helper}"
    with sniffing("-i", "lo", "-c", "1", helper, as_nobody=is_root) as sniffer:
        send_datagrams(1)
        assert sniffer.finish() == 0

    assert "UDP len 5" in sniffer.lines[0]


@pytest.mark.realroot
def test_who_may_not_is_told_and_how_to_change_it() -> None:
    with sniffing("-i", "lo", as_nobody=True, ready="") as sniffer:
        assert sniffer.finish() == 2

    assert "Traceback" not in sniffer.err
    assert "own rights" in sniffer.err or "permitted" in sniffer.err.lower()
    assert "aioprocket" in sniffer.err.splitlines()[-1]
