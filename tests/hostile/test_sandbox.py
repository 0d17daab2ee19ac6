"""What a helper that was taken over could still do: the calls and files of its task."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from helper_c.builds import HELPER, compile_c, pure_sources, sources
from helper_client import Kind, Session, Stage, hello, session
from lab.must import require, unavailable
from sandbox.namespaces import Namespace

SECCOMP, LANDLOCK = 4, 8  # helper/PROTOCOL.md, state
SYS_LANDLOCK_CREATE_RULESET: Final = 444
RETURNED_ERROR, RETURNED = 10, 11  # sandbox_main.c
HERE = Path(__file__).parent

PACKET, INET, INET6, NETLINK, UNIX = (
    socket.AF_PACKET, socket.AF_INET, socket.AF_INET6, 16, socket.AF_UNIX,
)  # fmt: skip
STREAM, DGRAM, RAW, OLD_PACKET = 1, 2, 3, 10
CLOEXEC_NONBLOCK = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
SOL_SOCKET, SOL_IP, SOL_IPV6 = 1, 0, 41
NEWNET, NEWUSER, NEWNS, VM, THREAD = 0x40000000, 0x10000000, 0x20000, 0x100, 0x10000
FORK = 0x01200000 | signal.SIGCHLD  # CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID

# With arguments that do nothing, so that each can be made for trial.
NO_FD = 0xFFFFFFFF
ALLOWED = [
    f"socket {PACKET} {RAW | CLOEXEC_NONBLOCK} 0",
    f"socket {PACKET} {DGRAM} 0",
    f"socket {INET} {RAW} 1",
    f"socket {INET6} {RAW} 255",
    f"socket {INET} {DGRAM} 1",
    f"socket {INET} {STREAM} 6",
    f"socket {INET6} {STREAM | CLOEXEC_NONBLOCK} 6",
    f"socket {NETLINK} {RAW} 0",
    f"socket {UNIX} {DGRAM | socket.SOCK_CLOEXEC} 0",
    f"setsockopt {NO_FD} {SOL_SOCKET} 36",  # SO_MARK
    f"setsockopt {NO_FD} {SOL_SOCKET} 26",  # SO_ATTACH_FILTER
    f"setsockopt {NO_FD} {SOL_SOCKET} 44",  # SO_LOCK_FILTER
    f"setsockopt {NO_FD} {SOL_IPV6} 26",  # IPV6_V6ONLY
    f"getsockopt {NO_FD} {SOL_SOCKET} 3",
    f"ioctl {NO_FD} 0x400454ca",  # TUNSETIFF
    f"ioctl {NO_FD} 0x8933",  # SIOCGIFINDEX
    f"ioctl {NO_FD} 0xb703",  # NS_GET_NSTYPE
    f"openat {NO_FD} 0 {os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC}",
    f"setns {NO_FD} {NEWNET}",
    f"bind {NO_FD}", f"listen {NO_FD}", f"close {NO_FD}", f"fstatfs {NO_FD}", f"write {NO_FD}",
    f"faccessat {NO_FD}",
    f"recvmsg {NO_FD}", f"sendmsg {NO_FD}", f"recvfrom {NO_FD}", f"sendto {NO_FD}",
    "capget", "capset", "membarrier 99", "restart_syscall",
]  # fmt: skip
# Not to be made for trial: it would succeed, or wait.
ALLOWED_ON_PAPER = [f"clone {FORK}", f"clone {int(signal.SIGCHLD)}", "exit_group 0", "wait4 -1"]
KILLED = [
    # Other kinds of sockets, and what is no kind: cases 36 and 39.
    f"socket {INET} {OLD_PACKET} 0x300",
    f"socket {INET} {OLD_PACKET | CLOEXEC_NONBLOCK} 0x300",
    f"socket {INET} 0 0",
    f"socket {INET} 4 0",
    f"socket {INET} {RAW} 256",
    f"socket {INET} {RAW | 0x100000} 1",
    f"socket {PACKET} {RAW} 3",
    f"socket {NETLINK} {RAW} 9",  # NETLINK_AUDIT
    f"socket {UNIX} {STREAM} 0",
    f"socket {UNIX} {RAW} 0",
    f"socket 38 {STREAM} 0",  # AF_ALG
    f"socket 40 {STREAM} 0",  # AF_VSOCK
    f"socket 44 {RAW} 0",  # AF_XDP
    f"socketpair {UNIX} {STREAM}",
    "connect", "accept4",
    # Options that a receiver must not find set.
    f"setsockopt {NO_FD} {SOL_SOCKET} 50",  # SO_ATTACH_BPF
    f"setsockopt {NO_FD} {SOL_SOCKET} 1",  # SO_DEBUG
    f"setsockopt {NO_FD} {SOL_IP} 19",  # IP_TRANSPARENT
    f"setsockopt {NO_FD} {SOL_IP} 26",  # as IPV6_V6ONLY, of another level
    f"setsockopt {NO_FD} {SOL_IPV6} 36",  # as SO_MARK, of another level
    f"setsockopt {NO_FD} 0x10001 36",
    f"getsockopt {NO_FD} {SOL_IP} 64",
    # ioctls: TIOCSTI, TIOCLINUX, SIOCSIFFLAGS, SIOCSIFNAME, SIOCGSKNS, TUNATTACHFILTER
    *(f"ioctl {NO_FD} {number:#x}" for number in
      (0x5412, 0x541C, 0x8914, 0x8923, 0x894C, 0x401054D5)),
    # Files that are made or changed, and ways around open.
    f"openat {NO_FD} 0 {os.O_RDWR | os.O_CREAT}",
    f"openat {NO_FD} 0 {os.O_WRONLY | os.O_TRUNC}",
    f"openat {NO_FD} 0 {os.O_RDWR | os.O_TMPFILE}",
    "openat2", "open_by_handle_at", "unlinkat", "symlinkat", "memfd_create", "mount",
    # Namespaces but networks, and processes but a fork.
    f"setns {NO_FD} 0", f"setns {NO_FD} {NEWNS}", f"setns {NO_FD} {NEWUSER}",
    f"setns {NO_FD} {NEWNET | NEWNS}", f"unshare {NEWUSER}", f"unshare {NEWNET}",
    f"clone {NEWUSER | signal.SIGCHLD}", f"clone {VM | signal.SIGCHLD}", f"clone {VM | THREAD}",
    "clone3", "execve", "execveat",
    # Memory that could be executed.
    "mmap 0 4096 7 34 -1", "mmap 0 4096 1 34 -1", "mprotect 0 4096 5", "brk", "shmget",
    "userfaultfd",
    # Others, and what made kernels fall.
    "kill 1 0", "tgkill 1 1 0", "ptrace", "process_vm_readv", "pidfd_open 1", "pidfd_getfd",
    "setuid 0", "setresuid 0 0 0", "prctl 4 1", "seccomp 1", "keyctl", "bpf", "perf_event_open",
    "io_uring_setup 1", "finit_module", "reboot", "syslog", "read 0", f"dup {NO_FD}",
    f"fcntl {NO_FD} 0", "no_such_call",
]  # fmt: skip
X86_64 = os.uname().machine == "x86_64"
KILLED_X86_64 = ["open 0 0x241", "vfork", "iopl 3", "modify_ldt 1", "x32_sendmsg"]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trial(require("gcc"), tmp_path_factory.mktemp("trial"))


def _trial(compiler: str, folder: Path, *options: str) -> Path:
    files = [HERE / "sandbox_main.c", HELPER / "landlock.c", *pure_sources()]
    return compile_c(compiler, files, folder / "trial", "-O1", "-Wno-conversion", *options)


def _ask(command: list[str | Path], calls: list[str]) -> list[str]:
    run = subprocess.run(
        command, input="\n".join(calls) + "\n", capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run
    return run.stdout.splitlines()


def _live(trial: Path, what: str, call: str) -> int:
    return subprocess.run([trial, what], input=f"{call}\n", text=True, check=False).returncode


@pytest.mark.hostile(36)
@pytest.mark.hostile(39)
@pytest.mark.parametrize("call", [*KILLED, *(KILLED_X86_64 if X86_64 else [])])
def test_a_call_that_is_not_of_its_task_kills_it(trial: Path, call: str) -> None:
    assert _live(trial, "live", call) == -signal.SIGSYS


@pytest.mark.parametrize("call", ALLOWED)
def test_a_call_of_its_task_comes_back(trial: Path, call: str) -> None:
    assert _live(trial, "live", call) in (RETURNED_ERROR, RETURNED)


@pytest.mark.hostile(106)
def test_the_filter_on_paper_says_what_the_kernel_does(trial: Path) -> None:
    _judge([trial])
    if X86_64:
        assert set(_ask([trial, "judge"], KILLED_X86_64)) == {"killed"}
        # It has a second table of calls: that of 32 bits.
        assert _live(trial, "live-foreign", "close") == -signal.SIGSYS
    assert set(_ask([trial, "judge-foreign"], [*ALLOWED, *KILLED])) == {"killed"}


@pytest.mark.hostile(106)
def test_the_filter_of_another_machine_says_the_same(tmp_path: Path) -> None:
    trial = _trial(require("aarch64-linux-gnu-gcc"), tmp_path, "-static")
    _judge([require("qemu-aarch64"), trial])


def _judge(command: list[str | Path]) -> None:
    allowed = [*ALLOWED, *ALLOWED_ON_PAPER]
    verdicts = dict(zip(allowed, _ask([*command, "judge"], allowed), strict=True))
    assert set(verdicts.values()) == {"allowed"}, verdicts
    verdicts = dict(zip(KILLED, _ask([*command, "judge"], KILLED), strict=True))
    assert set(verdicts.values()) == {"killed"}, verdicts


def test_files_but_those_of_its_task_are_closed_to_it(
    trial: Path, tun_device: Path, tmp_path: Path
) -> None:
    _require_landlock()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    forwarding = "/proc/sys/net/ipv4/ip_forward"
    answers = {
        str(tun_device): "opened",
        f">{tun_device}": "opened",
        f">{forwarding}": "opened",
        forwarding: "Permission denied",
        str(secret): "Permission denied",
        f">{secret}": "Permission denied",
        "/etc/passwd": "Permission denied",
        "/dev/null": "Permission denied",
        "/proc/self/mem": "Permission denied",
        ">/proc/self/oom_score_adj": "Permission denied",
        ">/proc/sys/kernel/hostname": "Permission denied",
        "/": "Permission denied",
        "/nowhere": "No such file or directory",
    }
    assert dict(zip(answers, _ask([trial, "files"], list(answers)), strict=True)) == answers


def _require_landlock() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, 1) < 1:
        unavailable("landlock", os.strerror(ctypes.get_errno()))


@pytest.fixture(scope="module", params=["as installed", "gcc", "clang", "musl-gcc"])
def built(
    request: pytest.FixtureRequest, helper_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The helper as different compilers and libraries make it."""
    if request.param == "as installed":
        return helper_binary
    compiler, out = require(request.param), tmp_path_factory.mktemp("built") / "helper"
    options = ["-O2", "-fPIE", "-static-pie"]
    if request.param == "musl-gcc":
        # musl brings no headers of the kernel.
        machine = f"/usr/include/{os.uname().machine}-linux-gnu"
        options += ["-idirafter", "/usr/include", "-idirafter", machine]
        options += ["-Wno-sign-conversion", "-Wno-conversion", "-Wno-undef"]
    return compile_c(compiler, sources(), out, *options)


REQUESTS: list[tuple[Kind, dict[str, Any]]] = [
    (Kind.PACKET, {"interface": "lo", "lock": True, "filter": [(6, 0, 0, 1)]}),
    (Kind.PACKET_DGRAM, {"mark": 1, "priority": 7}),
    (Kind.RAW4, {"protocol": 1, "address": bytes([127, 0, 0, 1]), "filter": [(6, 0, 0, 1)]}),
    (Kind.RAW6, {"protocol": 58, "interface": "lo", "receive_buffer": 1 << 20}),
    (Kind.PING4, {}),
    (Kind.PING6, {"send_buffer": 1 << 20}),
    (Kind.TCP4, {"port": 80, "address": bytes([127, 0, 0, 1]), "backlog": 4}),
    (Kind.TCP6, {"port": 81, "reuse_port": True, "interface": "lo"}),
    (Kind.UDP4, {"port": 53, "filter": [(6, 0, 0, 1)], "lock": True}),
    (Kind.UDP6, {"port": 53}),
    (Kind.TUN, {"interface": "aio7", "mtu": 1400, "up": True, "queues": True,
                "addresses": [(4, 24, bytes([198, 18, 0, 1]))]}),
    (Kind.TAP, {"up": True}),
    (Kind.ROUTE, {}),
    (Kind.DEVICE, {"device": "net/tun"}),
]  # fmt: skip


@pytest.mark.netns
@pytest.mark.hostile(106)
def test_every_kind_is_served_in_the_sandbox(
    built: Path, namespace: Namespace, tun_device: Path, ping_sockets: None
) -> None:
    assert {kind for kind, _ in REQUESTS} == set(Kind)
    with session(built, greet=False) as helper:
        assert helper.greeted().state & SECCOMP
        for kind, fields in REQUESTS:
            helper.granted(kind, **fields)
        for kind, fields in REQUESTS[:-1]:
            helper.granted(kind, [namespace.fd], namespace=True, **_elsewhere(fields))
        assert helper.open(Kind.PACKET, interface="nosuch0").stage is Stage.INTERFACE
        assert helper.close() == 0


def _elsewhere(fields: dict[str, Any]) -> dict[str, Any]:
    """The same beside what is held already, for the namespace is the same."""
    changed = {"port": fields["port"] + 100} if "port" in fields else {}
    return fields | changed | ({"interface": "aio8"} if fields.get("interface") == "aio7" else {})


@pytest.mark.netns
def test_the_sandbox_is_told_and_true(helper_binary: Path) -> None:
    _require_landlock()
    with session(helper_binary, greet=False) as helper:
        assert helper.greeted().state & (SECCOMP | LANDLOCK) == SECCOMP | LANDLOCK
        status = Path(f"/proc/{helper.process.pid}/status").read_text()
        assert "Seccomp:\t2\n" in status
        assert "NoNewPrivs:\t1\n" in status


@pytest.mark.netns
@pytest.mark.hostile(108)
@pytest.mark.parametrize("error", ["ENOSYS", "EOPNOTSUPP"])
def test_a_kernel_without_landlock_serves_and_says_so(
    helper_binary: Path, tmp_path: Path, error: str
) -> None:
    with _injected(helper_binary, tmp_path, f"landlock_create_ruleset:error={error}") as helper:
        assert helper.greeted().state & (SECCOMP | LANDLOCK) == SECCOMP
        helper.granted(Kind.PACKET)


@pytest.mark.netns
@pytest.mark.hostile(108)
@pytest.mark.parametrize(
    "fault",
    ["landlock_create_ruleset:error=EINVAL", "landlock_add_rule:error=EINVAL",
     "landlock_restrict_self:error=E2BIG", "capset:error=EPERM"],
)  # fmt: skip
def test_a_sandbox_that_fails_ends_the_helper(
    helper_binary: Path, tmp_path: Path, fault: str
) -> None:
    with _injected(helper_binary, tmp_path, fault) as helper:
        assert helper.receive() is None
        assert helper.close() == 71


@pytest.mark.netns
@pytest.mark.hostile(108)
def test_a_kernel_without_close_range_closes_one_by_one(
    helper_binary: Path, tmp_path: Path
) -> None:
    with _injected(helper_binary, tmp_path, "close_range:error=ENOSYS") as helper:
        helper.greeted()
        helper.granted(Kind.PACKET)


@pytest.mark.netns
@pytest.mark.hostile(58)
def test_it_starts_without_a_single_argument(helper_binary: Path) -> None:
    libc = ctypes.CDLL(None)
    nothing = (ctypes.c_char_p * 1)(None)

    def execute() -> None:
        # The kernel makes one argument of it, an empty one (5.18), or it is refused.
        libc.execve(os.fsencode(helper_binary), nothing, nothing)

    with session(helper_binary, greet=False, preexec=execute) as helper:
        helper.greeted()
        helper.granted(Kind.PACKET)


LIMITS = {
    "NOFILE": 3, "NPROC": 0, "AS": 1 << 20, "STACK": 8 << 10, "FSIZE": 0, "CPU": 1, "DATA": 0,
    "MEMLOCK": 0, "CORE": resource.RLIM_INFINITY, "SIGPENDING": 0, "MSGQUEUE": 0,
}  # fmt: skip


@pytest.mark.netns
@pytest.mark.hostile(68)
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_survived_or_is_a_clean_end(helper_binary: Path, name: str) -> None:
    limit = getattr(resource, f"RLIMIT_{name}")

    def restrict() -> None:
        resource.setrlimit(limit, (LIMITS[name], LIMITS[name]))

    with session(helper_binary, greet=False, preexec=restrict) as helper:
        try:
            helper.send(hello())
        except BrokenPipeError:  # it is gone already
            return
        reply = helper.receive()
        if reply is None:
            return
        assert reply.refusal == (Stage.OK, 0)
        opened = helper.open(Kind.PACKET)
        # Of descriptors it may have none left; nothing half done comes of that.
        assert opened.stage in (Stage.OK, Stage.SOCKET)
        assert helper.close() == 0


def _injected(helper: Path, folder: Path, fault: str) -> Any:
    call = fault.split(":")[0]
    command = [
        require("strace"), "-f", "--seccomp-bpf", "-o", str(folder / "trace"),
        "-e", f"trace={call}", "-e", f"inject={fault}", str(helper),
    ]  # fmt: skip
    return session(command, greet=False)


@pytest.mark.netns
@pytest.mark.hostile(106)
def test_a_helper_for_another_machine_starts(tmp_path: Path) -> None:
    compiler, emulator = require("aarch64-linux-gnu-gcc"), require("qemu-aarch64")
    helper = compile_c(
        compiler, sources(), tmp_path / "helper", "-O2", "-fPIE", "-static-pie",
        "-mbranch-protection=standard",
    )  # fmt: skip
    with session([emulator, helper], greet=False) as running:
        greeting = running.greeted()
        # Another test asks what the filter says there: the emulator has none, nor the options
        # that other kinds need.
        assert not greeting.state & SECCOMP
        running.granted(Kind.PACKET)
        assert running.close() == 0


@pytest.fixture
def helper(helper_binary: Path) -> Iterator[Session]:
    with session(helper_binary) as running:
        yield running


@pytest.mark.netns
@pytest.mark.hostile(66)
def test_it_sleeps_and_goes_on_where_it_was(helper: Session) -> None:
    for _ in range(20):
        helper.process.send_signal(signal.SIGSTOP)
        helper.process.send_signal(signal.SIGCONT)
        helper.granted(Kind.RAW4, protocol=1, address=bytes([127, 0, 0, 1]))


@pytest.mark.netns
@pytest.mark.hostile(66)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM])
def test_a_signal_ends_it(helper: Session, number: signal.Signals) -> None:
    helper.process.send_signal(number)
    assert helper.receive() is None
    assert helper.close() == -number
