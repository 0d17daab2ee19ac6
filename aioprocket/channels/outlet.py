"""The writing side of a channel: one packet to the kernel, and what to do if it has no room.

Two kinds of "no room". ``EAGAIN`` is the socket's own send buffer: it empties, and then the
descriptor is writable. ``ENOBUFS`` is the queue of the interface: the descriptor stays writable
all the time, so waiting for that would spin; the only thing to do is to try again a little later.
"""

import errno
import select
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import anyio

from ..errors import ClosedError
from ..packet import Packet
from ..readiness import Readiness
from .explain import send_error
from .intake import Intake
from .link import Link
from .port import Address, AncillaryData, Data, Port

__all__ = ("Outlet", "no_room")

# Sends that may follow each other before the other tasks get their turn.
_TURN: Final = 64
# Seconds between attempts after ENOBUFS: an eighth of a second in all, then it is the caller's.
_PAUSES: Final = tuple(0.001 * 2**step for step in range(7))


def no_room(error: OSError) -> bool:
    """Whether the kernel refused a packet only because it has no room for it now."""
    return error.errno in (errno.EAGAIN, errno.ENOBUFS)


class Outlet:
    """Writes to a port. Several tasks may send at once; those that must wait keep their order."""

    __slots__ = (
        "_intake", "_link", "_lock", "_place", "_port", "_readiness", "_turn", "_waiting",
        "addressed", "tx_bytes", "tx_packets", "tx_refused",
    )  # fmt: skip

    def __init__(
        self, port: Port, readiness: Readiness, intake: Intake, link: Link | None, place: str
    ) -> None:
        self._port = port
        self._readiness = readiness
        self._intake = intake
        self._link = link
        self._place = place
        self._turn = _TURN
        self._waiting = 0
        self._lock: anyio.Lock | None = None
        # Whether a Packet goes to the address that it carries.
        self.addressed = False
        self.tx_packets = 0
        self.tx_bytes = 0
        self.tx_refused = 0

    def put(self, data: Data, address: Address | None = None) -> int:
        """Try once: how many bytes the kernel took. All of them, but for a stream.

        Raises:
            BlockingIOError: The socket's buffer is full (EAGAIN).
            LinkDownError: The interface is down or gone.
            ClosedError: The channel is closed.
            ChannelError: What the kernel said: ``ENOBUFS`` where the interface's queue is full,
                ``EMSGSIZE`` where the packet is larger than the MTU.
            SpecError: The address is a host's name.
        """
        if address is None and self.addressed and type(data) is Packet:
            address = data.addr
        port = self._port
        send = partial(port.send, data) if address is None else partial(port.sendto, data, address)
        return self._hand_over(send, (data,), address)

    def put_message(
        self, buffers: Sequence[Data], ancdata: AncillaryData, flags: int, address: Address | None
    ) -> int:
        """As `put`, by sendmsg(2)."""
        send = partial(self._port.sendmsg, buffers, ancdata, flags, address)
        return self._hand_over(send, buffers, address)

    def _hand_over(
        self,
        send: Callable[[], int],
        parts: Sequence[Data],
        address: Address | None,
        *,
        again: bool = True,
    ) -> int:
        try:
            taken = send()
        except BlockingIOError:
            raise
        except OSError as error:
            if again and self._intake.is_about_another(error):
                return self._hand_over(send, parts, address, again=False)
            raise self._explained(error, parts, address) from error
        self.tx_packets += 1
        self.tx_bytes += taken
        return taken

    def _explained(self, error: OSError, parts: Sequence[Data], address: Address | None) -> OSError:
        sock = self._port.sock
        if self._port.fileno() < 0:
            return ClosedError(f"send on {self._place}: the channel is closed")
        size = sum(memoryview(part).nbytes for part in parts)
        family = None if sock is None else sock.family
        return send_error(error, self._place, self._link, size, address, family)

    async def send(self, data: Data, address: Address | None = None) -> None:
        """Send one packet, or all bytes of a stream; wait while there is no room.

        Raises:
            OSError: As `put`, but for ``EAGAIN``; ``ENOBUFS`` only after several attempts.
            SpecError: As `put`.
        """
        if self._port.stream:
            await self._send_all(memoryview(data).cast("B"))
            return
        if self._turn and not self._waiting:
            self._turn -= 1
            try:
                self.put(data, address)
            except OSError as error:
                if not no_room(error):
                    raise
            else:
                return
        async with self._in_order():
            await self._patiently(partial(self.put, data, address))

    async def _send_all(self, rest: memoryview) -> None:
        async with self._in_order():
            while rest:
                rest = rest[await self._patiently(partial(self.put, rest)) :]

    async def send_message(
        self, buffers: Sequence[Data], ancdata: AncillaryData, flags: int, address: Address | None
    ) -> int:
        """As `send`, by sendmsg(2). How many bytes were sent."""
        async with self._in_order():
            return await self._patiently(
                partial(self.put_message, buffers, ancdata, flags, address)
            )

    @asynccontextmanager
    async def _in_order(self) -> AsyncIterator[None]:
        if self._lock is None:
            self._lock = anyio.Lock()
        self._waiting += 1
        try:
            async with self._lock:  # a checkpoint, too
                self._turn = _TURN
                yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._lock = None  # it belongs to the loop that it was made in

    async def _patiently(self, attempt: Callable[[], int]) -> int:
        refused = False
        pauses = iter(_PAUSES)
        while True:
            try:
                return attempt()
            except OSError as error:
                if not no_room(error):
                    raise
                self.tx_refused += not refused
                refused = True
                await self._wait_for_room(error, pauses)

    async def _wait_for_room(self, error: OSError, pauses: Iterator[float]) -> None:
        if error.errno == errno.ENOBUFS:
            pause = next(pauses, None)
            if pause is None:
                raise error
            await anyio.sleep(pause)
            return
        await self._readiness.wait_writable()
        # EPOLLERR ends the wait as well, again and again while the error queue is full.
        if self._port.fileno() >= 0 and self._readiness.events() & select.EPOLLERR:
            self._intake.drain_errors()
