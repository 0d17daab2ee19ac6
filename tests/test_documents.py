"""Documents are true: their programs run as they stand, their commands grant what they say."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.machine import write_sudoers
from lab.must import require
from lab.traffic import flood
from sandbox import kernel, links

PROJECT = Path(__file__).resolve().parents[1]
README, RECIPES, BY_HAND = (
    (PROJECT / name).read_text()
    for name in ("README.md", "examples/README.md", "packaging/GRANTS.md")
)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README + RECIPES, re.M | re.S)
# From the words in bold to the next block: none that is another way's.
GRANTS = re.findall(
    r"^\*\*([^*]+)\.\*\*(?:(?!\*\*|```).)*```console\n(.*?)^```$", BY_HAND, re.M | re.S
)


# What each program prints once it works, in the order in which they stand; and whether it goes on
# until it is interrupted.
SHOWN = [
    " 64 ",
    "PingerStats(",
    "",
    "that was ten",
    "it got b'a packet'",
    "reply from 127.0.0.1 b'hello'",
    "it matches: True",
    "1000 frames",
    "lost",
    "aioprocket_rx_packets_total{",
    "packets were kept, 0 lost",
    "<",
    "path MTU 65535",
    "that was everybody",
    "b'to the group'",
]
ENDLESS = {0, 2}


@pytest.fixture
def ethernet() -> Iterator[None]:
    """An ``eth0`` for the programs to name, with a neighbour that sends."""
    links.add_veth("eth0", "neighbour")
    try:
        for ifname in ("eth0", "neighbour"):
            links.disable_ipv6(ifname)
            links.set_up(ifname)
        yield
    finally:
        links.delete_link("eth0")


def test_documents_have_the_programs_that_are_tested() -> None:
    assert len(PROGRAMS) == len(SHOWN)
    assert len(GRANTS) == 3


@pytest.mark.netns
@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_program_of_a_document_runs_as_it_stands(
    number: int, ethernet: None, helper_binary: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS[number])
    environment = os.environ | {"AIOPROCKET_HELPER": str(helper_binary), "PYTHONUNBUFFERED": "1"}

    with (
        subprocess.Popen(
            [sys.executable, str(program)],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running,
        _killed_after(40, running),
        flood("neighbour", 40_000, per_second=800),
    ):
        shown = _until(running, SHOWN[number]) if SHOWN[number] else _fingered(running)
        if number in ENDLESS:
            running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)

    assert shown, errors
    if number in ENDLESS:
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
        assert "Warning" not in errors
    else:
        assert not errors


@contextmanager
def _killed_after(seconds: float, running: "subprocess.Popen[str]") -> Iterator[None]:
    """What would print nothing more would have the test wait for its next line."""
    deadline = threading.Timer(seconds, running.kill)
    deadline.start()
    try:
        yield
    finally:
        deadline.cancel()
        deadline.join()


def _until(running: "subprocess.Popen[str]", text: str) -> bool:
    assert running.stdout is not None
    return any(text in line for line in running.stdout)


def _fingered(running: "subprocess.Popen[str]") -> bool:
    """Ask the little server on port 79, as soon as it is there."""
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", 79)) == 0:
                return client.recv(100) == b"hello\n"
        if running.poll() is not None:
            return False
        time.sleep(0.05)
    return False


ASKING = """
import asyncio, os, sys
os.initgroups("alice", {gid}); os.setresgid({gid}, {gid}, {gid}); os.setresuid({uid}, {uid}, {uid})
import aioprocket

async def main():
    async with aioprocket.open_packet("lo", helper={helper}) as channel:
        print("granted", os.getuid(), channel.get_extra_info("origin"))

asyncio.run(main())
"""


@pytest.mark.netns
@pytest.mark.realroot
@pytest.mark.parametrize(("way", "commands"), GRANTS, ids=[way for way, _ in GRANTS])
def test_commands_by_hand_grant_what_they_say(way: str, commands: str, helper_binary: Path) -> None:
    require("setcap" if "capabilities" in way else "useradd")
    if way == "sudo":
        require("sudo")
    pid = os.fork()
    if pid == 0:
        os._exit(_grant_and_ask(way, commands, helper_binary))
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0


def _grant_and_ask(way: str, commands: str, helper_binary: Path) -> int:
    """In a mount namespace whose /etc and /usr/local take changes that go with it."""
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("tmpfs", "/mnt", "tmpfs", 0, "mode=0755")
        for lower in ("/etc", "/usr/local", "/var/spool"):
            upper, work = (Path("/mnt", lower.replace("/", "_") + kind) for kind in ("u", "w"))
            upper.mkdir()
            work.mkdir()
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            kernel.mount("overlay", lower, "overlay", 0, options)
        write_sudoers()
        # Who is root, here, needs no sudo for it.
        script = re.sub(r"(^\$ |\| )sudo ", lambda match: match[1], commands, flags=re.M)
        script = re.sub(r"^\$ ", "", script, flags=re.M)
        script = script.replace("python3 -P -m aioprocket.helper", f"echo {helper_binary}")
        setup = "umask 022; USER=alice; useradd --no-create-home alice\n"
        subprocess.run(["bash", "-euc", setup + script], check=True)
        uid, gid = map(
            int, subprocess.check_output(["bash", "-c", "id -u alice; id -g alice"]).split()
        )
        asking = ASKING.format(uid=uid, gid=gid, helper="'sudo'" if way == "sudo" else None)
        done = subprocess.run(
            [sys.executable, "-c", asking], stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout)
        return 0 if f"granted {uid}" in done.stdout and "direct" not in done.stdout else 1
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        return 1


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CONTRIBUTING.md"])
def test_paths_named_in_a_document_exist(name: str) -> None:
    text = (PROJECT / name).read_text()
    folders = "aioprocket|helper|native|tests|examples|demo|packaging"
    named = set(re.findall(rf"`((?:{folders})/[^`*…]*)`", text))

    assert named
    assert not [path for path in named if not (PROJECT / path).exists()]


def test_every_example_is_in_the_table_of_examples() -> None:
    there = {path.name for path in (PROJECT / "examples").glob("*.py")}

    assert set(re.findall(r"`(\w+\.py)`", RECIPES)) == there
