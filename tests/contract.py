"""What every transport must do, whatever it carries: derive from `TransportContract`.

The subclass gives a fixture ``line``: a channel, and the far end of what it is connected to.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
import pytest

from aioprocket import (
    ActiveModeError,
    BusyError,
    Channel,
    ClosedError,
    Packet,
    RawTransport,
    create_endpoint,
)

__all__ = ("Line", "Recorder", "TransportContract", "until")


class Line(Protocol):
    """One channel, and what is at its other end."""

    channel: Channel

    def feed(self, number: int) -> None:
        """Send a packet to the channel; it can be read when this returns."""

    def number(self, packet: Packet) -> int:
        """Which one this is."""

    def outgoing(self) -> bytes:
        """A packet that the far end gets."""

    def arrived(self) -> int:
        """How many of them the far end has got since the last call."""


async def until(condition: Callable[[], object]) -> None:
    """Give the loop turns until something holds; the test's own deadline is the limit."""
    while not condition():  # noqa: ASYNC110 (nobody could set an event: the loop is the subject)
        await anyio.sleep(0.001)


class Recorder(asyncio.DatagramProtocol):
    """Writes down every call. ``on_packet`` may be set to do something in the midst of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.packets: list[Packet] = []
        self.errors: list[Exception] = []
        self.lost: list[Exception | None] = []
        self.on_packet: Callable[[Packet], None] = lambda packet: None
        self.transport: RawTransport

    def connection_made(self, transport: Any) -> None:
        self.calls.append("connection_made")
        self.transport = transport

    def packet_received(self, packet: Packet) -> None:
        self.calls.append("packet_received")
        self.packets.append(packet)
        self.on_packet(packet)

    def error_received(self, exc: Exception) -> None:
        self.calls.append("error_received")
        self.errors.append(exc)

    def passive(self) -> None:
        self.calls.append("passive")

    def pause_writing(self) -> None:
        self.calls.append("pause_writing")

    def resume_writing(self) -> None:
        self.calls.append("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("connection_lost")
        self.lost.append(exc)


PASSIVE_RECEIVES: dict[str, Callable[[RawTransport], Awaitable[Any]]] = {
    "receive": lambda transport: transport.receive(),
    "receive_batch": lambda transport: transport.receive_batch(),
    "recv": lambda transport: transport.recv(),
    "recvfrom": lambda transport: transport.recvfrom(),
    "recv_into": lambda transport: transport.recv_into(bytearray(100)),
    "iteration": lambda transport: anext(aiter(transport)),
    "batches": lambda transport: anext(transport.batches()),
}


@pytest.mark.asyncio
class TransportContract:
    """Order, exactly once, modes, pause, close."""

    @pytest.fixture
    def line(self) -> Line:
        raise NotImplementedError

    async def _open(self, line: Line, active: Any = True) -> tuple[RawTransport, Recorder]:
        return await create_endpoint(Recorder, line.channel, active=active)

    def _numbers(self, line: Line, protocol: Recorder) -> list[int]:
        return [line.number(packet) for packet in protocol.packets]

    async def _end(self, transport: RawTransport, protocol: Recorder) -> None:
        transport.abort()
        await until(lambda: protocol.lost)

    async def test_the_connection_is_made_before_anything_else(self, line: Line) -> None:
        line.feed(0)
        transport, protocol = await self._open(line)
        assert protocol.calls[0] == "connection_made"
        assert protocol.transport is transport
        assert transport.get_protocol() is protocol

        await until(lambda: protocol.packets)
        transport.close()
        await until(lambda: protocol.lost)

        assert protocol.calls == ["connection_made", "packet_received", "connection_lost"]

    async def test_packets_come_in_order_and_exactly_once(self, line: Line) -> None:
        transport, protocol = await self._open(line)
        for start in range(0, 200, 8):
            for number in range(start, start + 8):
                line.feed(number)
            await until(lambda: len(protocol.packets) == start + 8)  # noqa: B023

        await self._end(transport, protocol)

        assert self._numbers(line, protocol) == list(range(200))

    async def test_a_passive_transport_delivers_nothing_and_can_be_read(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=False)
        for number in range(5):
            line.feed(number)
        await asyncio.sleep(0.01)

        got = [line.number(await transport.receive()) for _ in range(5)]
        await self._end(transport, protocol)

        assert got == list(range(5))
        assert not protocol.packets

    async def test_once_is_one_packet(self, line: Line) -> None:
        for number in range(3):
            line.feed(number)
        transport, protocol = await self._open(line, active="once")
        await until(lambda: protocol.packets)
        await asyncio.sleep(0.01)

        assert self._numbers(line, protocol) == [0]
        assert transport.active is False
        assert line.number(await transport.receive()) == 1
        await self._end(transport, protocol)
        assert "passive" not in protocol.calls

    async def test_a_count_is_exactly_that_many_and_then_passive(self, line: Line) -> None:
        for number in range(5):
            line.feed(number)
        transport, protocol = await self._open(line, active=3)
        await until(lambda: "passive" in protocol.calls)
        await asyncio.sleep(0.01)

        assert self._numbers(line, protocol) == [0, 1, 2]
        assert protocol.calls[1:] == ["packet_received"] * 3 + ["passive"]
        assert transport.active is False
        assert line.number(transport.receive_nowait()) == 3
        await self._end(transport, protocol)

    async def test_counts_add_up_and_can_be_taken_back(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=3)
        transport.set_active(4)
        added = transport.active
        transport.set_active(-100)

        assert (added, transport.active) == (7, False)
        await until(lambda: "passive" in protocol.calls)

        transport.set_active(0)
        await until(lambda: protocol.calls.count("passive") == 2)
        await self._end(transport, protocol)

    async def test_a_count_that_begins_used_up_says_so_at_once(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=-1)
        line.feed(0)

        await until(lambda: "passive" in protocol.calls)
        assert protocol.calls == ["connection_made", "passive"]
        assert transport.active is False
        await self._end(transport, protocol)

    async def test_a_count_above_the_limit_changes_nothing(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=32767)

        with pytest.raises(ValueError, match="32767"):
            transport.set_active(1)

        assert transport.active == 32767
        await self._end(transport, protocol)

    @pytest.mark.parametrize("mode", [True, "once", False])
    async def test_another_mode_forgets_the_count_silently(self, line: Line, mode: Any) -> None:
        transport, protocol = await self._open(line, active=5)

        transport.set_active(mode)
        await asyncio.sleep(0.01)

        assert transport.active is mode or transport.active == "once"
        assert "passive" not in protocol.calls
        await self._end(transport, protocol)

    @pytest.mark.parametrize("name", PASSIVE_RECEIVES)
    async def test_a_receive_while_active_is_refused(self, line: Line, name: str) -> None:
        transport, protocol = await self._open(line)
        transport.pause_reading()

        with pytest.raises(ActiveModeError) as raised:
            await PASSIVE_RECEIVES[name](transport)

        assert raised.value.errno == errno.EINVAL
        with pytest.raises(ActiveModeError):
            transport.receive_nowait()
        await self._end(transport, protocol)

    @pytest.mark.parametrize("mode", [True, "once", 3])
    async def test_activating_while_a_receive_waits_is_refused(self, line: Line, mode: Any) -> None:
        transport, protocol = await self._open(line, active=False)
        waiting = asyncio.ensure_future(transport.receive())
        await asyncio.sleep(0.001)

        with pytest.raises(BusyError) as raised:
            transport.set_active(mode)

        assert raised.value.errno == errno.EALREADY
        line.feed(9)
        assert line.number(await waiting) == 9
        transport.set_active(mode)
        await self._end(transport, protocol)

    async def test_rearming_once_in_the_callback_delivers_all(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=False)
        protocol.on_packet = lambda packet: transport.set_active("once")
        for number in range(5):
            line.feed(number)

        transport.set_active("once")
        await until(lambda: len(protocol.packets) == 5)

        assert self._numbers(line, protocol) == list(range(5))
        assert transport.active == "once"
        await self._end(transport, protocol)

    async def test_rearming_in_passive_delivers_all(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=False)
        protocol.passive = lambda: transport.set_active(2)  # type: ignore[method-assign]
        for number in range(7):
            line.feed(number)

        transport.set_active(2)
        await until(lambda: len(protocol.packets) == 7)

        assert self._numbers(line, protocol) == list(range(7))
        assert transport.active == 1
        await self._end(transport, protocol)

    async def test_what_passive_leaves_in_mid_batch_is_read_first(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=False)

        def stop_at_the_second(packet: Packet) -> None:
            if line.number(packet) == 1:
                transport.set_active(False)

        protocol.on_packet = stop_at_the_second
        for number in range(6):
            line.feed(number)
        transport.set_active(True)
        await until(lambda: len(protocol.packets) == 2)
        await asyncio.sleep(0.001)

        got = [line.number(await transport.receive()), line.number(transport.receive_nowait())]
        got += [line.number(packet) for packet in await transport.receive_batch(1)]
        protocol.on_packet = lambda packet: None
        transport.set_active(True)
        await until(lambda: len(protocol.packets) == 3)

        assert got == [2, 3, 4]
        assert self._numbers(line, protocol) == [0, 1, 5]
        await self._end(transport, protocol)

    async def test_a_pause_in_mid_batch_holds_the_rest(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=False)
        protocol.on_packet = lambda packet: transport.pause_reading()
        for number in range(4):
            line.feed(number)
        transport.set_active(10)
        await until(lambda: protocol.packets)
        await asyncio.sleep(0.01)
        assert self._numbers(line, protocol) == [0]
        left = transport.active
        assert not transport.is_reading()

        protocol.on_packet = lambda packet: None
        transport.resume_reading()
        await until(lambda: len(protocol.packets) == 4)

        assert self._numbers(line, protocol) == [0, 1, 2, 3]
        assert (left, transport.active) == (9, 6)
        await self._end(transport, protocol)

    async def test_what_a_callback_raises_goes_to_the_loop_and_the_batch_goes_on(
        self, line: Line
    ) -> None:
        reported: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reported.append(context))
        transport, protocol = await self._open(line, active=False)
        broken = RuntimeError("in the callback")

        def fail(packet: Packet) -> None:
            raise broken

        protocol.on_packet = fail
        for number in range(3):
            line.feed(number)
        transport.set_active(True)
        await until(lambda: len(protocol.packets) == 3)

        assert [context["exception"] for context in reported] == [broken] * 3
        assert reported[0]["transport"] is transport
        assert reported[0]["protocol"] is protocol
        assert not transport.is_closing()
        await self._end(transport, protocol)

    async def test_close_in_the_callback_ends_the_batch(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=False)
        protocol.on_packet = lambda packet: transport.close()
        for number in range(4):
            line.feed(number)
        transport.set_active(True)

        await until(lambda: protocol.lost)

        assert self._numbers(line, protocol) == [0]
        assert protocol.calls[-1] == "connection_lost"

    @pytest.mark.parametrize("end", ["close", "abort"])
    async def test_the_connection_is_lost_exactly_once_and_not_at_once(
        self, line: Line, end: str
    ) -> None:
        transport, protocol = await self._open(line)

        getattr(transport, end)()
        assert transport.is_closing()
        assert not protocol.lost
        transport.close()
        transport.abort()
        await until(lambda: protocol.lost)
        transport.close()
        await asyncio.sleep(0.001)

        assert protocol.lost == [None]
        assert line.channel.fileno() == -1

    async def test_closing_the_channel_ends_its_transport(self, line: Line) -> None:
        transport, protocol = await self._open(line)

        line.channel.close()
        await until(lambda: protocol.lost)

        assert protocol.lost == [None]
        assert transport.is_closing()

    async def test_after_close_the_mode_cannot_be_set_and_sends_are_dropped(
        self, line: Line
    ) -> None:
        transport, protocol = await self._open(line)
        transport.close()

        with pytest.raises(ClosedError):
            transport.set_active(True)
        transport.sendto(line.outgoing())

        await until(lambda: protocol.lost)
        transport.sendto(line.outgoing())
        assert protocol.errors == []

    async def test_close_wakes_a_receive(self, line: Line) -> None:
        transport, protocol = await self._open(line, active=False)
        waiting = asyncio.ensure_future(transport.recvfrom())
        await asyncio.sleep(0.001)

        transport.abort()

        with pytest.raises(ClosedError):
            await waiting
        await until(lambda: protocol.lost)

    async def test_what_is_sent_arrives(self, line: Line) -> None:
        transport, protocol = await self._open(line)

        transport.sendto(line.outgoing())
        taken = transport.send_batch([line.outgoing(), line.outgoing()])
        await until(lambda: line.arrived() == 3)

        assert taken == 2
        assert transport.stats().tx_packets == 3
        await self._end(transport, protocol)
