"""Network namespaces: opening one by its name, and running a function inside one.

A thread has a namespace, and a socket keeps for ever the one of the thread that made it. So a
thread that lives for one function is all it takes, and the caller's own threads never move.
"""

import ctypes
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from .descriptor import Descriptor
from .numbers import CLONE_NEWNET, NS_GET_NSTYPE

__all__ = ("namespace_names", "namespace_path", "open_namespace", "run_inside")

T = TypeVar("T")

_NAMED: Final = "/run/netns"  # where ip-netns(8) keeps its bind mounts

# Python has os.setns from 3.12.
_libc = ctypes.CDLL(None, use_errno=True)


def namespace_path(namespace: str) -> str:
    """The file behind a name of ``ip netns``, a path, or ``"pid:N"``."""
    if namespace.startswith("pid:"):
        return f"/proc/{namespace.removeprefix('pid:')}/ns/net"
    return namespace if "/" in namespace else f"{_NAMED}/{namespace}"


def namespace_names() -> list[str]:
    """The names that ``ip netns`` would list."""
    try:
        return sorted(os.listdir(_NAMED))
    except OSError:
        return []


def open_namespace(namespace: str) -> Descriptor:
    """Open a network namespace with the caller's own rights to its file.

    Raises:
        OSError: ``ENOENT``, ``ESRCH``: there is none; ``EACCES``: the process's owner is another
            one; ``EINVAL``: the file is not a network namespace.
    """
    path = namespace_path(namespace)
    # Looked at before it is opened: opening a device or a fifo may have effects, or wait.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    found = Descriptor(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    try:
        if _namespace_type(found.fileno()) != CLONE_NEWNET:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    except BaseException:
        found.close()
        raise
    return found


def _namespace_type(fd: int) -> int:
    """The CLONE_NEW… flag of its kind: ioctl_ns(2). 0 for a file that is no namespace."""
    try:
        return fcntl.ioctl(fd, NS_GET_NSTYPE)
    except OSError as error:
        if error.errno != errno.ENOTTY:
            raise
        return 0


def run_inside(namespace: int, function: Callable[[], T]) -> T:
    """Call ``function`` in a thread that has entered ``namespace``, and wait for it.

    It must be short: the calling thread, and with it its event loop, stands still meanwhile.

    Raises:
        OSError: ``EPERM``: entering needs CAP_SYS_ADMIN in the caller's and in the namespace's
            user namespace (setns(2)). Whatever ``function`` raises.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def enter_and_call() -> None:
        try:
            if _libc.setns(namespace, CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            outcome.append(function())
        except BaseException as error:  # carried over to the calling thread, whatever it is
            failure.append(error)

    thread = threading.Thread(target=enter_and_call, name="aioprocket-namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure.pop()
    return outcome.pop()
