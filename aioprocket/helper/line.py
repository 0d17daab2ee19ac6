"""The socket to a helper: whole messages with at most one descriptor, checked for form.

Nothing here waits or knows the order of a session. Whatever descriptor comes with a message that is
not as it must be is closed before the error is raised.
"""

import array
import errno
import os
import select
import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from .._system.descriptor import Descriptor
from ..errors import HelperProtocolError, OpenError, WireError
from ..wire.message import Op
from ..wire.reply import REPLY_SIZE, Reply, Stage, decode_reply

__all__ = ("Answer", "Line")

# CMSG_SPACE is padded, and the kernel would put two into it.
_ONE_DESCRIPTOR: Final = socket.CMSG_LEN(4)
# Bare numbers: an enum of flags takes microseconds to combine.
_CTRUNC: Final = int(socket.MSG_CTRUNC)
_CLOEXEC: Final = int(socket.MSG_CMSG_CLOEXEC)
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
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def fileno(self) -> int:
        """-1 once it is closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Idempotent. The helper sees it as the end of the session."""
        self._sock.close()

    def wait_briefly(self) -> None:
        """Block until there is something to receive, for a millisecond at most."""
        self._poll.poll(1)

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

    def receive(self) -> Answer | None:
        """The next reply and the descriptor that it must have; None: nothing has come yet.

        Raises:
            ConnectionResetError: The other end is gone.
            HelperProtocolError: It is no reply, or has not the descriptors that it must have.
            OpenError: ``EMFILE``: this process has no room for the descriptor.
        """
        try:
            data, control, flags, _ = self._receive()
        except BlockingIOError:
            return None
        found = _descriptors(control)
        try:
            reply = self._checked(data, flags, len(found))
        except BaseException:
            for descriptor in found:
                descriptor.close()
            raise
        id = int.from_bytes(data[_ID], "little")
        return Answer(id, reply, found[0] if found else None)

    def _receive(self) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        # One byte more than a reply, so that a longer one is seen.
        room = REPLY_SIZE + 1
        try:
            return self._sock.recvmsg(room, _ONE_DESCRIPTOR, _CLOEXEC)
        except ConnectionResetError:
            # The helper closed with requests unread: that is told once, before what it said last.
            return self._sock.recvmsg(room, _ONE_DESCRIPTOR, _CLOEXEC)

    def _checked(self, data: bytes, flags: int, descriptors: int) -> Reply:
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if flags & _CTRUNC and descriptors:
            raise HelperProtocolError(f"{self._name} sent more than one descriptor")
        try:
            reply = _decoded(data[: _ID.start] + _NO_ID + data[_ID.stop :])
        except WireError as error:
            raise HelperProtocolError(f"{self._name} sent what is no reply: {error}") from error
        if flags & _CTRUNC:
            # The message has come whole; it was here that the descriptor was lost (unix(7)).
            raise OpenError(
                f"no room in this process for the descriptor that {self._name} sent: "
                f"{os.strerror(errno.EMFILE)} (EMFILE)",
                errno=errno.EMFILE,
                step="verify",
                hint="close some, or raise the limit: ulimit -n",
            )
        wanted = reply.op is Op.OPEN and reply.stage is Stage.OK
        if descriptors != wanted:
            raise HelperProtocolError(
                f"{self._name} sent {descriptors} descriptors with stage {reply.stage.name}"
            )
        return reply


def _descriptors(control: Iterable[tuple[int, int, bytes]]) -> list[Descriptor]:
    numbers = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return [Descriptor(number) for number in numbers]
