"""The socket to a helper: whole messages with at most one descriptor, checked for form.

Nothing here waits or knows the order of a session. Whatever descriptor comes with a message that is
not as it must be is closed before the error is raised.
"""

import array
import errno
import os
import socket
from contextlib import suppress
from functools import lru_cache
from typing import Final, NamedTuple

from .._system._native import receive_passed
from .._system.descriptor import Descriptor
from ..errors import HelperProtocolError, OpenError, WireError
from ..wire.message import Op
from ..wire.reply import REPLY_SIZE, Reply, Stage, decode_reply

__all__ = ("Answer", "Line")

# One byte more than a reply, so that a longer one is seen.
_ROOM: Final = REPLY_SIZE + 1
_ID: Final = slice(12, 16)  # in a reply, PROTOCOL.md
_NO_ID: Final = bytes(4)


class Answer(NamedTuple):
    """A reply, whose ``id`` is not in it but beside it; and its descriptor, the receiver's."""

    id: int
    reply: Reply
    descriptor: Descriptor | None


@lru_cache(maxsize=64)
def _decoded(data: bytes) -> Reply:
    # Answers to the same request differ in their id alone, and decoding takes long.
    return decode_reply(data)


class Line:
    """Owns a connected ``SOCK_SEQPACKET`` socket.

    Args:
        sock: Made non-blocking.
        name: Of whom is at the other end, for messages.
    """

    def __init__(self, sock: socket.socket, name: str) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._name = name

    def fileno(self) -> int:
        """-1 once it is closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Idempotent. The helper sees it as the end of the session."""
        self._sock.close()

    def send(self, message: bytes, namespace: Descriptor | None = None) -> bool:
        """Send a request, with a namespace's descriptor beside it; False: there is no room.

        That the other end is gone is not an error here: what it said last may still be unread.
        """
        try:
            if namespace is None:
                self._sock.send(message)
            else:
                rights = array.array("i", [namespace.fileno()])
                self._sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            pass
        return True

    def finish(self) -> None:
        """Send nothing more: the helper answers what it has been asked, and ends."""
        with suppress(OSError):  # the other end is gone: as `send`
            self._sock.shutdown(socket.SHUT_WR)

    def receive(self, wait_ms: int = 0) -> Answer | None:
        """The next reply and the descriptor that it must have; None: nothing has come yet.

        The calling thread, and so the loop, is blocked for ``wait_ms`` at most.

        Raises:
            ConnectionResetError: The other end is gone.
            HelperProtocolError: It is no reply, or has not the descriptors that it must have.
            OpenError: ``EMFILE``: this process has no room for the descriptor.
        """
        try:
            received = receive_passed(self._sock.fileno(), _ROOM, wait_ms)
        except ConnectionResetError:
            # The helper closed with requests unread: that is told once, before what it said last.
            received = receive_passed(self._sock.fileno(), _ROOM, 0)
        if received is None:
            return None
        data, fd, lost = received
        descriptor = Descriptor(fd) if fd >= 0 else None
        try:
            reply = self._checked(data, descriptor is not None, lost)
        except BaseException:
            if descriptor is not None:
                descriptor.close()
            raise
        return Answer(int.from_bytes(data[_ID], "little"), reply, descriptor)

    def _checked(self, data: bytes, one: bool, lost: bool) -> Reply:
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if lost and one:
            raise HelperProtocolError(f"{self._name} sent more than one descriptor")
        try:
            reply = _decoded(data[: _ID.start] + _NO_ID + data[_ID.stop :])
        except WireError as error:
            raise HelperProtocolError(f"{self._name} sent what is no reply: {error}") from error
        if lost:
            # The message has come whole; it was here that the descriptor was lost (unix(7)).
            raise OpenError(
                f"no room in this process for the descriptor that {self._name} sent: "
                f"{os.strerror(errno.EMFILE)} (EMFILE)",
                errno=errno.EMFILE,
                step="verify",
                hint="close some, or raise the limit: ulimit -n",
            )
        if one != (reply.op is Op.OPEN and reply.stage is Stage.OK):
            raise HelperProtocolError(
                f"{self._name} sent {int(one)} descriptors with stage {reply.stage.name}"
            )
        return reply
