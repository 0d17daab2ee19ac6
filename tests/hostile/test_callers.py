"""What its caller does to it while it runs."""

import ctypes
import os
import random
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import Kind, Session, Stage, hello, open_request
from hostile.ways import (
    CAPABILITIES,
    SETUID,
    SUDO,
    Way,
    as_account,
    descriptors,
    works,
)
from lab.brokers import wait_for
from lab.must import unavailable
from sandbox import kernel
from sandbox.accounts import NOBODY

EPERM = 1
MEM = open_request(Kind.DEVICE, device="mem")
# linux/ptrace.h; the number of the call is that of every machine of today
PTRACE_SEIZE, PTRACE_ATTACH = 0x4206, 16
SYS_PIDFD_GETFD: Final = 438


STORM = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGSTOP, signal.SIGCONT,
         signal.SIGALRM, signal.SIGUSR1, signal.SIGPIPE, signal.SIGCHLD)  # fmt: skip


@pytest.mark.hostile(66)
def test_a_storm_of_signals_brings_nothing_that_is_not_granted(way: Way) -> None:
    chance = random.Random(3)
    # With its command, sudo stops itself, and then waits for its terminal's shell.
    storm = [each for each in STORM if way.name != SUDO or each != signal.SIGSTOP]
    for _ in range(20):
        with way.session(greet=False) as running:
            for message in (hello(), MEM, MEM, MEM):
                with_signal = chance.choice(storm)
                for pid in _processes(way, running):
                    _signal_as_account(pid, with_signal)
                    _signal_as_account(pid, signal.SIGCONT)
                try:
                    running.send(message)
                    reply = running.receive()
                except (BrokenPipeError, ConnectionResetError):
                    break
                if reply is None:
                    break
                assert reply.fd == -1
                assert reply.stage in (Stage.OK, Stage.POLICY)
    way.serves()


def _signal_as_account(pid: int, number: int) -> None:
    """By the account's own rights, which a helper's caller has over it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.setresuid(NOBODY, NOBODY, 0)
    try:
        libc.kill(pid, number)
    finally:
        assert libc.setresuid(0, 0, 0) == 0
        kernel.set_dumpable()


def _stop(pid: int) -> None:
    """Or it might start another process between the look at its children and its end."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: _state(pid) in "TtZX")


def _state(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return stat.rpartition(")")[2].split()[0]


def _processes(way: Way, running: Session, *, stopped: bool = False) -> list[int]:
    if way.broker is not None:
        return way.broker.children()
    found = [running.process.pid]
    for each in found:
        if stopped:
            _stop(each)
        try:
            children = Path(f"/proc/{each}/task/{each}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += map(int, children)
    return found


@pytest.mark.hostile(67)
def test_killed_at_any_moment_it_leaves_nothing(way: Way, tun_device: Path) -> None:
    chance = random.Random(4)
    count = 30 if way.name == SUDO else 60
    for _ in range(count):
        with way.session(greet=False) as running:
            if way.broker is not None:
                wait_for(way.broker.children)
            running.send(hello())
            running.send(open_request(Kind.TUN, interface="aio6", up=True))
            deadline = chance.random() * 0.004
            running.line.settimeout(deadline + 0.0001)
            _wait_a_moment(running)
            for pid in reversed(_processes(way, running, stopped=True)):
                os.kill(pid, signal.SIGKILL)
            running.line.settimeout(20)
            while running.receive() is not None:
                pass
            running.line.close()
            running.release()
            if way.broker is not None:
                wait_for(lambda: way.running.children() == [])
            else:
                running.process.wait(20)
        wait_for(lambda: "aio6" not in [name for _, name in socket.if_nameindex()])
    way.serves()


def _wait_a_moment(running: Session) -> None:
    """Until the line's timeout, or both replies."""
    for _ in range(2):
        try:
            if running.receive() is None:
                return
        except TimeoutError:
            return


@pytest.mark.hostile(72)
def test_its_caller_cannot_look_into_it_or_take_from_it(way: Way) -> None:
    with way.session() as running:
        pid = way.worker(running)
        assert as_account(lambda: _intrude(pid)) == INTRUSIONS
        works(running)


INTRUSIONS = {
    "mem": EPERM, "maps": EPERM, "fd": EPERM, "environ": EPERM, "auxv": EPERM, "syscall": EPERM,
    "attach": EPERM, "seize": EPERM, "getfd": EPERM, "read": EPERM, "write": EPERM,
}  # fmt: skip


def _intrude(pid: int) -> dict[str, int]:
    libc = ctypes.CDLL(None, use_errno=True)
    found = {}
    for name in ("mem", "maps", "fd", "environ", "auxv", "syscall"):
        try:
            with (
                open(f"/proc/{pid}/{name}", "rb")
                if name != "fd"
                else os.scandir(f"/proc/{pid}/fd") as opened
            ):
                if name != "fd":
                    opened.read(1)  # type: ignore[union-attr]
            found[name] = 0
        except PermissionError:
            found[name] = EPERM

    def tried(name: str, result: int) -> None:
        found[name] = 0 if result >= 0 else ctypes.get_errno()

    nothing = ctypes.c_void_p(None)
    tried("attach", libc.ptrace(PTRACE_ATTACH, pid, nothing, nothing))
    tried("seize", libc.ptrace(PTRACE_SEIZE, pid, nothing, nothing))
    with open(os.pidfd_open(pid), "rb", buffering=0) as process:
        tried("getfd", libc.syscall(SYS_PIDFD_GETFD, process.fileno(), 0, 0))
    local = ctypes.create_string_buffer(8)
    here = (ctypes.c_size_t * 2)(ctypes.addressof(local), 8)
    there = (ctypes.c_size_t * 2)(0x400000, 8)
    tried("read", libc.process_vm_readv(pid, here, 1, there, 1, 0))
    tried("write", libc.process_vm_writev(pid, here, 1, there, 1, 0))
    return found


@pytest.mark.hostile(72)
def test_it_leaves_no_core(way: Way) -> None:
    with way.session() as running:
        pid = way.worker(running)
        limits = Path(f"/proc/{pid}/limits").read_text()
        [core] = [line for line in limits.splitlines() if line.startswith("Max core")]
        assert core.split()[4:6] == ["0", "0"]
        if way.name in (SETUID, CAPABILITIES):
            as_account(lambda: os.kill(pid, signal.SIGSEGV))
            _, status = os.waitpid(running.process.pid, 0)
            running.process.returncode = os.waitstatus_to_exitcode(status)
            assert os.WTERMSIG(status) == signal.SIGSEGV
            assert not os.WCOREDUMP(status)


@pytest.mark.hostile(73)
def test_its_caller_makes_it_slow_before_it_starts_and_not_later(way: Way) -> None:
    def slow(pid: int) -> None:
        os.setpriority(os.PRIO_PROCESS, pid, 19)
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))

    with way.session(preexec=lambda: slow(0)) as running:
        pid = way.worker(running)
        if way.broker is None:
            assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        # It has rights that the caller has not: they protect it.
        with pytest.raises(PermissionError):
            as_account(lambda: slow(pid))
        works(running)


@pytest.mark.hostile(73)
def test_frozen_it_waits_and_goes_on(way: Way) -> None:
    with way.session() as running, _frozen_group() as freeze:
        pid = way.worker(running)
        freeze.add(pid)
        try:
            freeze.set("FROZEN")
            running.send(open_request(Kind.TCP4, port=80))
        finally:
            freeze.set("THAWED")
        reply = running.receive()
        assert reply is not None
        assert reply.stage is Stage.OK
        freeze.release(pid)


class Freezer:
    """A control group that stops its processes: of version 1 or of version 2."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._group = root / f"aioprocket-{os.getpid()}"
        self._group.mkdir()

    def add(self, pid: int) -> None:
        (self._group / "cgroup.procs").write_text(str(pid))

    def release(self, pid: int) -> None:
        (self._root / "cgroup.procs").write_text(str(pid))

    def set(self, state: str) -> None:
        if (file := self._group / "freezer.state").exists():
            file.write_text(state)
            wait_for(lambda: file.read_text().strip() == state)
            return
        frozen = "1" if state == "FROZEN" else "0"
        (self._group / "cgroup.freeze").write_text(frozen)
        wait_for(lambda: f"frozen {frozen}" in (self._group / "cgroup.events").read_text())

    def remove(self) -> None:
        def removed() -> bool:
            try:
                self._group.rmdir()
            except OSError:  # of a process that ends at this moment
                return False
            return True

        wait_for(removed)


@contextmanager
def _frozen_group() -> Iterator[Freezer]:
    roots = (Path("/sys/fs/cgroup/freezer"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    for root in roots:
        try:
            made = Freezer(root)
        except OSError:
            continue
        try:
            yield made
        finally:
            made.remove()
        return
    unavailable("cgroups", "no control group can be made here")


@pytest.mark.hostile(74)
def test_what_its_caller_takes_from_it_is_his_own(way: Way) -> None:
    with way.session() as running:
        pid = way.worker(running)
        before = descriptors(pid)
        as_account(lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3)))
        for kind in (Kind.PACKET, Kind.RAW4, Kind.TCP4, Kind.UDP6):
            fields: dict[str, Any] = {"protocol": 1} if kind is Kind.RAW4 else {}
            fields |= {"port": 80} if kind in (Kind.TCP4, Kind.UDP6) else {}
            refused = running.open(kind, **fields)
            assert refused.stage is Stage.SOCKET
        assert descriptors(pid) == before
    way.serves()
