"""A policy file of the test's own, a log of the test's own, and accounts to try them with.

All of it in this run's mount namespace: the machine's /etc and /dev stay as they are.
"""

import os
import pickle
import shutil
import socket
import stat
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from helper_client import BY_FILE, Kind, Session, Stage
from sandbox import kernel

from .forks import beside

__all__ = (
    "ACCOUNT",
    "FOLDER",
    "Asked",
    "Policy",
    "SystemLog",
    "answers",
    "hide_etc",
    "hide_the_machines",
    "install_for_everybody",
    "run_as",
    "system_log",
)

T = TypeVar("T")
FOLDER = Path("/etc/aioprocket")
ACCOUNT = 61001  # of rules that are tried: nobody's on this machine

# What the fixtures ``policy`` and ``asked`` are.
Policy = Callable[..., None]
Asked = Callable[[Callable[[Session], Any]], Any]

_NODES = ("null", "zero", "full", "random", "urandom", "tty")


def hide_the_machines() -> None:
    """The policy that the machine itself has, if any, is from now on not there for this process."""
    if FOLDER.is_dir():
        kernel.mount("tmpfs", str(FOLDER), "tmpfs", 0, "mode=0755")


@contextmanager
def hide_etc() -> Iterator[Path]:
    """Put a copy over /etc, in which there is an empty folder for the policy."""
    staging = Path(tempfile.mkdtemp(prefix="aioprocket-etc-"))
    with ExitStack() as stack:
        stack.callback(staging.rmdir)
        kernel.mount("tmpfs", str(staging), "tmpfs", 0, "mode=0755")
        stack.callback(kernel.unmount, str(staging))
        # Sockets and what vanishes meanwhile are no loss.
        subprocess.run(["cp", "-a", "/etc/.", staging], capture_output=True, check=False)
        shutil.rmtree(staging / FOLDER.name, ignore_errors=True)
        staging.chmod(0o755)
        kernel.mount(str(staging), "/etc", None, kernel.MS_BIND)
        stack.callback(kernel.unmount, "/etc")
        FOLDER.mkdir(mode=0o755)
        yield FOLDER


def install_for_everybody(helper: Path, folder: Path) -> Path:
    """A copy that belongs to root, runs as root, and may be executed by everybody: mode 4755."""
    installed = folder / "everybody" / "aioprocket-helper"
    installed.parent.mkdir(mode=0o755, exist_ok=True)
    shutil.copy(helper, installed)
    os.chown(installed, 0, 0)
    installed.chmod(0o4755)
    return installed


def answers(*requests: tuple[Kind, dict[str, Any]]) -> Callable[[Session], list[int]]:
    """For each request 0, or the reason of the file's policy."""

    def ask(helper: Session) -> list[int]:
        found = []
        for kind, fields in requests:
            reply = helper.open(kind, **fields)
            assert reply.stage in (Stage.OK, Stage.POLICY), reply
            found.append(reply.detail & ~BY_FILE)
        return found

    return ask


class SystemLog:
    """What was sent to /dev/log."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def lines(self) -> list[str]:
        """Those that have come and were not yet asked for."""
        found = []
        while True:
            try:
                found.append(self._sock.recv(4096).decode("ascii"))
            except BlockingIOError:
                return found


@contextmanager
def system_log() -> Iterator[SystemLog]:
    """A /dev of the test's own, with a log."""
    nodes = {name: os.stat(f"/dev/{name}").st_rdev for name in _NODES}
    kernel.mount("tmpfs", "/dev", "tmpfs", 0, "mode=0755")
    try:
        for name, number in nodes.items():
            os.mknod(f"/dev/{name}", stat.S_IFCHR, number)
            os.chmod(f"/dev/{name}", 0o666)
        Path("/dev/shm").mkdir(mode=0o1777)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind("/dev/log")
            os.chmod("/dev/log", 0o666)
            yield SystemLog(sock)
    finally:
        kernel.unmount("/dev")


def run_as(function: Callable[[], T], uid: int, gid: int, groups: Sequence[int] = ()) -> T:
    """Call a function in a child that is this account; its result or exception comes back."""
    reading, writing = os.pipe()
    # The child takes no lock that a thread of ours could hold.
    with open(reading, "rb") as pipe, beside(partial(_answer, function, uid, gid, groups, writing)):
        os.close(writing)
        reply = pipe.read()
    assert reply, "the child ended without an answer"
    good, value = pickle.loads(reply)
    assert good, value
    return value  # type: ignore[no-any-return]


def _answer(
    function: Callable[[], Any], uid: int, gid: int, groups: Sequence[int], pipe: int
) -> None:
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        kernel.set_dumpable()
        outcome = (True, function())
    except BaseException:
        outcome = (False, traceback.format_exc())
    with open(pipe, "wb") as stream:
        stream.write(pickle.dumps(outcome))
