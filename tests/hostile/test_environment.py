"""What it is started with, and what its caller does to it while it runs."""

import ctypes
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from helper_client import (
    Kind,
    Mode,
    Session,
    Stage,
    hello,
    least_environment,
    open_request,
    run_helper,
)
from hostile.ways import (
    CAPABILITIES,
    ENDED_BY_CLIENT,
    SETUID,
    SUDO,
    Way,
    as_caller,
    become_caller,
    works,
)
from lab.brokers import Broker, running_broker, wait_for
from lab.must import require
from sandbox import kernel
from sandbox.accounts import NOBODY

NOT_STARTED, FAILED = 64, 71
EPERM = 1
MODES = {SETUID: Mode.SETUID, CAPABILITIES: Mode.CAPABILITIES, SUDO: Mode.SUDO}
MEM = open_request(Kind.DEVICE, device="mem")
LO4 = bytes([127, 0, 0, 1])


@contextmanager
def a_broker(way: Way, *prefix: str, **options: Any) -> Iterator[Broker]:
    """Another broker beside the one that runs, started in another way."""
    assert way.broker is not None
    helper = way.broker.process.args[0]  # type: ignore[index]
    path = way.broker.path.with_name("other")
    with running_broker([*prefix, helper], path, **options) as broker:  # type: ignore[list-item]
        os.chown(path, 0, NOBODY)
        yield broker


@contextmanager
def begun(way: Way, *prefix: str, **options: Any) -> Iterator[Session]:
    """A session with a helper, or with a broker, that another program executes."""
    if way.broker is None:
        with way.session(prefix=prefix, **options) as running:
            yield running
        return
    with a_broker(way, *prefix) as broker, Way(way.name, (), broker).session() as running:
        yield running


# A program that changes what is inherited and becomes the helper.
def python(code: str) -> tuple[str, ...]:
    program = (
        f"import os, resource, signal, sys, socket\n{code}\nos.execv(sys.argv[1], sys.argv[1:])"
    )
    return sys.executable, "-I", "-c", program


def _pipe(stack: ExitStack) -> int:
    reading, writing = os.pipe()
    stack.callback(os.close, writing)
    stack.callback(os.close, reading)
    return reading


def _file(stack: ExitStack, name: str) -> int:
    return stack.enter_context(open(name, "rb")).fileno()


def _terminal(stack: ExitStack) -> int:
    ours, theirs = pty.openpty()
    stack.callback(os.close, ours)
    stack.callback(os.close, theirs)
    return theirs


def _listener(stack: ExitStack) -> int:
    made = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    made.bind(f"\0aioprocket-hostile-{os.getpid()}")
    made.listen()
    return made.fileno()


def _socket(stack: ExitStack, family: int, type: int) -> int:
    return stack.enter_context(socket.socket(family, type)).fileno()


NO_SESSION: dict[str, Callable[[ExitStack], int]] = {
    "file": lambda stack: _file(stack, __file__),
    "null": lambda stack: _file(stack, "/dev/null"),
    "pipe": _pipe,
    "terminal": _terminal,
    "udp": lambda stack: _socket(stack, socket.AF_INET, socket.SOCK_DGRAM),
    "tcp": lambda stack: _socket(stack, socket.AF_INET, socket.SOCK_STREAM),
    "unconnected": lambda stack: _socket(stack, socket.AF_UNIX, socket.SOCK_SEQPACKET),
    "listening": _listener,
}


@pytest.mark.hostile(22)
@pytest.mark.parametrize("name", NO_SESSION)
def test_other_things_than_a_session_are_refused(started: Way, name: str) -> None:
    with ExitStack() as stack:
        standard_input = NO_SESSION[name](stack)
        command = list(started.command)
        assert run_helper(command, stdin=standard_input, preexec_fn=become_caller) == NOT_STARTED


@pytest.mark.hostile(58)
def test_without_an_argument_it_serves(started: Way) -> None:
    if started.name == SUDO:
        # sudo, of which it is the same file, does not start then; nothing is granted.
        with as_caller():
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with pair[0], pair[1]:
            command = [*python(_EXECUTE_WITHOUT), started.command[0]]
            assert run_helper(
                command, stdin=pair[1], preexec_fn=become_caller, stderr=subprocess.DEVNULL
            )
        return
    with started.session(prefix=python(_EXECUTE_WITHOUT)) as running:
        works(running)


_EXECUTE_WITHOUT = (
    "import ctypes\nnothing = (ctypes.c_char_p * 1)(None)\n"
    "ctypes.CDLL(None).execve(os.fsencode(sys.argv[1]), nothing, nothing)\nos._exit(99)"
)


@pytest.mark.hostile(59)
@pytest.mark.parametrize(
    "arguments",
    [["--broker"], ["--broker", "/tmp/none/x"], ["--broker", "/a", "/b"], [""], ["-h"],
     ["--", "--version"], ["--version", "--version"], ["x" * 100_000] * 10],
    ids=["passed", "broker", "two paths", "empty", "help", "dashes", "twice", "a megabyte"],
)  # fmt: skip
def test_arguments_are_refused(way: Way, helper_binary: Path, arguments: list[str]) -> None:
    with as_caller():
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command: list[str | Path] = [*way.command]
    prepare: Callable[[], None] | None = become_caller
    if way.broker is not None:
        # Root's to start, and still no other words than those it has.
        if arguments[0] == "--broker" and len(arguments) == 2:
            arguments = ["--broker", "relative"]
        command, prepare = [helper_binary], None
    with pair[0], pair[1]:
        assert (
            run_helper(
                [*command, *arguments],
                stdin=pair[1],
                preexec_fn=prepare,
                stderr=subprocess.DEVNULL,
                env=least_environment([*command, *arguments]),
            )
            == NOT_STARTED
        )


LIES = {
    "LD_PRELOAD": "/nowhere/preload.so", "LD_AUDIT": "/nowhere/audit.so",
    "LD_LIBRARY_PATH": "/nowhere/libraries", "LD_DEBUG": "all", "LD_DEBUG_OUTPUT": "/nowhere/debug",
    "LD_PROFILE": "libc.so.6", "GLIBC_TUNABLES": "glibc.malloc.check=3", "MALLOC_CHECK_": "3",
    "MALLOC_TRACE": "/nowhere/trace", "GCONV_PATH": "/nowhere/gconv", "LOCPATH": "/nowhere/locale",
    "TZ": ":/nowhere/zone", "TZDIR": "/nowhere/zones", "IFS": "/", "PATH": "/nowhere/bin",
    "LANG": "xx_XX.UTF-8", "LC_ALL": "../../nowhere", "NLSPATH": "/nowhere/%N",
    "ASAN_OPTIONS": "log_path=/nowhere/asan", "UBSAN_OPTIONS": "log_path=/nowhere/ubsan",
    "LISTEN_FDS": "1", "LISTEN_PID": "1", "NOTIFY_SOCKET": "/nowhere/notify",
    "HOSTALIASES": "/nowhere/hosts", "RESOLV_HOST_CONF": "/nowhere/host.conf",
    "TMPDIR": "/nowhere/tmp", "HOME": "/nowhere", "SUDO_UID": "0", "SUDO_GID": "0",
    "SUDO_USER": "root", "USER": "root", "AIOPROCKET_POLICY": "/nowhere/policy",
}  # fmt: skip


@pytest.mark.hostile(60)
def test_no_variable_has_an_effect(way: Way, tmp_path: Path) -> None:
    if way.broker is not None:
        lies = {key: value for key, value in LIES.items() if key != "SUDO_UID"}
        code = f"os.environ.clear(); os.environ.update({lies!r})"
        with begun(way, *python(code)) as running:
            works(running)
        return
    with way.session(greet=False, environment=LIES) as running:
        greeting = running.greeted()
        assert (greeting.mode, greeting.uid) == (MODES[way.name], NOBODY)
        works(running)


@pytest.mark.hostile(60)
def test_no_file_is_opened_because_of_a_variable(started: Way, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    # As root, that the bits of the file count; the account is that of nobody all the same.
    traced = [require("strace"), "-u", "nobody", "-f", "-o", str(trace), "-e", "trace=file"]
    with as_caller():
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for name, value in LIES.items():
        traced += ["-E", f"{name}={value}"]
    with pair[0], pair[1]:
        pair[0].settimeout(20)
        command = [*traced, *started.command]
        process: subprocess.Popen[bytes]
        process = subprocess.Popen(command, stdin=pair[1].fileno(), env={})
        pair[1].close()
        running = Session(pair[0], process)
        running.greeted()
        works(running)
        assert running.close() == ENDED_BY_CLIENT
    calls = trace.read_text()
    assert f'execve("{started.command[-1]}"' in calls
    # sudo looks for itself what it is told to; what it starts begins after its own name.
    of_helper = calls[calls.rindex(f'execve("{started.command[-1]}"') :]
    assert "/nowhere" not in of_helper.partition("\n")[2]


@pytest.mark.hostile(61)
def test_an_environment_of_any_form_is_put_away(way: Way) -> None:
    code = (
        "import ctypes\n"
        "words = [b'', b'=', b'x', b'SUDO_UID', b'\\xff=\\xff', b'LD_PRELOAD=/nowhere',"
        " b'PATH=/a', b'PATH=/b'] + [b'K%d=' % n + b'v' * 60000 for n in range(20)]"
        " + [b'SAME=1'] * 3000\n"
        "environment = (ctypes.c_char_p * (len(words) + 1))(*words, None)\n"
        "arguments = (ctypes.c_char_p * len(sys.argv))(*map(os.fsencode, sys.argv[1:]), None)\n"
        "ctypes.CDLL(None).execve(arguments[0], arguments, environment)\nos._exit(99)"
    )
    with begun(way, *python(code)) as running:
        works(running)


COMBINATIONS = [[fd for fd in range(3) if number >> fd & 1] for number in range(1, 8)]


@pytest.mark.hostile(62)
@pytest.mark.parametrize("closed", COMBINATIONS, ids=str)
def test_closed_standard_descriptors_become_no_session(way: Way, closed: list[int]) -> None:
    close = "".join(f"os.close({fd})\n" for fd in closed)
    if way.broker is not None:
        with begun(way, *python(close)) as running:
            works(running)
            targets = _standard(way, running)
            assert not any(target.startswith("socket:") for target in targets)
        return
    if 0 in closed:
        with as_caller():
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with pair[0], pair[1]:
            run = [*python(close), *way.command]
            # Without standard error, sudo itself gives up.
            assert run_helper(run, stdin=pair[1], preexec_fn=become_caller) in (NOT_STARTED, 1)
        return
    with way.session(prefix=python(close)) as running:
        works(running)
        assert not any(target.startswith("socket:") for target in _standard(way, running))


def _standard(way: Way, running: Session) -> list[str]:
    """What standard output and standard error are."""
    pid = running.process.pid if way.broker is not None else way.worker(running)
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (1, 2)]


@pytest.mark.hostile(63)
def test_full_pipes_as_its_outputs_hold_nothing_up(way: Way) -> None:
    code = (
        "reading, writing = os.pipe()\nos.set_blocking(writing, False)\n"
        "try:\n  while os.write(writing, bytes(4096)): pass\nexcept BlockingIOError: pass\n"
        "os.set_blocking(writing, True)\nos.dup2(writing, 1); os.dup2(writing, 2)\n"
        "os.set_inheritable(reading, True)"
    )
    with begun(way, *python(code)) as running:
        works(running)
        assert running.open(Kind.PACKET, interface="nosuch0").stage is Stage.INTERFACE


@pytest.mark.hostile(64)
@pytest.mark.parametrize("mask", [0, 0o777])
def test_umask_and_a_folder_that_is_gone_have_no_effect(
    way: Way, tmp_path: Path, mask: int
) -> None:
    gone = f"/tmp/aioprocket-gone-{os.getpid()}"
    code = f"os.mkdir({gone!r}); os.chdir({gone!r}); os.rmdir({gone!r}); os.umask({mask})"
    with begun(way, *python(code)) as running:
        works(running)
        pid = running.process.pid if way.broker is not None else way.worker(running)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert "Umask:\t0077\n" in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.hostile(65)
def test_signals_and_timers_that_it_inherits_are_put_right(way: Way) -> None:
    code = (
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "for each in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP,"
        " signal.SIGINT): signal.signal(each, signal.SIG_IGN)\n"
        "signal.setitimer(signal.ITIMER_VIRTUAL, 600)\nsignal.alarm(600)"
    )
    if way.name == SUDO:
        code = code.replace("signal.SIG_BLOCK, signal.valid_signals()", "signal.SIG_BLOCK, []")
    with begun(way, *python(code)) as running:
        works(running)
        # Its child is awaited, though it was told to ignore children.
        with open("/proc/self/ns/net", "rb") as host:
            running.open(Kind.PACKET, [host.fileno()], namespace=True)
        pid = way.worker(running) if way.broker is None else running.process.pid
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        ignored = int(status["SigIgn"], 16) & ~(0b11 << 31)  # libc's own (nptl(7))
        expected = 1 << signal.SIGPIPE - 1
        if way.broker is not None:
            expected |= 1 << signal.SIGXFSZ - 1
        assert ignored == expected


@pytest.mark.hostile(65)
def test_an_alarm_of_its_caller_does_not_reach_it(started: Way) -> None:
    with started.session(prefix=python("signal.setitimer(signal.ITIMER_REAL, 0.3)")) as running:
        if started.name == SUDO:
            running.process.wait(20)  # sudo's alarm is sudo's
            return
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(0.6)
        works(running)


LIMITS = {
    "NOFILE": 3, "NPROC": 0, "AS": 1 << 20, "STACK": 8 << 10, "FSIZE": 0, "CPU": 1, "DATA": 0,
    "MEMLOCK": 0, "CORE": resource.RLIM_INFINITY, "SIGPENDING": 0, "MSGQUEUE": 0,
}  # fmt: skip


@pytest.mark.hostile(68)
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_survived_or_is_a_clean_end(started: Way, name: str) -> None:
    limit = getattr(resource, f"RLIMIT_{name}")
    value = LIMITS[name]
    hard = resource.getrlimit(limit)[1]
    both = (value, value) if hard < 0 or 0 <= value <= hard else (hard, hard)

    def restrict() -> None:
        resource.setrlimit(limit, both)

    with started.session(greet=False, preexec=restrict) as running:
        try:
            running.send(hello())
        except BrokenPipeError:
            return
        reply = running.receive()
        if reply is None:
            return
        assert reply.refusal == (Stage.OK, 0)
        assert running.open(Kind.PACKET).stage in (Stage.OK, Stage.SOCKET)
        assert running.ask(MEM).fd == -1


@pytest.mark.hostile(68)
@pytest.mark.parametrize("name", LIMITS)
def test_a_broker_under_a_limit_serves_or_ends(
    of_broker: Way, helper_binary: Path, name: str
) -> None:
    limit = getattr(resource, f"RLIMIT_{name}")
    value = LIMITS[name]
    path = of_broker.running.path.with_name("limited")
    process = subprocess.Popen(
        [str(helper_binary), "--broker", str(path)],
        preexec_fn=lambda: resource.setrlimit(limit, (value, value) if value >= 0 else (0, 0)),
        stderr=subprocess.DEVNULL,
        env={},
    )
    try:
        wait_for(lambda: process.poll() is not None or path.exists())
        if process.poll() is None:
            os.chown(path, 0, NOBODY)
            with as_caller(), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
                line.settimeout(1)  # without a descriptor to spare, it takes nobody
                try:
                    line.connect(str(path))
                    line.send(MEM)
                    line.recv(96)
                except OSError:
                    pass
    finally:
        process.terminate()
        process.wait(20)
    assert process.returncode in (0, NOT_STARTED, FAILED, -signal.SIGKILL, -signal.SIGSEGV,
                                  -signal.SIGXCPU, -signal.SIGTERM)  # fmt: skip


@pytest.mark.hostile(69)
def test_where_nothing_can_be_gained_nothing_is_given(started: Way) -> None:
    def forbid() -> None:
        if started.name == SUDO:
            become_caller()
        assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS

    if started.name == SUDO:
        with as_caller():
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with pair[0], pair[1]:
            status = run_helper(
                [*started.command],
                stdin=pair[1],
                stderr=subprocess.DEVNULL,
                preexec_fn=forbid,
            )
            assert status == 1  # sudo's own word
        return
    with started.session(greet=False, preexec=forbid) as running:
        greeting = running.greeted()
        assert (greeting.mode, greeting.capabilities) == (Mode.PLAIN, 0)
        assert greeting.state & 1
        assert running.open(Kind.PACKET).refusal == (Stage.SOCKET, EPERM)


@pytest.mark.hostile(69)
def test_on_a_file_system_without_such_bits_it_has_no_privilege(bits: Way) -> None:
    folder = str(Path(bits.command[0]).parent)

    def remount() -> None:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount(folder, folder, None, kernel.MS_BIND)
        # MS_NOSUID
        kernel.mount(None, folder, None, kernel.MS_BIND | kernel.MS_REMOUNT | 2)

    with bits.session(greet=False, before=remount) as running:
        greeting = running.greeted()
        assert (greeting.mode, greeting.capabilities) == (Mode.PLAIN, 0)
        assert running.open(Kind.PACKET).refusal == (Stage.SOCKET, EPERM)
