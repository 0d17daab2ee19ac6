"""The helper's session: how it starts, what ends it, what it never does."""

import errno
import os
import pty
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import pytest

import golden
from golden import Golden
from helper_client import Kind, Session, Stage, hello, open_request, run_helper, session
from lab.must import require
from sandbox import kernel

pytestmark = pytest.mark.netns

EPERM, EPROTO = 1, 71
ENDED_BY_CLIENT, ENDED_BY_HELPER, NOT_STARTED = 0, 1, 64
LONGEST: Final = 200 + 4096 * 8
ANSWERS = {"none": None, "decode": Stage.DECODE, "version": Stage.VERSION}
ITIMER_MOMENT: Final = 0.2


def test_hello_tells_the_versions_and_the_caller(helper_binary: Path) -> None:
    with session(helper_binary, greet=False) as helper:
        greeting = helper.ask(hello(id=0xFFFFFFFF))
        assert (greeting.op, greeting.id) == (1, 0xFFFFFFFF)
        assert (greeting.lowest, greeting.highest) == (1, 1)
        assert greeting.uid == os.getuid()


@pytest.mark.parametrize("message", golden.faulty("request"), ids=golden.name_of)
def test_a_fault_of_form_is_answered_and_ends_the_session(
    helper_binary: Path, message: Golden
) -> None:
    with session(helper_binary) as helper:
        helper.send(message.data)
        stage = ANSWERS[message["answer"]]
        if stage is not None:
            reply = helper.receive()
            assert reply is not None
            assert reply.refusal == (stage, EPROTO)
        assert helper.receive() is None
        assert helper.close() == ENDED_BY_HELPER


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["-x" * 5000, ""]], ids=["none", "one", "long"]
)
@pytest.mark.parametrize("stdin", ["nothing", "terminal", "stream"])
def test_who_starts_it_by_hand_is_told_what_it_is(
    helper_binary: Path, arguments: list[str], stdin: str
) -> None:
    with ExitStack() as stack:
        given: int | IO[bytes] = subprocess.DEVNULL
        if stdin == "terminal":
            ends = pty.openpty()
            for end in ends:
                stack.callback(os.close, end)
            given = ends[1]
        elif stdin == "stream":
            pair = [stack.enter_context(each) for each in socket.socketpair()]
            given = pair[0].fileno()
        done = subprocess.run(
            [helper_binary, *arguments], stdin=given, capture_output=True, timeout=20, check=False
        )

    assert (done.returncode, done.stdout) == (NOT_STARTED, b"")
    assert done.stderr == (
        b"aioprocket-helper: programs start it, with a socket as standard input; "
        b"what works here: aioprocket doctor\n"
    )


@pytest.mark.parametrize("stderr", ["closed", "full pipe"])
def test_who_cannot_be_told_is_not_waited_for(helper_binary: Path, stderr: str) -> None:
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with open(writing, "wb", closefd=False, buffering=0) as pipe:
            while pipe.write(bytes(4096)) is not None:
                pass
        os.set_blocking(writing, True)
        redirected = 'exec "$0" --help' + (" 2>&-" if stderr == "closed" else "")
        command = ["/bin/sh", "-c", redirected, str(helper_binary)]
        assert run_helper(command, stdin=subprocess.DEVNULL, stderr=writing) == NOT_STARTED
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.realroot
def test_it_is_said_with_the_callers_own_rights(
    setuid_helper: Path, as_nobody: Callable[[Callable[[], Any]], Any], stage: Path
) -> None:
    said = stage / "said"
    said.touch()
    said.chmod(0o4666)

    def start() -> int:
        with said.open("ab") as file:
            return run_helper([setuid_helper, "--help"], stdin=subprocess.DEVNULL, stderr=file)

    assert as_nobody(start) == NOT_STARTED
    assert "aioprocket doctor" in said.read_text()
    # The kernel takes the bit off when somebody writes who is not privileged.
    assert said.stat().st_mode & 0o7777 == 0o666
    said.unlink()


@pytest.mark.parametrize("version", [0, 2, 65535])
def test_another_version_gets_the_range_that_is_spoken(helper_binary: Path, version: int) -> None:
    with session(helper_binary, greet=False) as helper:
        reply = helper.ask(hello(version=version))
        assert reply.refusal == (Stage.VERSION, EPROTO)
        assert (reply.lowest, reply.highest) == (1, 1)
        assert helper.receive() is None


@pytest.mark.parametrize(
    ("greet", "message"),
    [(False, open_request(Kind.PACKET)), (True, hello())],
    ids=["open before hello", "second hello"],
)
def test_messages_out_of_order_end_the_session(
    helper_binary: Path, greet: bool, message: bytes
) -> None:
    with session(helper_binary, greet=greet) as helper:
        assert helper.ask(message).refusal == (Stage.DECODE, EPROTO)
        assert helper.receive() is None


@pytest.mark.parametrize(
    ("message", "count"),
    [
        (hello(), 1),
        (open_request(Kind.PACKET), 1),
        (open_request(Kind.PACKET, namespace=True), 0),
        (open_request(Kind.PACKET, namespace=True), 2),
        (open_request(Kind.PACKET, namespace=True), 253),
    ],
    ids=["hello", "none wanted", "none brought", "two", "as many as the kernel takes"],
)
def test_descriptors_that_are_not_wanted_end_the_session(
    helper_binary: Path, message: bytes, count: int
) -> None:
    with (
        session(helper_binary, greet=message != hello()) as helper,
        open("/proc/self/ns/net", "rb") as namespace,
    ):
        assert helper.ask(message, [namespace.fileno()] * count).refusal == (Stage.DECODE, EPROTO)
        assert helper.receive() is None


def test_credentials_are_no_company_for_a_message(helper_binary: Path) -> None:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with session(helper_binary, greet=False, pair=pair) as helper:
        assert helper.ask(hello()).refusal == (Stage.DECODE, EPROTO)
        assert helper.receive() is None


def test_a_message_longer_than_any_request_is_a_fault(helper_binary: Path) -> None:
    with session(helper_binary) as helper:
        longest = bytearray(open_request(Kind.PACKET, filter=[(6, 0, 0, 0)] * 4096))
        assert len(longest) == LONGEST
        assert helper.ask(bytes(longest)).stage is Stage.OK
        assert helper.ask(bytes(longest + bytes(1))).refusal == (Stage.DECODE, EPROTO)
        assert helper.receive() is None


def test_a_refused_request_does_not_end_the_session(helper_binary: Path) -> None:
    with session(helper_binary) as helper:
        assert helper.open(Kind.DEVICE, device="mem").stage is Stage.POLICY
        assert helper.open(Kind.PACKET, interface="nosuch0").stage is Stage.INTERFACE
        helper.granted(Kind.PACKET)
        assert helper.close() == ENDED_BY_CLIENT


def test_requests_sent_ahead_are_answered_in_order(helper_binary: Path) -> None:
    with session(helper_binary) as helper:
        for number in range(16):
            helper.send(open_request(Kind.UDP4, id=number, address=b"\x7f\x00\x00\x01"))
        replies = [helper.receive() for _ in range(16)]
        assert [reply and reply.id for reply in replies] == list(range(16))
        ports = {reply.port for reply in replies if reply is not None}
        assert len(ports) == 16


@pytest.mark.parametrize("last", [None, b""], ids=["closed", "empty message"])
def test_the_helper_ends_with_its_client(helper_binary: Path, last: bytes | None) -> None:
    with session(helper_binary) as helper:
        if last is not None:
            helper.send(last)
            assert helper.receive() is None
        assert helper.close() == ENDED_BY_CLIENT


def test_a_client_that_only_reads_on_gets_its_last_reply(helper_binary: Path) -> None:
    with session(helper_binary) as helper:
        helper.send(open_request(Kind.PACKET))
        helper.line.shutdown(socket.SHUT_WR)
        reply = helper.receive()
        assert reply is not None
        assert reply.stage is Stage.OK
        assert helper.receive() is None
        assert helper.close() == ENDED_BY_CLIENT


def test_a_client_that_never_reads_is_left(helper_binary: Path) -> None:
    with session(helper_binary) as helper:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _send_for_ever(helper)
        assert helper.process.wait(20) == ENDED_BY_HELPER


def test_a_client_that_left_before_its_reply_is_no_trouble(helper_binary: Path) -> None:
    with session(helper_binary) as helper:
        for _ in range(16):
            helper.send(open_request(Kind.PACKET))
        assert helper.close() in (ENDED_BY_CLIENT, ENDED_BY_HELPER)


def test_a_killed_helper_is_the_end_of_the_session(helper_binary: Path) -> None:
    with session(helper_binary) as helper:
        helper.process.kill()
        assert helper.receive() is None
        assert helper.close() == -signal.SIGKILL


@pytest.mark.realroot  # which may look at a process that is not dumpable
def test_no_descriptor_stays_in_the_helper(helper_binary: Path) -> None:
    def held() -> list[str]:
        folder = f"/proc/{helper.process.pid}/fd"
        return [os.readlink(f"{folder}/{fd}") for fd in sorted(os.listdir(folder), key=int)]

    with (
        open("/proc/self/ns/net", "rb") as namespace,
        open("/dev/zero", "rb") as inherited,
        session(helper_binary, pass_fds=[inherited.fileno()]) as helper,
    ):
        before = held()
        assert len(before) == 3
        assert "/dev/zero" not in before
        for _ in range(100):
            os.close(helper.granted(Kind.PACKET).fd)
            os.close(helper.granted(Kind.TCP4, [namespace.fileno()], namespace=True).fd)
            assert helper.open(Kind.TCP4, interface="nosuch0").stage is Stage.INTERFACE
            helper.forget()
        assert held() == before


@pytest.mark.realroot
@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2)])
def test_standard_descriptors_that_are_closed_become_dev_null(
    helper_binary: Path, closed: tuple[int, ...]
) -> None:
    def close() -> None:
        for fd in closed:
            os.close(fd)

    with session(helper_binary, preexec=close) as helper:
        for fd in closed:
            assert os.readlink(f"/proc/{helper.process.pid}/fd/{fd}") == "/dev/null"


def test_what_it_inherits_is_put_right(helper_binary: Path, tmp_path: Path) -> None:
    def spoil() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.chdir(tmp_path)
        os.umask(0)

    with session(helper_binary, preexec=spoil) as helper:
        status = _status(helper.process.pid)
        assert status["SigBlk"] == status["SigCgt"] == "0" * 16
        # libc keeps signals 32 and 33 to itself, and refuses to touch them (nptl(7)).
        ignored = int(status["SigIgn"], 16) & ~(0b11 << 31)
        assert ignored == 1 << signal.SIGPIPE - 1
        assert status["Umask"] == "0077"
        helper.granted(Kind.PACKET)


def test_a_timer_that_it_inherits_is_stopped(helper_binary: Path) -> None:
    def arm() -> None:
        signal.setitimer(signal.ITIMER_REAL, ITIMER_MOMENT)

    with session(helper_binary, preexec=arm) as helper:
        with pytest.raises(subprocess.TimeoutExpired):
            helper.process.wait(3 * ITIMER_MOMENT)
        helper.granted(Kind.PACKET)


def test_privilege_is_put_down_before_the_first_request(helper_binary: Path) -> None:
    with session(helper_binary) as helper:
        status = _status(helper.process.pid)
        assert int(status["CapEff"], 16) == 0
        assert int(status["CapInh"], 16) == 0
        assert int(status["CapAmb"], 16) == 0
        assert int(status["CapBnd"], 16) == 0
        # CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN
        assert int(status["CapPrm"], 16) == 1 << 10 | 1 << 12 | 1 << 13 | 1 << 21
        assert status["NoNewPrivs"] == "1"
        helper.granted(Kind.PACKET)
        assert int(_status(helper.process.pid)["CapEff"], 16) == 0


def test_its_own_version_is_told_without_a_session(helper_binary: Path) -> None:
    told = subprocess.run(
        [helper_binary, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert told.stdout == b"aioprocket-helper, protocol 1\n"
    assert told.stderr == b""


def test_its_own_version_is_told_without_privilege(helper_binary: Path) -> None:
    traced = [require("strace"), "-e", "trace=prctl,write", str(helper_binary), "--version"]
    calls = subprocess.run(traced, capture_output=True, text=True, check=True).stderr
    before, told, _ = calls.partition('write(1, "aioprocket-helper')
    assert told
    assert "PR_SET_NO_NEW_PRIVS, 1" in before


@pytest.mark.hostile(70)
def test_an_id_that_has_no_name_here_is_nobodys(helper_binary: Path) -> None:
    # In a user namespace that maps none, everybody's id reads 65534: its own, the maker's.
    apart = partial(kernel.unshare, kernel.CLONE_NEWUSER)
    with session(helper_binary, greet=False, preexec=apart) as helper:
        assert helper.ask(hello()).refusal == (Stage.IDENTITY, errno.EPERM)
        assert helper.receive() is None


@pytest.mark.parametrize("error", ["EINVAL", "ENOSYS", "EPERM"])
def test_without_membarrier_it_sleeps(helper_binary: Path, tmp_path: Path, error: str) -> None:
    trace = tmp_path / "trace"
    options = ["-e", "trace=/membarrier|.*nanosleep|recvfrom", "-o", str(trace)]
    fault = ["-e", f"inject=membarrier:error={error}"]
    with session([require("strace"), *options, *fault, str(helper_binary)]) as helper:
        helper.granted(Kind.RAW4, protocol=1, address=bytes([127, 0, 0, 1]))
    calls = [line.split("(")[0] for line in trace.read_text().splitlines()]
    first = calls.index("membarrier")
    assert calls[first + 1].endswith("nanosleep")
    assert calls[first + 2] == "recvfrom"


@pytest.mark.parametrize(
    "arguments",
    [["--broker"], ["--version", "x"], [""], ["-h"], ["x" * 100_000]],
    ids=["broker", "two", "empty", "help", "long"],
)
def test_arguments_are_refused(helper_binary: Path, arguments: list[str]) -> None:
    with _seqpacket() as line:
        assert run_helper([helper_binary, *arguments], stdin=line) == NOT_STARTED


def _listening(stack: ExitStack) -> int:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.enter_context(listener).bind(f"\0aioprocket-test-{os.getpid()}")
    listener.listen()
    return listener.fileno()


def _pair(stack: ExitStack, type: int) -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, type)
    stack.enter_context(ours)
    return stack.enter_context(theirs).fileno()


def _pipe(stack: ExitStack) -> int:
    reading, writing = os.pipe()
    stack.callback(os.close, writing)
    stack.callback(os.close, reading)
    return reading


def _terminal(stack: ExitStack) -> int:
    ours, theirs = pty.openpty()
    stack.callback(os.close, ours)
    stack.callback(os.close, theirs)
    return theirs


def _file(stack: ExitStack, name: str) -> int:
    return stack.enter_context(open(name, "rb")).fileno()


def _socket(stack: ExitStack, family: int, type: int) -> int:
    return stack.enter_context(socket.socket(family, type)).fileno()


WRONG: dict[str, Callable[[ExitStack], int]] = {
    "file": lambda stack: _file(stack, __file__),
    "null": lambda stack: _file(stack, "/dev/null"),
    "namespace": lambda stack: _file(stack, "/proc/self/ns/net"),
    "pipe": _pipe,
    "terminal": _terminal,
    "stream": lambda stack: _pair(stack, socket.SOCK_STREAM),
    "datagram": lambda stack: _pair(stack, socket.SOCK_DGRAM),
    "udp": lambda stack: _socket(stack, socket.AF_INET, socket.SOCK_DGRAM),
    "tcp": lambda stack: _socket(stack, socket.AF_INET, socket.SOCK_STREAM),
    "unconnected": lambda stack: _socket(stack, socket.AF_UNIX, socket.SOCK_SEQPACKET),
    "listening": _listening,
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.hostile(22)
def test_other_things_than_a_session_are_refused(helper_binary: Path, name: str) -> None:
    with ExitStack() as stack:
        assert run_helper(helper_binary, stdin=WRONG[name](stack)) == NOT_STARTED


@pytest.mark.hostile(22)
def test_no_standard_input_at_all_is_refused(helper_binary: Path) -> None:
    assert run_helper(helper_binary, preexec_fn=lambda: os.close(0)) == NOT_STARTED


@pytest.mark.hostile(22)
def test_a_terminal_is_never_asked_by_ioctl(helper_binary: Path) -> None:
    traced = [require("strace"), "-f", "-e", "trace=ioctl", str(helper_binary)]
    with ExitStack() as stack:
        run = subprocess.run(
            traced, stdin=_terminal(stack), capture_output=True, text=True, check=False
        )
    assert f"exited with {NOT_STARTED}" in run.stderr
    assert "ioctl(" not in run.stderr


def _send_for_ever(helper: Session) -> NoReturn:
    while True:
        helper.send(open_request(Kind.DEVICE, device="mem"))


@contextmanager
def _seqpacket() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield theirs


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
