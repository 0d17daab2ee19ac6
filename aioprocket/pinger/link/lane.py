"""One packet socket, its table of probes, and the next hops that they go by."""

import errno
import os
import socket
import time
from contextlib import suppress
from typing import Any, Final, Literal

from ..._system._native import EchoFrames, EchoGroup
from ..._system.fib import Fib
from ..._system.interfaces import interface_index
from ..._system.ring import FrameGeometry
from ..echo import EchoError
from ..lane import READ, Lane
from ..reports import local_error
from ..settings import Settings
from .neighbours import ASKED, Neighbours
from .ways import Hop, Refusal, Ways

__all__ = ("LinkLane",)

_NO_ROOM: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
_LINK_GONE: Final = frozenset({errno.ENETDOWN, errno.ENODEV, errno.ENXIO})
_ANY: Final = 3  # ETH_P_ALL: what a frame carries is in its header
_AROUND: Final = 256  # bytes of a frame of the ring that are no packet
_WINDOW: Final = 512
_TTL: Final = 64  # net.ipv4.ip_default_ttl, as it comes
_PAUSE: Final = 0.001  # seconds, until a probe is tried again for which there was no room
_HOST_UNREACHABLE: Final = EchoError(kind="host-unreachable", errno=errno.EHOSTUNREACH)


class LinkLane(Lane):
    """The probes of one version of IP, as frames.

    Args:
        sock: A packet socket with a ring; owned from here on, as ``fib`` is.
        version: Of IP.
        identifier: Of the requests.
        settings: What the pinger was asked for.
        geometry: Of the ring.
        fib: Asks the kernel for routes, in the socket's namespace.
    """

    def __init__(
        self,
        sock: socket.socket,
        version: Literal[4, 6],
        identifier: int,
        settings: Settings,
        geometry: FrameGeometry,
        fib: Fib,
    ) -> None:
        super().__init__(sock, version, identifier)
        self._frames = EchoFrames(
            self._fd,
            version,
            geometry.frame_size,
            geometry.frames,
            ttl=settings.ttl or _TTL,
            tos=settings.tos or 0,
            df=settings.df is not False,
        )
        self._ways = Ways(sock, version, settings, fib, geometry.frame_size - _AROUND)
        self._neighbours = Neighbours()
        self._unsent: list[tuple[Hop, int]] = []  # their next hop is known, and there was no room
        self._blocked = False
        self.window = max(1, min(geometry.frames // 2, _WINDOW))

    def is_bound_to(self, interface: str) -> bool:
        """As of `Lane`; of one that is gone a packet socket has no name."""
        try:
            interface_index(self._fd, interface)
        except OSError:
            return True
        return bool(self._sock.getsockname()[0] == interface)

    def close(self) -> None:
        """As `Lane.close`; the kernel takes some 20 ms for a socket's last close."""
        self._frames.close()
        self._ways.close()
        super().close()

    def keep(self) -> list[int]:
        """Another descriptor of the socket, whose last close is not `close` then; none if it is."""
        return [] if self._fd < 0 else [os.dup(self._fd)]

    # Sending

    def send(self, group: EchoGroup, items: list[Any], start: int, sequence: int) -> int:
        """As `Lane.send`. A probe whose next hop has to be asked for waits for the answer."""
        self.check_open()
        self._blocked = False
        tried = -1
        while True:
            start = self._frames.send(self.table, group, items, start, sequence)
            number = self.table.failure
            if start == len(items) or not number:
                return start
            if number in _NO_ROOM:
                self._blocked = True
                return start
            item = items[start]
            if number in _LINK_GONE and tried != start:
                tried = start
                self._forget()
            elif number != errno.EDESTADDRREQ:
                self.table.refuse(group, item, sequence, self._error(item, number))
                start += 1
            elif not self._open_way(group, item, sequence):
                start += 1
            if self._blocked:
                return start

    def exchange(self, group: EchoGroup, item: Any, sequence: int, count: int, until: float) -> int:
        """None: by the link there is no going back and forth."""
        return 0

    @property
    def blocked(self) -> bool:
        """Whether the last `send` ended because there was no room."""
        return self._blocked

    def _open_way(self, group: EchoGroup, item: Any, sequence: int) -> bool:
        """Whether the item is to be tried again: its way is known now, or there is no room."""
        now = time.monotonic()
        try:
            hop = self._ways.find(*self._where(item))
        except Refusal as refusal:
            error = (
                local_error(self._sock, refusal.errno, "", 0)
                if refusal.kind is None
                else EchoError(kind=refusal.kind)
            )
            self.table.refuse(group, item, sequence, error)
            return False
        hwaddr = hop.hwaddr or self._neighbours.hwaddr(hop, now)
        if hwaddr is None:
            hwaddr = self._ways.fib.neighbour(hop.address, hop.ifindex)
            if hwaddr is not None:
                self._neighbours.learn(hop, hwaddr, now)
        if hwaddr is not None:
            self._set_way(hop, hwaddr)
            return True
        serial = None
        if len(self._neighbours) < ASKED:
            serial = self._frames.begin(self.table, group, item, sequence)
        if serial is None:
            self._blocked = True
            return True
        self._neighbours.wait(hop, serial, group.timeout_ns / 1e9, now)
        self._ask(now)
        return False

    def _set_way(self, hop: Hop, hwaddr: bytes) -> None:
        self._frames.set_way(
            hop.first,
            hop.last,
            hop.scope,
            hop.ifindex,
            hop.source,
            hop.link(hwaddr),
            hop.mtu,
            int(hop.until * 1e9),
        )

    def _forget(self) -> None:
        self._frames.forget_ways()
        self._ways.forget()
        self._neighbours.forget()

    def _where(self, item: Any) -> tuple[bytes, int]:
        """The address and scope of an item that the table takes."""
        if isinstance(item, bytes):
            return item, 0
        if isinstance(item, str):
            family = socket.AF_INET if self.version == 4 else socket.AF_INET6
            return socket.inet_pton(family, item), 0
        return item.packed, item.scope

    def _error(self, item: Any, number: int) -> EchoError:
        if number != errno.EMSGSIZE:
            return local_error(self._sock, number, "", 0)
        try:
            mtu: int | None = self._ways.find(*self._where(item)).mtu
        except Refusal:
            mtu = None
        return EchoError(kind="frag-needed", mtu=mtu, errno=number)

    # Neighbours

    def _ask(self, now: float) -> None:
        for name, frame in self._neighbours.questions(now):
            with suppress(OSError):  # it is asked again, and its interface is asked about
                self._sock.sendto(frame, (name, _ANY))

    def _tend(self) -> None:
        """Ask for neighbours again, and let go those probes that need not wait any longer."""
        now = time.monotonic()
        for ifindex, frame in self._frames.take_news():
            heard = self._neighbours.hear(ifindex, frame, now)
            if heard is not None:
                self._release(*heard)
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            for at, (hop, serial) in enumerate(unsent):
                if not self._let_go(hop, serial):
                    self._unsent += unsent[at:]
                    break
        if len(self._neighbours):
            self._ask(now)
            for _, serial in self._neighbours.failures(now):
                self._frames.fail(self.table, serial, _HOST_UNREACHABLE)

    def _release(self, hwaddr: bytes, waiting: list[tuple[Hop, int]]) -> None:
        for hop in dict.fromkeys(hop for hop, _ in waiting):
            self._set_way(hop, hwaddr)
        for hop, serial in waiting:
            if self._unsent or not self._let_go(hop, serial):
                self._unsent.append((hop, serial))

    def _let_go(self, hop: Hop, serial: int) -> bool:
        """Send a probe that waited, or end it; False: there is no room."""
        if self._frames.release(self.table, serial):
            return True
        now = time.monotonic()
        hwaddr = self._neighbours.hwaddr(hop, now)
        if self.table.failure == errno.EDESTADDRREQ and hwaddr is not None:
            self._set_way(hop._replace(until=now + 1.0), hwaddr)  # it has become old meanwhile
            if self._frames.release(self.table, serial):
                return True
        number = self.table.failure
        if number in _NO_ROOM:
            return False
        self._frames.fail(self.table, serial, local_error(self._sock, number, "", 0))
        return True

    # Receiving

    def receive(self) -> int:
        """As `Lane.receive`."""
        table = self.table
        began_ns = time.monotonic_ns()
        count = self._frames.receive(table)
        if not count and self._reading:
            # A link that went down leaves an error, which would be told of again and again.
            self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if len(table):
            self._judge_errors()
        self._tend()
        if self._waiting:
            self._tell()
        if count < READ:
            self._emptied_ns = began_ns
        return count

    async def wait(self, group: EchoGroup, until: float) -> None:
        """As `Lane.wait`, and until a neighbour has to be asked again."""
        due = self._neighbours.due()
        if due is not None:
            until = min(until, due)
        if self._unsent:
            until = min(until, time.monotonic() + _PAUSE)
        await super().wait(group, until)
