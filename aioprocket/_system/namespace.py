"""Network namespaces: opening one by its name, and running a function inside one.

A thread has a namespace, and a socket keeps for ever the one of the thread that made it. So a
thread that lives for one function is all it takes, and the caller's own threads never move.
"""

import ctypes
import errno
import fcntl
import os
import stat
import struct
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from .descriptor import Descriptor
from .numbers import CLONE_NEWNET, NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_USERNS

__all__ = (
    "namespace_names",
    "namespace_owner",
    "namespace_path",
    "network_here",
    "open_namespace",
    "run_inside",
)

T = TypeVar("T")

_NAMED: Final = "/run/netns"  # where ip-netns(8) keeps its bind mounts
_OF_PROCESS: Final = "pid:"
_UID: Final = struct.Struct("@I")

# Python has os.setns from 3.12.
_libc = ctypes.CDLL(None, use_errno=True)


def namespace_path(namespace: str) -> str:
    """The file behind a name of ``ip netns``, a path, or ``"pid:N"``.

    What has a ``/`` is a path as any other, from the working directory if it is relative.
    """
    if namespace.startswith(_OF_PROCESS):
        return f"/proc/{namespace.removeprefix(_OF_PROCESS)}/ns/net"
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
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if not namespace.startswith(_OF_PROCESS):
            raise
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), path) from None
    if not stat.S_ISREG(mode):
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


def namespace_owner(namespace: str) -> int | None:
    """The uid that made the user namespace which a network namespace belongs to.

    None where it cannot be known: there is none, or it is none of the caller's.
    """
    try:
        found = open_namespace(namespace)
    except OSError:
        return None
    try:
        # EPERM: outside of the caller's own user namespace, ioctl_ns(2).
        user = Descriptor(fcntl.ioctl(found.fileno(), NS_GET_USERNS))
    except OSError:
        return None
    finally:
        found.close()
    uid = bytearray(_UID.size)
    try:
        fcntl.ioctl(user.fileno(), NS_GET_OWNER_UID, uid)
    finally:
        user.close()
    return int(_UID.unpack(uid)[0])


def network_here() -> tuple[int, int] | None:
    """The calling thread's network namespace: device and inode of its file; None without /proc."""
    try:
        found = os.stat("/proc/thread-self/ns/net")
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
