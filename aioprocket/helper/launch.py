"""Starting a helper: a process whose stdin is the other end of a socketpair, and nothing else.

There is no path to meet at, and so no race for one. The socketpair survives sudo, and its
SO_PEERCRED names this process, which made it, even when the helper has become root: that is how a
helper knows its caller.

The process is started by posix_spawn(3) and watched by its pidfd. Neither asyncio's nor anyio's
subprocess layer is needed: they cost a third more, and none of their streams can carry a
descriptor.
"""

import errno
import fcntl
import os
import select
import shutil
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

import anyio

from .._system.descriptor import Descriptor
from ..errors import HelperError, HelperNotFoundError, errno_text
from ..readiness import Readiness
from .diagnose import OUT_OF, why_no_sudo, why_not_executable

__all__ = ("Process", "launch")

_STDIN, _STDOUT, _STDERR = 0, 1, 2

# Seconds. A helper exits in less than a millisecond after its socket is closed. sudo takes longer,
# for it ends its own session first, and is not ours to kill.
_EXIT: Final = 0.25
_EXIT_OF_SUDO: Final = 2.0
# A helper for one descriptor is started, has answered and is gone within less.
_BRIEFLY_MS: Final = 2
# What was killed has no more to do; what could not be killed is not waited for any longer.
_EXIT_KILLED: Final = 0.1
_KILLED: Final = 0.5
_COMPLAINT_BYTES: Final = 2000

# sudo 1.9.17 crashes where there is not a single variable.
_ENVIRONMENT_OF_A_WRAPPER: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

_NOT_A_PROGRAM: Final = frozenset(
    {errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ENOEXEC, errno.ELOOP, errno.EPERM}
)

# Processes that were killed and did not end in time (sudo's may not be ours to kill): reaped
# when the next helper is started.
_lingering: list["Process"] = []


class Process:
    """A helper that this process started: owns its pidfd and the reading end of its stderr.

    One that is dropped before `end` is killed and, if it ends within a moment, reaped.
    """

    def __init__(self, name: str, pid: int, pidfd: Descriptor, stderr: Descriptor):
        self.pid = pid
        self._name = name
        self._pidfd = pidfd
        self._stderr = stderr
        self._ended = False
        self._killed = False
        self._status: int | None = None

    def __str__(self) -> str:
        return self._name

    def __del__(self) -> None:
        # Nothing can be awaited here; what was killed is gone within a millisecond.
        if not self._pidfd.closed:
            self.kill()
            self._poll(_EXIT_KILLED * 1000)
            self._release()

    def wait_briefly(self) -> None:
        """Block until it has ended, for two milliseconds at most."""
        self._poll(_BRIEFLY_MS)

    def _poll(self, milliseconds: float) -> None:
        poll = select.poll()
        poll.register(self._pidfd.fileno(), select.POLLIN)
        poll.poll(milliseconds)

    def kill(self) -> None:
        """SIGKILL, if it still runs and is ours to kill. The pidfd cannot hit a later process."""
        if not self._ended:
            self._killed = True
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> bool:
        """Whether it could be sent; 0 only asks."""
        try:
            signal.pidfd_send_signal(self._pidfd.fileno(), number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    async def end(self) -> None:
        """Wait until it is gone, killing it if it does not go by itself; bounded.

        Its socket must be closed before: that is what it waits for. A cancellation takes effect
        afterwards, and makes it quick: a process must not stay behind.
        """
        cancelled: BaseException | None = None
        for patience in self._patience():
            try:
                if await self._wait(patience):
                    break
            except anyio.get_cancelled_exc_class() as error:
                cancelled = error  # asyncio's own Task.cancel() goes through anyio's shields
            self.kill()
        self._release()
        if cancelled is not None:
            raise cancelled

    def _patience(self) -> tuple[float, ...]:
        """Seconds to wait before it is killed, and after that."""
        ours = self.reap() or self._signal(0)
        before = _EXIT_KILLED if self._killed else _EXIT if ours else _EXIT_OF_SUDO
        return (before, _KILLED) if ours else (before,)

    def _release(self) -> None:
        if self.reap():
            self.close()
        else:
            _lingering.append(self)

    async def obituary(self) -> str:
        """How it ended and what it had to say, for a message; waits for its end a moment."""
        if not await self._wait(_KILLED):
            return "it still runs"
        if self._status is None:
            how = "it ended"
        elif self._status < 0:
            how = f"it was killed by {_signal_name(-self._status)}"
        else:
            how = f"it exited with status {self._status}"
        complaint = self._complaint()
        return f"{how}: {complaint}" if complaint else how

    async def _wait(self, timeout: float) -> bool:
        """Whether it has ended, after ``timeout`` seconds at most; then it is reaped, too."""
        if self.reap():
            return True
        readiness = Readiness(self._pidfd.fileno())
        try:
            with anyio.move_on_after(timeout, shield=True):
                while not self.reap():
                    await readiness.wait_readable()
        finally:
            readiness.close()
        return self._ended

    def reap(self) -> bool:
        """Whether it has ended; its status is read then, so that no zombie stays."""
        if not self._ended:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # Somebody else waits for every child, or SIGCHLD is ignored: it is gone, unread.
                self._ended = True
            else:
                if pid != 0:
                    self._ended, self._status = True, os.waitstatus_to_exitcode(status)
        return self._ended

    def close(self) -> None:
        """Close what watches it; nothing can be learnt of it afterwards."""
        self._stderr.close()
        self._pidfd.close()

    def _complaint(self) -> str:
        try:
            said = os.read(self._stderr.fileno(), _COMPLAINT_BYTES)
        except OSError:
            return ""
        return " / ".join(said.decode(errors="replace").split("\n")).strip(" /")


def launch(argv: Sequence[str], source: str = "") -> tuple[socket.socket, Process]:
    """Start a program with one end of a socketpair as its stdin; our end, and the process.

    Args:
        argv: The program and its arguments.
        source: Where the caller did not name it: a word in brackets on who did, for messages.

    The caller closes the socket, and then awaits `Process.end`. The program gets an empty
    environment, a process group of its own (a terminal's Ctrl-C is not for it), and stdin, stdout
    (/dev/null) and stderr (kept for messages). One with arguments, which may be sudo, gets the
    system's PATH, and a session of its own, and so no terminal at all.

    Raises:
        HelperNotFoundError: There is no such program, or it cannot be executed.
        HelperError: This process is out of descriptors, of processes, of memory.
    """
    for process in [process for process in _lingering if process.reap()]:
        _lingering.remove(process)
        process.close()
    path = _program(argv[0], source)
    try:
        return _launch(path, argv, source)
    except OSError as error:
        raise _not_started(path, error, source) from error


def _launch(path: str, argv: Sequence[str], source: str) -> tuple[socket.socket, Process]:
    session, stdin = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with stdin:
            return session, _start(path, argv, source, stdin)
    except BaseException:
        session.close()
        raise


def _start(path: str, argv: Sequence[str], source: str, stdin: socket.socket) -> Process:
    # Non-blocking at both ends: a program that says too much must not stop over it.
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        try:
            pid = _spawn(path, argv, stdin.fileno(), writing)
        finally:
            os.close(writing)
        try:
            pidfd = os.pidfd_open(pid)
        except BaseException:
            _kill_and_reap(pid)
            raise
    except BaseException:
        os.close(reading)
        raise
    name = f"helper {' '.join(argv)}{source}"
    return Process(name, pid, Descriptor(pidfd), Descriptor(reading))


def _spawn(path: str, argv: Sequence[str], stdin: int, stderr: int) -> int:
    # Leading a session of its own keeps a wrapper, as sudo or doas, from asking at the terminal for
    # a password. A helper asks for nothing, and where the machine is busy a new session is made to
    # wait, for the scheduler shares the processor out between sessions (sched(7), autogroup).
    place: dict[str, Any] = {"setsid": True} if len(argv) > 1 else {"setpgroup": 0}
    with ExitStack() as moved:
        # All other descriptors are close-on-exec, as Python makes them.
        return os.posix_spawn(
            path,
            list(argv),
            _ENVIRONMENT_OF_A_WRAPPER if len(argv) > 1 else {},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, _above_standard(stdin, moved), _STDIN),
                (os.POSIX_SPAWN_OPEN, _STDOUT, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, _above_standard(stderr, moved), _STDERR),
            ],
            setsigmask=[],
            setsigdef=[signal.SIGPIPE],  # Python ignores it, and exec would hand that on
            **place,
        )


def _above_standard(fd: int, moved: ExitStack) -> int:
    """Numbers below 3 would get in each other's way while they are moved there."""
    if fd > _STDERR:
        return fd
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
    moved.callback(os.close, high)
    return high


def _kill_and_reap(pid: int) -> None:
    # Neither is there to be done where SIGCHLD is ignored and it has ended already.
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _program(name: str, source: str) -> str:
    if "/" in name:
        return name
    # A service's PATH may be short, or missing.
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/bin")
    if found is None:
        raise HelperNotFoundError(
            f"there is no program {name!r} on PATH{source}",
            hint=why_no_sudo()[1] if name == "sudo" else _not_a_program(name),
        )
    return found


def _not_started(path: str, error: OSError, source: str) -> HelperError:
    number = error.errno or errno.EIO
    message = f"cannot start {path}{source}: {errno_text(number)}"
    if number == errno.EACCES and os.access(path, os.X_OK) and not os.access(os.devnull, os.W_OK):
        return HelperError(
            f"cannot start {path}{source}: its output cannot go to {os.devnull}: "
            f"{errno_text(number)}",
            hint=f"sudo chmod 0666 {os.devnull}",
        )
    if number in _NOT_A_PROGRAM:
        return HelperNotFoundError(message, hint=_not_a_program(path))
    return HelperError(message, hint=OUT_OF.get(number, ""))


def _not_a_program(path: str) -> str:
    if os.path.isdir(path):
        return f"{path} is a folder: name the program in it"
    found = why_not_executable(path) if os.path.lexists(path) else None
    if found is not None:
        return found[1] or found[0]
    if os.path.lexists(path):
        return f"{path} is no program for this machine"
    return "the helper that came with this package: python3 -P -m aioprocket.helper"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
