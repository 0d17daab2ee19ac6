"""A broker beset by clients that do anything at any moment, under the sanitizers.

They make system calls of their own, so it is built without its filter of system calls.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from helper_c.builds import SANITIZERS, compile_c, sources
from helper_client import Kind, hello, open_request
from lab.brokers import Broker, connect, running_broker, wait_for
from lab.must import require

# A broker is a service of the machine: it needs accounts beside that of its client.
pytestmark = [pytest.mark.netns, pytest.mark.realroot, pytest.mark.timeout(180)]

# A longer one by hand: AIOPROCKET_STORM=50
ACTS = 500 * int(os.environ.get("AIOPROCKET_STORM", "1"))
# What a client may get whose session has ended, or whose queue is full.
REFUSED = (BrokenPipeError, ConnectionResetError, BlockingIOError)
AT_ONCE = 60  # connections; helper/broker.c lets one account have 64


@pytest.fixture(scope="module")
def folder(stage: Path) -> Iterator[Path]:
    made = stage / "storm"
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def sanitized(folder: Path) -> list[str]:
    options = (*SANITIZERS, "-DAIOPROCKET_WITHOUT_SECCOMP")
    helper = compile_c(require("gcc"), sources(), folder / "helper", *options)
    # There is no heap that could leak, and the search for leaks is by ptrace, which is forbidden.
    return [require("env"), "ASAN_OPTIONS=detect_leaks=0", str(helper)]


class Crowd:
    """Clients of one broker; what they do, and when, a seeded generator says."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self.broker = broker
        self.dice = random.Random(seed)
        self.lines: list[socket.socket] = []

    def act(self) -> None:
        acts: tuple[Callable[[], None], ...] = (
            self.come, self.come, self.come_and_go, self.leave, self.ask, self.talk_nonsense,
            self.pass_descriptors, self.never_listen, self.shut, self.signal_child, self.crowd_in,
        )  # fmt: skip
        with suppress(*REFUSED):
            self.dice.choice(acts)()
        while len(self.lines) > AT_ONCE:
            self.leave()

    def come(self) -> None:
        line = connect(self.broker.path)
        line.setblocking(False)
        self.lines.append(line)
        if self.dice.random() < 0.7:
            line.send(hello())

    def come_and_go(self) -> None:
        connect(self.broker.path).close()

    def someone(self) -> socket.socket:
        if not self.lines:
            self.come()
        return self.dice.choice(self.lines)

    def leave(self) -> None:
        line = self.someone()
        self.lines.remove(line)
        line.close()

    def ask(self) -> None:
        kind = self.dice.choice((Kind.PACKET, Kind.UDP4, Kind.RAW4, Kind.DEVICE))
        self.someone().send(open_request(kind, id=self.dice.randrange(1 << 16)))

    def talk_nonsense(self) -> None:
        longest = open_request(Kind.PACKET, filter=[(6, 0, 0, 1)] * 4096)
        message = bytearray(self.dice.choice((hello(), open_request(Kind.UDP4), longest)))
        for _ in range(self.dice.randint(1, 5)):
            message[self.dice.randrange(len(message))] = self.dice.randrange(256)
        self.someone().send(message[: self.dice.randint(0, len(message))])

    def pass_descriptors(self) -> None:
        line = self.someone()
        count = self.dice.choice((1, 2, 253))
        socket.send_fds(line, [open_request(Kind.PACKET)], [line.fileno()] * count)

    def never_listen(self) -> None:
        line = self.someone()
        for number in range(300):
            line.send(open_request(Kind.UDP4, id=number))

    def shut(self) -> None:
        self.someone().shutdown(self.dice.choice((socket.SHUT_RD, socket.SHUT_WR)))

    def signal_child(self) -> None:
        children = self.broker.children()
        if children:
            with suppress(ProcessLookupError):
                number = self.dice.choice((signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM))
                os.kill(self.dice.choice(children), number)

    def crowd_in(self) -> None:
        for line in [connect(self.broker.path) for _ in range(20)]:
            line.close()

    def close(self) -> None:
        """Let all of them go home."""
        while self.lines:
            self.leave()


def test_a_broker_beset_by_anything_serves_who_comes_next(
    sanitized: list[str], folder: Path
) -> None:
    # To a file, its children are not allowed to write a byte.
    reading, writing = os.pipe2(os.O_NONBLOCK)
    with (
        open(reading, "rb") as said,
        running_broker(sanitized, folder / "socket", stderr=writing) as broker,
    ):
        os.close(writing)
        with closing(Crowd(broker, seed=int(os.environ.get("AIOPROCKET_SEED", "1")))) as crowd:
            for _ in range(ACTS):
                crowd.act()
                assert broker.process.poll() is None
        wait_for(lambda: broker.children() == [])
        with broker.session() as client:
            client.granted(Kind.UDP4, port=53)
        wait_for(lambda: broker.children() == [])
        broker.process.send_signal(signal.SIGTERM)
        assert broker.process.wait(20) == 0
        # The children have the same standard error: none of them said anything, either.
        assert said.read() == b""


def test_it_ends_with_children_that_do_not_listen(sanitized: list[str], folder: Path) -> None:
    with (
        running_broker(sanitized, folder / "socket", stderr=subprocess.DEVNULL) as broker,
        closing(Crowd(broker, seed=2)) as crowd,
    ):
        for _ in range(20):
            crowd.come()
        wait_for(lambda: len(broker.children()) == 20)
        for _ in range(20):
            with suppress(*REFUSED):
                crowd.never_listen()
        for child in broker.children()[::2]:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
        broker.process.send_signal(signal.SIGTERM)

        assert broker.process.wait(30) == 0
