"""Reaching a broker: a helper that runs already and listens on a Unix socket."""

import errno
import os
import socket
import stat
import struct
from typing import Final

import anyio

from ..errors import (
    HelperError,
    HelperNotFoundError,
    HelperTimeoutError,
    NotPermittedError,
    errno_text,
)
from .install import how_to_start_broker
from .units import why_broker_refuses

__all__ = ("Broker", "connect")

_UCRED: Final = struct.Struct("@iII")  # struct ucred: pid, uid, gid; unix(7), SO_PEERCRED
_ALL_KNOWN: Final = ["0", "0", "4294967295"]  # of /proc/PID/uid_map, user_namespaces(7)
_BETWEEN_TRIES: Final = 0.01  # seconds


class Broker:
    """The peer at the other end of a broker's socket: not ours to start or to end."""

    def __init__(self, name: str, pid: int) -> None:
        self.pid = pid
        self._name = name

    def __str__(self) -> str:
        return f"broker {self._name}"

    def wait_briefly(self) -> None:
        """Nothing: it runs on."""

    def kill(self) -> None:
        """Nothing: it serves others, too."""

    async def obituary(self) -> str:
        """What a broker that did not say a word may have had in mind."""
        return "a broker has few connections for one account, and none that is idle for long"

    async def end(self) -> None:
        """Nothing: it notices by itself."""


async def connect(path: str, timeout: float, source: str = "") -> tuple[socket.socket, Broker]:
    """Connect to a broker's socket; the caller owns what comes back.

    Args:
        path: At most 107 bytes (unix(7)).
        timeout: Seconds.
        source: Where the caller did not name it: a word in brackets on who did, for messages.

    Raises:
        HelperNotFoundError: There is no socket, or nobody listens on it.
        NotPermittedError: This process may not connect, or an account that is neither root nor
            its own is at the other end: nothing was sent to it.
        HelperTimeoutError: Its queue stayed full.
    """
    name = f"{path}{source}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        await _connect(sock, path, name, timeout)
        pid, uid, _ = _UCRED.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        # Whoever listens gets to know what is asked for, and chooses the descriptor.
        if uid not in (0, os.geteuid()) and not _is_outside(uid):
            raise NotPermittedError(
                f"uid {uid} listens on {name}: not root, and not you", step="reach"
            )
    except BaseException:
        sock.close()
        raise
    return sock, Broker(name, pid)


async def _connect(sock: socket.socket, path: str, name: str, timeout: float) -> None:
    with anyio.move_on_after(timeout):
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:
                # unix(7): the queue of connections is full, and nothing tells when it is not.
                await anyio.sleep(_BETWEEN_TRIES)
            except OSError as error:
                raise _not_connected(path, name, error) from error
            else:
                return
    raise HelperTimeoutError(
        f"broker {name} took no connection within {timeout:g} s",
        hint="its queue is full: it is stopped, or has too much to do",
    )


def _is_outside(uid: int) -> bool:
    """Whether it stands for an account that this user namespace does not know, as the host's root.

    In a container that is all that can be known of a broker. Who put its socket there could as
    well have put anything else there.
    """
    try:
        with open("/proc/self/uid_map") as known, open("/proc/sys/kernel/overflowuid") as stand_in:
            return known.read().split() != _ALL_KNOWN and uid == int(stand_in.read())
    except OSError:
        return False


def _not_connected(path: str, name: str, error: OSError) -> HelperError | NotPermittedError:
    number = error.errno or errno.EIO
    message = f"cannot connect to the broker at {name}: {errno_text(number)}"
    if number in (errno.ENOENT, errno.ENOTDIR):
        return HelperNotFoundError(message)
    if number == errno.ECONNREFUSED and not _is_socket(path):
        return HelperNotFoundError(f"{name} is no socket", hint="name the socket of a broker")
    if number == errno.EPROTOTYPE:
        return HelperNotFoundError(message, hint="it is not a broker's: those are SOCK_SEQPACKET")
    if number == errno.ECONNREFUSED:
        return HelperNotFoundError(
            message, hint=f"the socket is left over: start the broker: {how_to_start_broker()}"
        )
    if number in (errno.EACCES, errno.EPERM):
        return NotPermittedError(message, errno=number, step="reach", hint=_why_closed(path))
    return HelperError(message)


def _why_closed(path: str) -> str:
    found = why_broker_refuses(path)
    return ": ".join(found) if found is not None else f"ls -l {path}; id"


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return True  # not to be known: then the errno says it
