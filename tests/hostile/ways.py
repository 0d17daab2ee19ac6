"""The helper in each way in which an ordinary account has one, and that account's sessions.

The account is nobody; the test itself stays root, and so can look into the helper's process.
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from helper_client import Kind, Reason, Session, Stage, hello, session
from lab.accounts import run_unprivileged
from lab.brokers import Broker, BrokerSession, connect, wait_for
from sandbox import kernel
from sandbox.accounts import NOBODY

__all__ = (
    "BROKER",
    "CAPABILITIES",
    "ENDED_BY_CLIENT",
    "ENDED_BY_HELPER",
    "SETUID",
    "STARTED",
    "STRANGER",
    "SUDO",
    "WAYS",
    "Way",
    "as_account",
    "as_caller",
    "become_caller",
    "descriptors",
    "resident",
    "works",
)

T = TypeVar("T")
SETUID, CAPABILITIES, SUDO, BROKER = "setuid", "capabilities", "sudo", "broker"
STARTED: Final = (SETUID, CAPABILITIES, SUDO)  # by the caller: the others are there before
WAYS: Final = (*STARTED, BROKER)
STRANGER: Final = 61002  # an account beside the caller's
ENDED_BY_CLIENT, ENDED_BY_HELPER = 0, 1  # helper/PROTOCOL.md


@dataclass(frozen=True)
class Way:
    """One of them: how it is started, or the broker that runs."""

    name: str
    command: tuple[str, ...]
    broker: Broker | None = None

    @property
    def running(self) -> Broker:
        """The broker, where that is the way."""
        assert self.broker is not None
        return self.broker

    @contextmanager
    def session(
        self,
        *,
        greet: bool = True,
        prefix: Sequence[str] = (),
        pair: tuple[socket.socket, socket.socket] | None = None,
        before: Callable[[], object] | None = None,
        preexec: Callable[[], object] | None = None,
        groups: Sequence[int] = (),
        **options: Any,
    ) -> Iterator[Session]:
        """A session of the account, which has these supplementary groups.

        ``prefix`` is a program that executes the helper; ``before`` is called as root and
        ``preexec`` as the account, in the process that becomes the helper. A broker has none.
        """
        if self.broker is not None:
            with self._connected(self.broker, greet, groups) as running:
                yield running
            return

        def prepare() -> None:
            if before is not None:
                before()
            become_caller(groups)
            if preexec is not None:
                preexec()

        if pair is None:
            with as_caller(groups):
                pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [*prefix, *self.command]
        with session(command, greet=greet, pair=pair, preexec=prepare, **options) as running:
            yield running

    @contextmanager
    def _connected(self, broker: Broker, greet: bool, groups: Sequence[int]) -> Iterator[Session]:
        with as_caller(groups):
            line = connect(broker.path)
        running = BrokerSession(line, broker.process)
        try:
            if greet:
                running.greeted()
            yield running
        finally:
            running.close()
            wait_for(lambda: broker.children() == [])

    def worker(self, running: Session) -> int:
        """The process that serves this session, which was greeted and is the only one."""
        if self.broker is not None:
            return self.broker.only_child()
        return _last_below(running.process.pid)

    def ended(self, running: Session, *statuses: int) -> None:
        """The session's process must have ended, or end now; of a broker's child nothing more."""
        if self.broker is not None:
            running.line.close()
            wait_for(lambda: self.broker is None or self.broker.children() == [])
            return
        assert running.close() in statuses

    def refuses(self, message: bytes, fds: Sequence[int] = (), *, greet: bool = True) -> None:
        """The message gets no descriptor and no further word; the session ends."""
        with self.session(greet=greet) as running:
            running.send(message, fds)
            reply = running.receive()
            if reply is not None:
                assert reply.stage is Stage.DECODE, reply
                assert running.receive() is None
            self.ended(running, ENDED_BY_HELPER)

    def serves(self) -> None:
        """It is as before: a new session is welcome."""
        with self.session(greet=False) as running:
            assert running.ask(hello()).refusal == (Stage.OK, 0)


def works(running: Session) -> None:
    """It grants what it should, and nothing else."""
    running.granted(Kind.PACKET)
    denied = running.open(Kind.PACKET, mark=1)
    assert (denied.stage, denied.detail) == (Stage.POLICY, Reason.MARK)
    running.release()


def as_account(function: Callable[[], T]) -> T:
    """Call it in a child that is the account; see `lab.accounts`."""
    return run_unprivileged(function, change_account=True)


def become_caller(groups: Sequence[int] = ()) -> None:
    """For good, in a child."""
    os.setgroups(groups)
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    kernel.set_dumpable()


@contextmanager
def as_caller(groups: Sequence[int] = ()) -> Iterator[None]:
    """Sockets that are made meanwhile are the account's: SO_PEERCRED takes the effective ids."""
    own = os.getgroups()
    os.setgroups(groups)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(own)
        kernel.set_dumpable()


def descriptors(pid: int) -> list[str]:
    """What a process has open, and does not close while it is looked at."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(fd))
    return sorted(found)


def resident(pid: int) -> int:
    """Bytes of memory that a process has written to, shared with children or not."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    [size] = [int(line.split()[1]) for line in lines if line.startswith("Anonymous:")]
    return size * 1024


def _last_below(pid: int) -> int:
    """Behind sudo, and behind the watcher of its terminal."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found[-1]
