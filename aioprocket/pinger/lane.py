"""One socket, its table of probes, and the tasks that wait for replies.

There is no task in the background. Of those that wait one reads, for all: the others are woken when
there is something of theirs, and one of them takes over when the reader is done. So a pinger can be
closed, cancelled and left anywhere.
"""

import errno
import os
import socket
import time
from typing import Any, Final, Literal

import anyio

from .._system._native import EchoGroup, EchoTable, EchoWatch
from .._system.interfaces import interface_index
from .._system.numbers import IP_RECVERR
from .._system.options import bound_ifindex
from ..errors import AioprocketError, ClosedError, LinkDownError
from ..readiness import Readiness
from .echo import Echo
from .reports import local_error, quoted_error, reported_error

__all__ = ("READ", "WINDOW", "Lane", "wait_for_any")

READ: Final = 64  # messages that one `Lane.receive` judges at most
_READS: Final = 16  # such calls in a row, for a flood must not keep the loop
_NO_ROOM: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
# Bytes of the receive buffer that a small packet takes: it lies in a page's part of its own.
_TRUESIZE: Final = 1280
WINDOW: Final = 512  # probes on their way at most, where nobody asks for more
_HEADER: Final = 8  # of ICMP
# Seconds for which one lane's replies wait while another's are waited for.
_OTHER: Final = 0.005


class Lane:
    """The probes of one version of IP."""

    def __init__(
        self, sock: socket.socket, version: Literal[4, 6], identifier: int, *, first: int = 0
    ) -> None:
        self.version: Literal[4, 6] = version
        raw = sock.type == socket.SOCK_RAW
        self._ping = not raw
        # What a full queue of an interface throws away, a raw socket of IPv4 is told of (ENOBUFS)
        # only while it wants to know errors: raw_sendmsg() in net/ipv4/raw.c.
        self._asks = raw and version == 4
        self.table = EchoTable(
            version,
            identifier,
            os.urandom(16),
            first=first,
            unchecked=raw and version == 4,
            reporting=not raw,
        )
        self._sock = sock
        self._fd = sock.fileno()
        self._reason: AioprocketError | None = None
        self._readiness = Readiness(self._fd)
        self._waiting: dict[EchoGroup, anyio.Event] = {}
        self._reading = False
        self._flooded = False  # the last `send` met more errors of earlier probes than it reads
        self._emptied_ns = 0  # when the queue was seen empty last, by the monotonic clock
        room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // _TRUESIZE
        # Probes whose replies the receive buffer has room for.
        self.window = max(1, min(room, WINDOW))

    def is_bound_to(self, interface: str) -> bool:
        """Whether the interface of this name is still the one that the socket is bound to.

        So it is as well where there is none of that name, until another has it.
        """
        try:
            return interface_index(self._fd, interface) == bound_ifindex(self._sock)
        except OSError:
            return True

    def retire(self, interface: str) -> None:
        """Close the socket: its interface has a successor; who uses it gets `LinkDownError`."""
        self._reason = LinkDownError(
            f"{interface} was removed, and another interface has its name now",
            interface=interface,
            errno=errno.ENODEV,
            hint="begin again: what is begun now goes by the new one",
        )
        self.close()

    def give_up(self, group: EchoGroup) -> list[Echo]:
        """What a group has, and its probes on their way as lost ones; nothing more is read."""
        self.table.expire(group, time.monotonic_ns() + group.timeout_ns)
        return group.take()

    @property
    def is_retired(self) -> bool:
        """Whether its interface has a successor, by which another lane goes."""
        return self._reason is not None

    def close(self) -> None:
        """Close the socket; who waits gets `ClosedError`."""
        self._fd = -1
        self._readiness.close()
        self._sock.close()
        for event in self._waiting.values():
            event.set()

    def check_open(self) -> None:
        """Raise `ClosedError` after the end, or the reason of it."""
        if self._fd < 0:
            raise self._reason or ClosedError("the pinger is closed")

    # Sending

    def send(self, group: EchoGroup, items: list[Any], start: int, sequence: int) -> int:
        """Send probes to the items from ``start`` on; see `EchoTable.send`.

        What this machine refuses to send has its end by that, but for want of room.

        Returns:
            The index of the first that was not sent: it cannot be now, if ``blocked``, or it is
            none that the table knows.
        """
        self.check_open()
        if not group.stamped:
            return self._send_all(group, items, start, sequence)
        with self._readiness.unwatched():
            return self._send_all(group, items, start, sequence)

    def _send_all(self, group: EchoGroup, items: list[Any], start: int, sequence: int) -> int:
        table = self.table
        reports = READ * _READS
        self._flooded = False
        while True:
            start = self._send_some(group, items, start, sequence)
            number = table.failure
            if start == len(items) or not number or number in _NO_ROOM:
                return start
            # A ping socket tells of an earlier probe's error at the next call, whichever it is.
            if self._ping and (count := self._read_reports()):
                reports -= count
                if reports > 0:
                    continue
                # Forged ones, so many: which error is this probe's own cannot be known now.
                self._flooded = True
                return start
            if self._asks and self._send_for_certain(group, items[start], sequence):
                start += 1
                continue
            if (number := table.failure) in _NO_ROOM:
                return start
            error = local_error(self._sock, number, self._text(items[start]), _HEADER + group.size)
            table.refuse(group, items[start], sequence, error)
            start += 1

    def _send_some(self, group: EchoGroup, items: list[Any], start: int, sequence: int) -> int:
        if not self._asks:
            return self.table.send(self._fd, group, items, start, sequence)
        self._sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        try:
            return self.table.send(self._fd, group, items, start, sequence)
        finally:
            self._sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 0)  # empties the queue as well

    def _send_for_certain(self, group: EchoGroup, item: Any, sequence: int) -> int:
        """Once more, when no error of another probe or program can be taken for this one's."""
        self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return self.table.send(self._fd, group, [item], 0, sequence)

    def _text(self, item: Any) -> str:
        """Where an item that the table takes goes, in words."""
        if isinstance(item, EchoWatch):
            item = item.target
        packed = item if isinstance(item, bytes) else getattr(item, "packed", None)
        return str(item) if packed is None else socket.inet_ntop(self._sock.family, packed)

    def exchange(self, group: EchoGroup, item: Any, sequence: int, count: int, until: float) -> int:
        """Probes back to back, as long as each reply is there at once; see `EchoTable.exchange`.

        Returns:
            How many were sent: none where the socket may have something else to say first.
        """
        self.check_open()
        if self._ping or self._waiting:
            return 0
        with self._readiness.unwatched():
            return self.table.exchange(self._fd, group, item, sequence, count, int(until * 1e9))

    @property
    def blocked(self) -> bool:
        """Whether the last `send` ended for want of room, or of an end of earlier errors."""
        return self._flooded or self.table.failure in _NO_ROOM

    # Receiving

    def receive(self) -> int:
        """Judge what has come, up to 64 messages; how many there were."""
        began_ns = time.monotonic_ns()
        count = self.table.receive(self._fd)
        if len(self.table):
            self._judge_errors()
        if self._waiting:
            self._tell()
        if count < READ:
            self._emptied_ns = began_ns
        return count

    def drain(self) -> None:
        """Judge what has come, up to 1,024 messages: the rest is another turn's."""
        for _ in range(_READS):
            if self.receive() < READ:
                return

    def expire(self, group: EchoGroup) -> None:
        """Probes whose time is over are lost, unless their replies may be there, and unread.

        In a flood that is longer than what one turn reads, each has its time once more at most.
        """
        deadline_ns = self.table.deadline(group)
        if deadline_ns is None or deadline_ns > time.monotonic_ns():
            return
        if self._emptied_ns < deadline_ns:
            self.drain()
        now_ns = time.monotonic_ns()
        self.table.expire(group, min(now_ns, max(self._emptied_ns, now_ns - group.timeout_ns)))

    def end(self, group: EchoGroup) -> None:
        """All probes of a group that are on their way are lost, unless their replies are there."""
        self.drain()
        self.table.expire(group, time.monotonic_ns() + group.timeout_ns)

    def _read_reports(self) -> int:
        count = self.table.read_queue(self._fd)
        if len(self.table):
            self._judge_errors()
        return count

    def _judge_errors(self) -> None:
        table = self.table
        for message, router, received_ns in table.take_odd():
            found = quoted_error(self.version, message, router)
            if found is not None:
                table.take_error(*found, received_ns)
        for target, quoted, number, type_, code, info, router, received_ns in table.take_reports():
            error = reported_error(self.version, number, type_, code, info, router)
            if error is not None:
                table.take_error(target, quoted, error, received_ns or time.time_ns())

    def _tell(self) -> None:
        for group, event in self._waiting.items():
            if len(group):
                event.set()

    # Waiting

    async def wait(self, group: EchoGroup, until: float) -> None:
        """Until the group may have something, or a moment of `time.monotonic` has come.

        Raises:
            ClosedError: The pinger was closed.
        """
        self.check_open()
        patience = max(0.0, until - time.monotonic())
        try:
            if self._reading:
                await self._follow(group, patience)
            else:
                await self._lead(patience)
        finally:
            if not self._reading and self._waiting:
                next(iter(self._waiting.values())).set()
        self.check_open()

    async def _lead(self, patience: float) -> None:
        self._reading = True
        try:
            with anyio.move_on_after(patience):
                await self._readiness.wait_readable()
            if self._fd >= 0:
                self.receive()
        finally:
            self._reading = False

    async def _follow(self, group: EchoGroup, patience: float) -> None:
        self._waiting[group] = event = anyio.Event()
        try:
            with anyio.move_on_after(patience):
                await event.wait()
        finally:
            del self._waiting[group]


async def wait_for_any(lanes: list[tuple[Lane, EchoGroup]], until: float) -> None:
    """Until one of the groups may have something, or has lost a probe, or ``until``.

    Raises:
        ClosedError: The pinger was closed.
    """
    flying = [(lane, group) for lane, group in lanes if group.in_flight]
    for lane, group in flying:
        lost_ns = lane.table.deadline(group)
        assert lost_ns is not None
        until = min(until, lost_ns / 1e9)
    if len(flying) > 1:
        until = min(until, time.monotonic() + _OTHER)
    lane, group = (flying or lanes)[0]
    await lane.wait(group, until)
