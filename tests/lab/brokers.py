"""A broker for a test, and sessions with it."""

import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from helper_client import SESSION_TIMEOUT, Kind, Session, Stage, hello

__all__ = (
    "GRANTED",
    "NOT_STARTED",
    "OF_ONE",
    "POLICY_REFUSED",
    "Broker",
    "BrokerSession",
    "connect",
    "greets",
    "is_closed",
    "pass_listener",
    "running_broker",
    "wait_for",
)

OF_ONE: Final = 64  # connections, helper/broker.c
NOT_STARTED: Final = 64  # its status, helper/PROTOCOL.md
POLICY_REFUSED: Final = (Stage.POLICY, errno.EPERM)

# Of the built-in set, which a broker grants to everybody.
GRANTED: Final[list[tuple[Kind, dict[str, Any]]]] = [
    (Kind.PACKET, {"interface": "lo", "lock": True}),
    (Kind.RAW4, {"protocol": socket.IPPROTO_ICMP}),
    (Kind.RAW6, {"protocol": socket.IPPROTO_ICMPV6}),
    (Kind.TCP4, {"port": 80, "backlog": 1}),
    (Kind.UDP6, {"port": 53}),
]


class BrokerSession(Session):
    """A session whose end is not the broker's."""

    def close(self) -> int:
        self.line.close()
        self.release()
        return 0


@dataclass(frozen=True)
class Broker:
    """One that runs: its process, and the path of its socket."""

    process: "subprocess.Popen[bytes]"
    path: Path

    def children(self) -> list[int]:
        """The processes that serve its clients."""
        pid = self.process.pid
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    def only_child(self) -> int:
        """The one that serves the only session there is, once those of earlier ones are gone."""
        wait_for(lambda: len(self.children()) == 1)
        return self.children()[0]

    @contextmanager
    def session(self, *, greet: bool = True) -> Iterator[Session]:
        """A session of this process with it."""
        running = BrokerSession(connect(self.path), self.process)
        try:
            if greet:
                running.greeted()
            yield running
        finally:
            running.close()


def connect(path: Path) -> socket.socket:
    """A connection, without a word; the caller's to close."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # Blocking: else it fails while the queue is full.
        line.connect(str(path))
        line.settimeout(SESSION_TIMEOUT)
    except BaseException:
        line.close()
        raise
    return line


def greets(broker: Broker) -> bool:
    """Whether it serves a client that comes now."""
    with broker.session(greet=False) as client:
        return client.ask(hello()).refusal == (Stage.OK, 0)


def is_closed(line: socket.socket) -> bool:
    """Wait for the broker's end of a connection; false if it says something instead."""
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


@contextmanager
def running_broker(
    helper: Path | Sequence[str | Path], path: Path, *, stderr: Any = None
) -> Iterator[Broker]:
    """A broker of its own that makes its socket, and ends with the block."""
    command = [helper] if isinstance(helper, Path) else list(helper)
    process = subprocess.Popen([*command, "--broker", str(path)], env={}, stderr=stderr)
    with _ended(process):
        wait_for(lambda: process.poll() is not None or _answers(path))
        assert process.poll() is None
        running = Broker(process, path)
        wait_for(lambda: running.children() == [])  # but for the one that answered
        yield running


@contextmanager
def pass_listener(helper: Path, listener: socket.socket, **changed: str) -> Iterator[Broker]:
    """A broker that is passed its socket, as systemd does it; ``changed`` are variables."""

    def prepare() -> None:
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.dup2(listener.fileno(), 3)  # inheritable

    environment = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "broker"} | changed
    # A shell knows its own pid, which stays that of the program it becomes.
    become = f'LISTEN_PID="${{FORGED:-$$}}" exec {helper} --broker'
    process = subprocess.Popen(
        ["/bin/sh", "-c", become],
        env=environment,
        preexec_fn=prepare,
        pass_fds=[3] if listener.fileno() == 3 else [],
        close_fds=False,
        stderr=subprocess.PIPE,
    )
    with _ended(process):
        yield Broker(process, Path(str(listener.getsockname())))


@contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(SESSION_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stderr is not None:
                process.stderr.close()


def _answers(path: Path) -> bool:
    try:
        line = connect(path)
    except OSError:
        return False
    with line:
        line.send(hello())
        return bool(line.recv(96))


def wait_for(condition: Callable[[], object]) -> None:
    """Until the condition holds, which must come."""
    deadline = time.monotonic() + SESSION_TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.01)
