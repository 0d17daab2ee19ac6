"""Receiving by awaiting: the passive half of a channel.

The rule that everything here follows: await *readiness*, then do the system call in the awaiting
task. Nothing is awaited between the system call and the return, so a cancelled receive has read
nothing that it does not leave to the next.

A receive that finds its packet at once does not suspend. After `Port.turn_ns` of these in a row the
other tasks get their turn, or a flood would stop the whole loop. The clock is looked at after each
`_STRETCH` of packets. That is also when packets are read ahead: see `Reader`.
"""

import errno
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import anyio
from anyio.abc import UnreliableObjectReceiveStream

from .._system._native import Reader
from ..bounds import MAX_COUNT, MAX_INT, whole
from ..errors import ActiveModeError, BusyError, ClosedError
from ..packet import Batch, Packet
from ..readiness import Readiness, checkpoint
from .intake import Intake
from .modes import Mode
from .port import MAX_PACKET, Message, Port
from .removal import LINK_CHECK, watch_link
from .serve import deliver

__all__ = ("Receiving",)

_STRETCH: Final = 64  # packets between looks at the clock; as in Reader

_T = TypeVar("_T")


class Receiving(UnreliableObjectReceiveStream[Packet]):
    """What can be read. One task at a time; the same packets may go to a protocol instead.

    While a link is down, a receive goes on waiting: the channel works again when it is up.
    """

    def __init__(self, port: Port, intake: Intake, readiness: Readiness, read_packets: int) -> None:
        self._port = port
        self._intake = intake
        self._readiness = readiness
        self._read_packets = read_packets
        self._machine = intake.machine
        self._closed = False
        self._on_link_down: Callable[[], None] = lambda: None
        # While it is free, receives do without any check: until the turn ends, and not while
        # something is in the way: closed, active, another reader.
        ahead = 1 if port.stream else min(_STRETCH, read_packets)
        self._reader = Reader(
            self._machine.delivery, port.counters, ahead, readiness.reader, port.turn_ns
        )
        self._reader.turns = _STRETCH

    def receive(self) -> Coroutine[Any, Any, Packet]:
        """Receive the next packet.

        Packets that need not be waited for are read ahead, up to 64: ``stats().rx_held``.

        Raises:
            ClosedError: The channel is closed, or was while this call waited.
            BusyError: Another task receives.
            ActiveModeError: Packets go to a protocol or to `serve`.
            LinkDownError: The interface was removed. A socket of IP finds out within a second.
            ChannelError: What else the kernel said.
            anyio.EndOfStream: The other end closed.
        """
        return self._reader.receive(self)

    def __aiter__(self) -> AsyncIterator[Packet]:  # type: ignore[override]
        return self._reader.iterate(self)

    def __anext__(self) -> Coroutine[Any, Any, Packet]:
        return self._reader.next(self)

    async def _receive_slowly(self, tried: bool, error: OSError | EOFError | None) -> Packet:
        """`receive` goes on here if no packet was there at once.

        ``tried``: it looked for one, and ``error`` is what was there instead.
        """
        tried = self._note(tried, error)
        return (await self._read(lambda: self._packets(1), tried=tried))[0]

    def _note(self, tried: bool, error: OSError | EOFError | None) -> bool:
        """Whether nothing is there, as far as is known."""
        if isinstance(error, OSError):
            self._intake.note(error)
            return False  # behind it there may be packets
        if error is not None:
            raise anyio.EndOfStream
        return tried

    def _woken(self) -> None:
        """A receive waited, and the loop called: it may be for an error."""
        self._intake.wake(self._readiness.events)

    async def _next_slowly(self, tried: bool, error: OSError | EOFError | None) -> Packet:
        try:
            return await self._receive_slowly(tried, error)
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def receive_batch(self, max: int = 64) -> Coroutine[Any, Any, list[Packet]]:
        """Receive at least one packet and at most ``max``: those that are there now.

        Above 64 a packet costs more again: such a list outgrows the allocator's reserve.

        Raises:
            SpecError: ``max`` is no whole number from 1.
            And what `receive` raises.
        """
        if type(max) is int and 0 < max <= MAX_COUNT:
            return self._reader.receive_list(self, max)
        return self._receive_checked(max)  # what is wrong is said where it is awaited

    async def _receive_checked(self, max: int) -> list[Packet]:
        return await self._reader.receive_list(self, whole("max", max, 1, MAX_COUNT))

    async def _list_slowly(
        self, tried: bool, error: OSError | EOFError | None, max: int
    ) -> list[Packet]:
        tried = self._note(tried, error)
        packets = await self._read(lambda: self._packets(max), tried=tried)
        self._count(len(packets) - 1)  # the read has counted one
        return packets

    def batches(self, max: int | None = None) -> AsyncIterator[Batch]:
        """Iterate over all that comes, batch by batch. Leaving the loop loses nothing.

        A batch stays valid as long as it is kept. That of a ring is held in the ring while it is
        one of the last few, and copied out if it is kept for longer: one that the loop is done
        with, and nobody keeps, costs nothing more.

        Args:
            max: Packets in a batch at most. None: a block of a ring, from elsewhere 64.

        Raises:
            SpecError: ``max`` is no whole number from 1.
        """
        if max is not None:
            whole("max", max, 1, MAX_COUNT)
        return self._reader.iterate_batches(self, max)

    async def _batch_slowly(
        self, tried: bool, error: OSError | EOFError | None, max: int | None
    ) -> Batch:
        try:
            tried = self._note(tried, error)
            batch = await self._read(lambda: self._whole(max), tried=tried)
        except (anyio.EndOfStream, EOFError):
            raise StopAsyncIteration from None
        self._count(len(batch) - 1)  # the read has counted one
        return batch

    def receive_nowait(self) -> Packet:
        """Receive a packet that is there now.

        Raises:
            BlockingIOError: There is none.
            And what `receive` raises.
        """
        self._check_may_receive()
        packets = self._packets(1)
        if packets is None:
            # Who polls and never waits would never empty the error queue.
            self._intake.drain_errors()
            self._intake.check_link()
            self._intake.look_for_drops()
            raise BlockingIOError(errno.EAGAIN, "no packet is there now")
        return packets[0]

    async def recv(self, n: int = MAX_PACKET) -> bytes:
        """Receive the bytes of one packet; what is longer than ``n`` is cut off.

        Of a stream: up to ``n`` bytes, b"" at its end.

        Raises:
            SpecError: ``n`` is no whole number from 0.
            And what `receive` raises, but for the end of a stream.
        """
        return (await self._recv(n))[0]

    async def recvfrom(self, n: int = MAX_PACKET) -> tuple[bytes, Any]:
        """Receive, and raise, as `recv`, with the sender as the socket module gives it."""
        data, packet = await self._recv(n)
        return data, None if packet is None else packet.addr

    async def _recv(self, n: int) -> tuple[bytes, Packet | None]:
        whole("n", n, 0, MAX_INT)
        try:
            if self._port.stream:
                return await self._read(lambda: self._stream(n)), None
            packet = await self.receive()
        except anyio.EndOfStream:
            return b"", None
        data = packet.data
        if len(data) > n:
            self._intake.extra_truncated += not packet.truncated
            data = data[:n]
        return data, packet

    async def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Receive one packet into memory of the caller's.

        Returns:
            How many bytes of it are there; 0 also at the end of a stream.

        Raises:
            TypeError: The memory cannot be written to, or is not in one piece; no packet was taken.
            And what `receive` raises, but for the end of a stream.
        """
        view = memoryview(buffer)
        if view.readonly or not view.c_contiguous:
            raise TypeError("recv_into needs memory in one piece that it can write to")
        with view, view.cast("B") as room, suppress(anyio.EndOfStream):
            return await self._read(lambda: self._into(room))
        return 0

    async def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> Message:
        """Receive with ancillary data, as `socket.socket.recvmsg`. Sockets only.

        Descriptors that come with it are close-on-exec, and the caller's to close.

        Raises:
            SpecError: A size is no whole number from 0, or the flags are none.
            And what `receive` raises.
        """
        for name, value in (("bufsize", bufsize), ("ancbufsize", ancbufsize), ("flags", flags)):
            whole(name, value, 0, MAX_INT)
        return await self._read(lambda: self._message(bufsize, ancbufsize, flags))

    async def serve(
        self, handler: Callable[[Packet], Awaitable[object] | None], active: Mode = True
    ) -> None:
        """Call a handler for each packet: active mode in its structured form, on trio as well.

        Returns when the mode has become passive, or at the end of a stream. What a handler raises,
        and a cancellation, end it as well; what was not delivered then stays readable.

        Args:
            handler: Called with each packet; what it returns is awaited if it is not None.
            active: True: for ever. ``"once"`` or a number: that many packets; none from 0 down.

        Raises:
            BusyError: Another task receives, or the channel is active already.
            ClosedError: The channel was closed.
            LinkDownError: The interface was removed.
            TypeError: The handler cannot be called.
        """
        if not callable(handler):
            raise TypeError(f"serve takes a function to call with each packet, not {handler!r}")
        if self._machine.active is not False:
            raise BusyError(f"serve on {self._intake.place}: it is active already")
        self._set_mode(active)
        try:
            while self._machine.active is not False:
                self._check_open()
                batch = self._intake.next_batch(self._read_packets)
                if batch:
                    await deliver(self._machine, batch, handler)
                    self._intake.look_for_drops()
                    await checkpoint()
                else:
                    await self._wait()
            self._check_open()  # a closed channel is passive, too
        except anyio.EndOfStream:
            pass
        finally:
            self._machine.set(False)
            self._settle(_STRETCH)

    # What the calls above share.

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"receive on {self._intake.place}: the channel is closed")

    def _check_may_receive(self) -> None:
        self._check_open()
        if self._machine.active is not False:
            raise ActiveModeError(
                f"receive on {self._intake.place}: it is active",
                hint="set_active(False) comes first",
            )
        if self._reader.reading:
            raise BusyError(f"receive on {self._intake.place}: another task is receiving already")

    def _set_mode(self, mode: Mode) -> bool:
        """Change the mode as `ReadMachine.set` does, unless a receive waits."""
        self._check_open()
        if self._reader.reading and mode is not False:
            raise BusyError(f"set_active on {self._intake.place}: a receive waits on it")
        ended = self._machine.set(mode)
        self._settle(_STRETCH)
        return ended

    def _settle(self, unchecked: int) -> None:
        """Something came into the way of unchecked receives, or out of it."""
        active = self._machine.active is not False
        obstacle = self._closed or self._reader.reading or active or self._intake.gone
        self._reader.turns = 0 if obstacle else unchecked
        self._reader.ends = 0 if obstacle else self._reader.turn_ends

    def _count(self, packets: int) -> None:
        self._reader.turns = max(0, self._reader.turns - packets)

    def _begin_turn(self) -> int:
        self._reader.turn_ends = time.monotonic_ns() + self._port.turn_ns
        return _STRETCH

    async def _read(self, attempt: Callable[[], _T | None], *, tried: bool = False) -> _T:
        """What ``attempt`` finds; wait while that is None, as it just was if ``tried``."""
        self._check_may_receive()
        reader = self._reader
        turns = reader.turns if reader.is_free() else 0
        reader.turns = reader.ends = 0
        reader.reading = True
        try:
            if not turns:
                self._intake.look_for_drops()
                await checkpoint()
                turns = self._begin_turn()
                tried = False
            while True:
                self._check_open()
                found = None if tried else attempt()
                if found is not None:
                    return found
                tried = False
                await self._wait()
                turns = self._begin_turn()
        finally:
            reader.reading = False
            self._settle(turns - 1)

    async def _wait(self) -> None:
        """Until there is something to read, or to see."""
        intake = self._intake
        intake.look_for_drops()
        if intake.link_is_down or (intake.deafens and not watch_link(self)):
            with anyio.move_on_after(LINK_CHECK):
                await self._readiness.wait_readable()
            intake.check_link()
        else:
            await self._readiness.wait_readable()
        if not self._closed:
            self._woken()

    def _packets(self, count: int) -> list[Packet] | None:
        backlog = self._machine.backlog
        if backlog:
            return backlog.take(count)
        return self._intake.attempt(count) or None

    def _whole(self, count: int | None) -> Batch | None:
        backlog = self._machine.backlog
        if backlog:
            return Batch(backlog.take(count or _STRETCH))
        return self._intake.attempt_whole(count)

    def _stream(self, size: int) -> bytes | None:
        try:
            data = self._port.read(size)
        except BlockingIOError:
            return None
        except OSError as error:
            self._intake.note(error)
            return None
        self._intake.count(len(data))
        return data

    def _into(self, room: memoryview) -> int | None:
        if not self._machine.backlog:
            return self._intake.attempt_into(room)
        packet = self._machine.backlog.popleft()
        length = min(len(room), len(packet))
        room[:length] = packet.data[:length]
        return length

    def _message(self, bufsize: int, ancbufsize: int, flags: int) -> Message | None:
        if self._machine.backlog:
            packet = self._machine.backlog.popleft()
            cut = socket.MSG_TRUNC if packet.truncated or len(packet) > bufsize else 0
            return packet.data[:bufsize], list(packet.ancdata), cut, packet.addr
        try:
            message = self._port.recvmsg(bufsize, ancbufsize, flags)
        except BlockingIOError:
            return None
        except OSError as error:
            self._intake.note(error)
            return None
        self._intake.count(len(message[0]), truncated=bool(message[2] & socket.MSG_TRUNC))
        return message
