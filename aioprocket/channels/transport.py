"""Packets by callback: asyncio's transport for a channel, on any asyncio loop.

asyncio's own datagram transport takes no raw descriptor on uvloop, reads one packet per wakeup,
and dies or spins at the first EPOLLERR; so this one stands on `Readiness` and the channel's parts.
Per wakeup it reads a bounded number of packets, never more than the mode allows.
"""

import asyncio
import os
import warnings
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

import anyio

from .._system._native import Wakeup
from ..errors import ClosedError, LinkDownError
from ..packet import Batch, Packet
from .channel import Channel
from .dispatch import Dispatch
from .intake import TURN_NS
from .modes import Mode
from .port import MAX_PACKET, Address, Data, Message
from .removal import LINK_CHECK, watch_link
from .state import Stats
from .writebuffer import WriteBuffer
from .writer import Writer

__all__ = ("RawTransport",)


class RawTransport(asyncio.DatagramTransport, asyncio.ReadTransport):
    """A channel's packets for an `asyncio.DatagramProtocol`, or any object with such methods.

    While `active` is False, packets are not delivered, and the receives of the channel work; they
    are here as well. The channel is the transport's, and is closed with it.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, channel: Channel, dispatch: Dispatch
    ) -> None:
        super().__init__()
        self._loop = loop
        self._pid = os.getpid()
        self._channel = channel
        self._intake = channel._intake
        self._machine = channel._machine
        self._readiness = channel._readiness
        self._dispatch = dispatch
        dispatch.transport = self
        self._started = False
        self._subscribed = False
        self._paused = False
        self._closing = False
        self._lost = False
        self._next_turn: asyncio.Handle | None = None
        self._link_check: asyncio.TimerHandle | None = None
        self._buffer = WriteBuffer(
            partial(dispatch.call, "pause_writing"), partial(dispatch.call, "resume_writing")
        )
        port, outlet = channel._port, channel._outlet
        self._bare = port.bare
        self._writer = Writer(port, outlet, self._intake, self._readiness, self._buffer)
        # What the method of this name does, without a frame of Python for each packet.
        self.sendto = self._writer.sendto  # type: ignore[method-assign]
        self._wakeup = Wakeup(
            port.counters, self._machine.delivery, self._writer.gatherer,
            self._read, self._settle, dispatch.max_budget, TURN_NS,
        )  # fmt: skip
        dispatch.wake_by(self._wakeup)
        self._writer.on_error = self._tell_error
        self._writer.on_writable = self._on_writable
        self._intake.on_error = self._tell_error
        channel._on_close = self._channel_closed
        channel._on_link_down = self._update

    def set_protocol(self, protocol: Any) -> None:
        """Give the packets to another protocol from the next one on; it hears nothing of it."""
        self._dispatch.choose(protocol)
        self._machine.delivery.interrupt()

    def get_protocol(self) -> Any:
        """The present protocol."""
        return self._dispatch.protocol

    def _tell_error(self, error: OSError) -> None:
        self._dispatch.call("error_received", error)

    def _tell_passive(self) -> None:
        if not self._lost:
            self._dispatch.call("passive")

    # Reading

    @property
    def active(self) -> Mode:
        """False, True, ``"once"``, or how many packets are still to be delivered."""
        return self._machine.active

    def set_active(self, mode: Mode) -> None:
        """Change the mode: True, False, ``"once"``, or a number that is added to the count.

        A count that reaches 0 ends in False, and ``passive()`` tells the protocol; so does a sum
        of 0 or less. Any other change forgets the count silently. ``True`` is not ``1``.

        Raises:
            SpecError: The sum is above 32767; nothing has changed.
            BusyError: A receive waits on the channel.
            ClosedError: The transport is closing.
        """
        if self._closing:
            raise ClosedError(f"set_active on {self._intake.place}: the transport is closing")
        if self._channel._set_mode(mode):
            # Not from within the caller, who may not be ready for it yet.
            self._loop.call_soon(self._tell_passive)
        self._update()

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`. The mode, and a count, stay as they are."""
        self._paused = True
        self._machine.delivery.interrupt()
        self._update()

    def resume_reading(self) -> None:
        """Take back `pause_reading`."""
        self._paused = False
        self._update()

    def is_reading(self) -> bool:
        """Whether packets are delivered: active, not paused, not closing."""
        return not self._paused and not self._closing and self._machine.active is not False

    def _start(self, ended: bool, started: "asyncio.Future[None]") -> None:
        self._dispatch.call("connection_made", self)
        self._started = True
        if self._intake.deafens:
            watch_link(self._channel)
        if ended:
            self._tell_passive()
        self._update()
        if not started.done():
            started.set_result(None)

    def _update(self) -> None:
        """Be called back as mode, pause and close want it: absence is the backpressure."""
        if self._machine.delivery.delivering or not self._started:
            return  # the end of the delivery, or the start, does it once
        wanted = self.is_reading()
        if wanted and not self._subscribed:
            self._readiness.subscribe(self._wakeup.run, bare=self._bare)
        elif self._subscribed and not wanted:
            self._readiness.unsubscribe()
        self._subscribed = wanted
        if wanted and self._machine.backlog and self._next_turn is None:
            # No event will come for what was read already.
            self._take_next_turn()
        if wanted and self._intake.link_is_down and self._link_check is None:
            self._link_check = self._loop.call_later(LINK_CHECK, self._on_link_check)

    def _take_next_turn(self) -> None:
        self._next_turn = self._loop.call_soon(self._on_next_turn)
        self._machine.delivery.due = True

    def _on_next_turn(self) -> None:
        self._next_turn = None
        self._machine.delivery.due = False
        if self.is_reading() and self._machine.backlog:
            self._read(False)
            if self._next_turn is None and not self._closing:
                self._take_next_turn()

    def _on_link_check(self) -> None:
        self._link_check = None
        if not self._closing:
            try:
                self._intake.check_link()
            except LinkDownError as error:
                self._end(error)
            self._update()

    def _read(self, woken: bool = True) -> None:
        # In one turn of the loop there is one turn of reading: the backlog's, if there is one.
        if not (woken and self._next_turn is not None):
            self._machine.delivery.delivering = self._writer.gatherer.open = True
            self._attempt(self._take_turn, woken)

    def _take_turn(self, woken: bool) -> None:
        if woken:
            self._intake.wake(self._readiness.events)
        self._dispatch.turn(self._intake)

    def _settle(self, error: BaseException | None) -> None:
        """What the wakeup could not do in its turn."""
        self._attempt(self._dispatch.settle, self._intake, error)

    def _attempt(self, turn: Callable[..., None], *arguments: object) -> None:
        try:
            turn(*arguments)
        except anyio.EndOfStream:
            self._end(None)
        except OSError as error:
            self._end(error)
        except Exception as error:
            self._fail("read", error)
        finally:
            self._look_for_drops()
            self._machine.delivery.delivering = False
            self._send_gathered()
            self._update()

    def _look_for_drops(self) -> None:
        try:
            self._intake.look_for_drops()
        except Exception as error:
            self._dispatch.report(f"exception in on_drop of {self._intake.place}", error)

    def _send_gathered(self) -> None:
        try:
            self._writer.end()
        except Exception as error:
            self._fail("write", error)

    # Writing

    def sendto(self, data: Data, addr: Address | None = None) -> None:  # type: ignore[override]
        """Send one packet; where the kernel has no room for it, keep it until there is.

        Never raises for the packet's sake: ``error_received`` tells of one that cannot be sent.
        What is sent after `close` is dropped silently.

        Raises:
            SpecError: The address is a host's name: nothing is looked up here.
        """
        self._writer.sendto(data, addr)

    def send_batch(self, items: Iterable[Data | tuple[Data, Address | None]]) -> int:
        """Send packets, or pairs of a packet and its address, each as `sendto` does.

        Returns:
            How many the kernel took at once; the others are in the buffer, or were reported.
        """
        return self._writer.send_batch(items)

    def _on_writable(self) -> None:
        try:
            self._writer.flush()
        except Exception as error:
            self._fail("write", error)
            return
        if self._closing and not self._buffer:
            self._schedule_lost(None)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to call ``pause_writing`` and ``resume_writing``, in bytes; asyncio's defaults."""
        self._buffer.set_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low limit and the high one."""
        return self._buffer.limits

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for room, and 8 for each packet."""
        return self._writer.size()

    # The end

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def close(self) -> None:
        """Stop reading, send what is in the buffer, then ``connection_lost(None)``. Idempotent.

        The descriptor is closed after that as by `Channel.close`, which may block the loop for
        some milliseconds; ``await transport.channel.aclose()`` aborts without doing that.
        """
        if not self._closing:
            self._send_gathered()
            self._stop()
            if not self._buffer:
                self._schedule_lost(None)

    def abort(self) -> None:
        """As `close`, but forget what is in the buffer."""
        self._end(None)

    def _stop(self) -> None:
        self._closing = True
        self._writer.stop()
        self._machine.delivery.interrupt()
        self._update()
        for handle in (self._next_turn, self._link_check):
            if handle is not None:
                handle.cancel()
        self._next_turn = self._link_check = None
        self._machine.delivery.due = False

    def _fail(self, doing: str, error: Exception) -> None:
        """End with what nobody expected: the next wakeup would only meet it again."""
        self._dispatch.report(f"unexpected exception in a {doing} on {self._intake.place}", error)
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        if not self._closing:
            self._send_gathered()
        self._stop()
        self._buffer.clear()
        self._schedule_lost(error)

    def _channel_closed(self) -> None:
        self._subscribed = False  # with the channel's readiness
        if not self._lost:
            self._end(None)

    def _schedule_lost(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        if os.getpid() != self._pid or self._loop.is_closed():
            # In a forked child the loop is the parent's, and a closed loop calls nobody.
            self._channel.close()
        else:
            self._loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        self._dispatch.call("connection_lost", error)
        self._channel._on_close = None
        self._channel._on_link_down = lambda: None
        self._intake.on_error = None
        self._channel.close()

    def __del__(self) -> None:
        if not getattr(self, "_lost", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self._lost = True  # and the loop is not asked to tell the protocol of it
            self._channel.close()

    def __repr__(self) -> str:
        state = "closing" if self._closing else f"active={self.active}"
        return f"<RawTransport {self._channel!r} {state}>"

    # The channel

    @property
    def channel(self) -> Channel:
        """The channel, which is the transport's."""
        return self._channel

    def stats(self) -> Stats:
        """As the channel's."""
        return self._channel.stats()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the channel's."""
        return self._channel.get_extra_info(name, default)

    async def receive(self) -> Packet:
        """As the channel's, while `active` is False."""
        return await self._channel.receive()

    async def receive_batch(self, max: int = 64) -> list[Packet]:
        """As the channel's, while `active` is False."""
        return await self._channel.receive_batch(max)

    def receive_nowait(self) -> Packet:
        """As the channel's, while `active` is False."""
        return self._channel.receive_nowait()

    async def recv(self, n: int = MAX_PACKET) -> bytes:
        """As the channel's, while `active` is False."""
        return await self._channel.recv(n)

    async def recvfrom(self, n: int = MAX_PACKET) -> tuple[bytes, Any]:
        """As the channel's, while `active` is False."""
        return await self._channel.recvfrom(n)

    async def recv_into(self, buffer: bytearray | memoryview) -> int:
        """As the channel's, while `active` is False."""
        return await self._channel.recv_into(buffer)

    async def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> Message:
        """As the channel's, while `active` is False."""
        return await self._channel.recvmsg(bufsize, ancbufsize, flags)

    def batches(self, max: int | None = None) -> AsyncIterator[Batch]:
        """As the channel's, while `active` is False."""
        return self._channel.batches(max)

    def __aiter__(self) -> AsyncIterator[Packet]:
        return self._channel.__aiter__()
