"""The writing side of a channel: packets to the kernel, and what to do if it has no room.

Two kinds of "no room". ``EAGAIN`` is the socket's own send buffer: it empties, and then the
descriptor is writable. ``ENOBUFS`` is the queue of the interface: the descriptor stays writable
all the time, so waiting for that would spin; the only thing to do is to try again a little later.
"""

import errno
import os
import select
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Final

import anyio

from ..errors import ClosedError
from ..packet import Batch, Packet
from ..readiness import Readiness, checkpoint
from .explain import send_error
from .intake import Intake
from .items import PIECE, parts, pieces
from .link import Link
from .port import Address, AncillaryData, Data, Item, Port
from .state import Sent

__all__ = ("Outlet", "no_room")

# Sends that may follow each other before the other tasks get their turn.
_TURN: Final = 64
# Seconds that batches may take between two turns of the loop. After so many packets the processor's
# caches hold the kernel's path, and a turn costs as much as 50 of them.
_BATCHES: Final = 0.002
# Seconds between attempts after ENOBUFS: an eighth of a second in all, then it is the caller's.
_PAUSES: Final = tuple(0.001 * 2**step for step in range(7))


def no_room(error: OSError) -> bool:
    """Whether the kernel refused a packet only because it has no room for it now."""
    return error.errno in (errno.EAGAIN, errno.ENOBUFS)


class Outlet:
    """Writes to a port. Several tasks may send at once; those that must wait keep their order."""

    __slots__ = (
        "_bytes", "_intake", "_link", "_lock", "_packets", "_place", "_port", "_readiness", "_turn",
        "_turn_began", "_turning", "_waiting", "addressed", "before_put", "tx_refused",
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
        self._turn_began = 0.0
        self._turning = False
        self._waiting = 0
        self._lock: anyio.Lock | None = None
        # Whether a Packet goes to the address that it carries.
        self.addressed = False
        # Lets go what was to be sent before.
        self.before_put: Callable[[], None] | None = None
        # What was sent one by one; the port's sender counts the rest.
        self._packets = 0
        self._bytes = 0
        self.tx_refused = 0

    @property
    def tx_packets(self) -> int:
        """Packets that the kernel took."""
        return self._packets + self._port.sender.packets

    @property
    def tx_bytes(self) -> int:
        """Their bytes."""
        return self._bytes + self._port.sender.bytes

    def destination(self, data: Data, address: Address | None) -> Address | None:
        """Where a packet goes; None: to where the port is bound or connected."""
        if address is None and self.addressed and type(data) is Packet:
            carried: Address | None = data.addr
            return carried
        return address

    def frame(self, data: Data) -> Data:
        """What is sent for a packet: of an Ethernet frame, with its VLAN tag."""
        if self._port.sender.tags and type(data) is Packet and data.vlan_tci is not None:
            return data.tagged()
        return data

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
        if self.before_put is not None:
            self.before_put()
        address = self.destination(data, address)
        port, data = self._port, self.frame(data)
        send = partial(port.send, data) if address is None else partial(port.sendto, data, address)
        return self._hand_over(send, (data,), address)

    def put_message(
        self, buffers: Sequence[Data], ancdata: AncillaryData, flags: int, address: Address | None
    ) -> int:
        """As `put`, by sendmsg(2). The first buffer is what begins with the link header."""
        if self.before_put is not None:
            self.before_put()
        buffers = [self.frame(head) for head in buffers[:1]] + list(buffers[1:])
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
        self._packets += 1
        self._bytes += taken
        return taken

    def put_batch(
        self, items: tuple[Item, ...] | Batch, start: int = 0, refused: int = 0
    ) -> tuple[int, OSError | None]:
        """Try once to send the items from ``start`` on, in order.

        Args:
            items: What is to be sent.
            start: The first of them that is.
            refused: The errno with which the kernel has just refused that one; 0: it was not asked.

        Returns:
            The index of the first that was not taken, and why, as `put` would raise it; the number
            of items, and None, if all were. Those taken are counted, whatever happens next.

        Raises:
            SpecError: An address is a host's name. What was before it is sent.
        """
        if self.before_put is not None:
            self.before_put()
        at, asked_again = start, -1
        while at < len(items):
            if self._port.fileno() < 0:
                return at, self._closed()
            taken, number = 0, refused
            if not refused:
                taken, number = self._port.send_batch(items, at, self.addressed)
            refused = 0
            at += taken
            if at == len(items):
                break
            if number == errno.EAGAIN:
                return at, BlockingIOError(number, os.strerror(number))
            if not number:
                # In a form that only the socket module knows, or has the words to refuse.
                if (refusal := self._put_item(items[at])) is not None:
                    return at, refusal
                at += 1
                continue
            error = OSError(number, os.strerror(number))
            if at == asked_again or not self._intake.is_about_another(error):
                data, address = parts(items[at])
                return at, self._explained(error, (data,), self.destination(data, address))
            asked_again = at
        return at, None

    def _put_item(self, item: Item) -> OSError | None:
        try:
            self.put(*parts(item))
        except OSError as error:
            return error.with_traceback(None)
        return None

    def _closed(self) -> ClosedError:
        return ClosedError(f"send on {self._place}: the channel is closed")

    def _explained(self, error: OSError, parts: Sequence[Data], address: Address | None) -> OSError:
        sock = self._port.sock
        if self._port.fileno() < 0:
            return self._closed()
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
        refused = False
        if self._turn and not self._waiting:
            self._turn -= 1
            try:
                self.put(data, address)
            except OSError as error:
                if not no_room(error):
                    raise
                refused = True
                self.tx_refused += 1
            else:
                return
        async with self._in_order():
            await self._patiently(partial(self.put, data, address), refused=refused)

    async def _send_all(self, rest: memoryview) -> None:
        async with self._in_order():
            while rest:
                rest = rest[await self._patiently(partial(self.put, rest)) :]

    async def send_batch(self, items: Iterable[Item]) -> Sent:
        """Send packets in order; wait while there is no room.

        Raises:
            OSError: As `send`, if none was taken.
            SpecError: As `put_batch`.
        """
        if type(items) is Batch and len(items) <= PIECE and self._is_free():
            # Where a packet is a microsecond, the functions on the way are a tenth of a batch.
            sent, refused = self._port.send_batch(items, 0, self.addressed)
            self._turn = max(0, self._turn - 1 - sent * _TURN // PIECE)
            if sent == len(items):
                return Sent(sent)
            return await self._send_rest(items, sent, refused)
        sent = 0
        send = self._send_each if self._port.stream else self._send_some
        for batch in pieces(items):
            taken, error = await send(batch)
            sent += taken
            if error is not None:
                if not sent:
                    raise error
                return Sent(sent, error)
        return Sent(sent)

    def _is_free(self) -> bool:
        """Whether nothing is to be seen to before the next packets but themselves."""
        return (
            self._turn > 0
            and not self._waiting
            and self.before_put is None
            and not self._port.stream
            and self._port.fileno() >= 0
        )

    async def _send_rest(self, items: Batch, at: int, refused: int) -> Sent:
        at, error = await self._send_some(items, at, refused)
        if error is not None and not at:
            raise error
        return Sent(at, error)

    async def _send_each(self, items: tuple[Item, ...] | Batch) -> tuple[int, OSError | None]:
        for at, item in enumerate(items):
            try:
                await self.send(*parts(item))
            except OSError as error:
                return at, error.with_traceback(None)
        return len(items), None

    async def _send_some(
        self, items: tuple[Item, ...] | Batch, at: int = 0, refused: int = 0
    ) -> tuple[int, OSError | None]:
        refused_at = -1
        if not self._waiting:
            if not self._turn:
                await self._give_turn()
            start = at
            at, error = self.put_batch(items, start, refused)
            self._turn = max(0, self._turn - 1 - (at - start) * _TURN // PIECE)
            if error is None or not no_room(error):
                return at, error
            refused_at = at
            self.tx_refused += 1
        async with self._in_order():
            return await self._batch_patiently(items, at, refused_at)

    async def _batch_patiently(
        self, items: tuple[Item, ...] | Batch, at: int, refused_at: int
    ) -> tuple[int, OSError | None]:
        pauses = iter(_PAUSES)
        while True:
            at, error = self.put_batch(items, at)
            if error is None or not no_room(error):
                return at, error
            if at != refused_at:
                refused_at = at
                self.tx_refused += 1
                pauses = iter(_PAUSES)
            try:
                await self._wait_for_room(error, pauses)
            except OSError as final:
                return at, final.with_traceback(None)

    async def send_message(
        self, buffers: Sequence[Data], ancdata: AncillaryData, flags: int, address: Address | None
    ) -> int:
        """As `send`, by sendmsg(2). How many bytes were sent."""
        return await self.send_by(partial(self.put_message, buffers, ancdata, flags, address))

    async def send_by(self, attempt: Callable[[], int]) -> int:
        """Send by one of the calls that try once, as `send` does; its result."""
        async with self._in_order():
            return await self._patiently(attempt)

    async def _give_turn(self) -> None:
        # As `_in_order` where nobody waits, at a fifth of its price, and not before it is due.
        if monotonic() - self._turn_began < _BATCHES:
            self._turn = _TURN
            return
        self._waiting += 1
        self._turning = True
        try:
            await checkpoint()
            self._turn = _TURN
            self._turn_began = monotonic()
        finally:
            self._turning = False
            self._leave()

    @asynccontextmanager
    async def _in_order(self) -> AsyncIterator[None]:
        if self._lock is None:
            self._lock = anyio.Lock()
        self._waiting += 1
        try:
            async with self._lock:  # a checkpoint, too
                while self._turning:
                    await checkpoint()
                self._turn = _TURN
                yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._lock = None  # it belongs to the loop that it was made in

    async def _patiently(self, attempt: Callable[[], int], *, refused: bool = False) -> int:
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
