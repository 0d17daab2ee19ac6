"""A helper that does as it is told: the other end of a session, played by a thread.

A script is a function that gets the conversation and plays it: in order, in disorder, too late, not
at all. `serve` is the script of a helper that behaves.
"""

import array
import select
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from aioprocket.wire.message import Op
from aioprocket.wire.reply import Mode, Reply, Stage, encode_reply
from aioprocket.wire.request import Request, decode_request

__all__ = ("PATIENCE", "Conversation", "FakePeer", "Script", "fake_helper", "serve", "silent")

PATIENCE = 10  # seconds until a script gives up on a test that went wrong
MAX_MESSAGE = 40_000


class Conversation:
    """The helper's end of a session; everything blocks, for the script has its own thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.namespaces = 0

    def request(self) -> Request | None:
        """The next request, or None at the end of the session."""
        try:
            data, control, _, _ = self._sock.recvmsg(
                MAX_MESSAGE, socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None
        for _, _, rights in control:
            self.namespaces += 1
            socket.close(array.array("i", rights)[0])
        return decode_request(data) if data else None

    def has_request(self) -> bool:
        """Whether one is waiting now."""
        return bool(select.select([self._sock], [], [], 0)[0])

    def greet(self, *, mode: Mode = Mode.SETUID) -> None:
        """Take HELLO and answer it."""
        request = self.request()
        assert request is not None
        assert request.op is Op.HELLO
        self.reply(Reply(op=Op.HELLO, id=request.id, lowest=1, highest=1, mode=mode))

    def reply(self, reply: Reply, *fds: int) -> None:
        """Send a reply with any number of descriptors."""
        self.send(encode_reply(reply), fds)

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send any bytes with any number of descriptors; that nobody reads them is no error."""
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with suppress(BrokenPipeError, ConnectionResetError):
            self._sock.sendmsg([data], control)

    def give(self, request: Request) -> None:
        """Answer OPEN with a fresh UDP socket."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            self.reply(Reply(op=Op.OPEN, id=request.id), found.fileno())

    def refuse(self, request: Request, stage: Stage, errno: int, detail: int = 0) -> None:
        """Answer OPEN without a descriptor."""
        reply = Reply(op=Op.OPEN, id=request.id, stage=stage, errno=errno, detail=detail)
        self.reply(reply)

    def close(self) -> None:
        """End the session, as a helper that dies does."""
        self._sock.close()


Script = Callable[[Conversation], None]


def serve(conversation: Conversation) -> None:
    """Greet, then give a UDP socket for every OPEN until the client has enough."""
    conversation.greet()
    while (request := conversation.request()) is not None:
        conversation.give(request)


def silent(conversation: Conversation) -> None:
    """Take everything and answer nothing."""
    while conversation.request() is not None:
        pass


@contextmanager
def fake_helper(script: Script) -> Iterator[socket.socket]:
    """The client's end of a session with a helper that plays ``script``.

    What goes wrong in the script, a failed assertion included, is raised at the end.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(PATIENCE)
    failures: list[BaseException] = []

    def play() -> None:
        with theirs:
            try:
                script(Conversation(theirs))
            except BaseException as error:
                failures.append(error)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        with ours:
            yield ours
    finally:
        thread.join()
    if failures:
        raise failures[0]


class FakePeer:
    """A `session.Peer` that notes what is done to it."""

    pid = 4711

    def __init__(self, obituary: str = "") -> None:
        self.killed = False
        self.ended = False
        self._obituary = obituary

    def __str__(self) -> str:
        return "fake helper"

    def wait_briefly(self) -> None:
        """It is no process that could end."""

    def kill(self) -> None:
        self.killed = True

    async def obituary(self) -> str:
        return self._obituary

    async def end(self) -> None:
        self.ended = True
