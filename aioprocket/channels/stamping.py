"""Sending a packet and learning when it left.

The kernel puts the moment on the socket's error queue, with a number that says which packet it is
about. From Linux 6.13 on the number is ours to choose, and many packets may wait for their
timestamps. Before, the kernel counts the packets that ask for one, and may or may not count an
attempt that fails. So one packet at a time asks,
and a number that might be that of an earlier one, whose timestamp was waited for in vain, is
nobody's. The count is never started anew: what leaves between the two calls for it has number 0.
"""

import errno
import os
import select
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count, islice
from typing import Final, Literal

import anyio

from .._system import options
from .._system.ethtool import driver_stamps
from .._system.numbers import SocketOption, Timestamping
from ..bounds import seconds
from ..errors import ChannelError, ClosedError, SpecError
from ..readiness import Readiness
from .explain import channel_error
from .intake import Intake
from .items import parts
from .link import Link
from .outlet import Outlet
from .port import Address, Data, Item, Port
from .reported import SENT, TransmitStamp
from .state import Sent, Stamp, StampInfo, StampSource

__all__ = ("Numbering", "Stamper", "stamp_info")

_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_PACKET})
_FLAGS: Final[dict[StampSource, Timestamping]] = {
    "software": Timestamping.TX_SOFTWARE,
    "hardware": Timestamping.TX_HARDWARE,
    "sched": Timestamping.TX_SCHED,
}
_NUMBER: Final = struct.Struct("=I")
_WRAP: Final = 1 << 32
# Packets whose timestamps may be on their way at once: each takes up to a kilobyte of the socket's
# receive buffer, and one that finds no room there is lost.
_WINDOW: Final = 64
# Seconds until a packet whose timestamp did not come counts as dropped on its way.
_DROPPED: Final = 10.0


def stamp_info(port: Port, link: Link | None) -> StampInfo:
    """What is known of timestamps on a port that is bound to a link, or to none.

    Raises:
        OSError: ``ENODEV``: the interface was removed.
        ClosedError: There is no descriptor any more.
    """
    sock = port.sock
    if port.fileno() < 0:
        raise ClosedError("timestamping: the channel is closed")
    if sock is None or not _gives_stamps(port):
        return StampInfo(None, None, frozenset(), None)
    received = options.timestamps_are_enabled(sock)
    sources: set[StampSource] | None = None
    phc = None
    if link is not None:
        driver = driver_stamps(sock.fileno(), link.name)
        sources = {"sched"}
        if Timestamping.TX_SOFTWARE in driver.flags:
            sources.add("software")
        if Timestamping.TX_HARDWARE in driver.flags and driver.switchable:
            sources.add("hardware")
        phc = driver.phc if driver.phc >= 0 else None
    return StampInfo(
        "software" if received else None,
        "realtime" if received else None,
        None if sources is None else frozenset(sources),
        phc,
    )


def _gives_stamps(port: Port) -> bool:
    return port.sock is not None and not port.stream and port.sock.family in _FAMILIES


class Numbering:
    """Which of the kernel's numbers is that of the packet sent last, where the kernel counts.

    Between ``_low`` and ``_high``, for attempts that failed may have been counted; and above
    ``_lost``, the highest that a packet may have whose own number was waited for in vain. No I/O.
    """

    __slots__ = ("_high", "_lost", "_low")

    def __init__(self) -> None:
        self._low = 0
        self._high = 0
        self._lost = -1

    def fail(self) -> None:
        """An attempt was refused."""
        self._high += 1

    def lose(self) -> None:
        """Nobody waits for the packet sent last any more; its number may still come."""
        self._lost = self._high
        self._low += 1
        self._high += 1

    def give_up(self) -> None:
        """The numbers of lost packets will not come any more."""
        self._lost = -1

    def is_last(self, number: int) -> bool:
        """Whether it is the number of the packet sent last, and of no other. It is used up then."""
        number += round((self._low - number) / _WRAP) * _WRAP
        if not self._low <= number <= self._high or number <= self._lost:
            return False
        self._low = self._high = number + 1
        self._lost = -1
        return True


class Stamper:
    """Sends packets of one channel that ask when they leave, one at a time."""

    __slots__ = (
        "_chosen", "_intake", "_lock", "_lost_until", "_missing", "_names_packets", "_numbering",
        "_numbers", "_outlet", "_place", "_port", "_readiness", "_ready", "_source", "_stamp",
        "_stamps", "_waiting",
    )  # fmt: skip

    def __init__(
        self, port: Port, readiness: Readiness, intake: Intake, outlet: Outlet, place: str
    ) -> None:
        self._port = port
        self._readiness = readiness
        self._intake = intake
        self._outlet = outlet
        self._place = place
        self._ready = False
        self._lock: anyio.Lock | None = None
        self._waiting = 0
        # Whether the kernel lets us choose the number of a packet; None: not known yet.
        self._names_packets: bool | None = None
        self._numbers = count(1)
        self._numbering = Numbering()
        self._lost_until = 0.0
        # Of the packet that waits: what it asked for, the number it was given, what came.
        self._source: StampSource | None = None
        self._chosen = 0
        self._stamp: Stamp | None = None
        # Of a batch: what came for each number, and how many are still to come.
        self._stamps: dict[int, Stamp | None] = {}
        self._missing = 0

    async def send(
        self, data: Data, address: Address | None, source: StampSource, timeout: float
    ) -> Stamp:
        """Send one packet; when it left.

        Raises:
            SpecError: The descriptor is none that has timestamps, or there is no such source.
            TimeoutError: It was sent, but the timestamp did not come. A `ChannelError`, too.
            OSError: As `Outlet.send`.
        """
        seconds("timeout", timeout)
        self._prepare(source)
        async with self._alone():
            return await self._send(data, address, source, timeout)

    async def send_batch(
        self, items: Iterable[Item], source: StampSource, timeout: float
    ) -> tuple[Sent, list[Stamp | None]]:
        """Send packets in order; when each left, or None where the timestamp did not come.

        Raises:
            SpecError: As `send`.
            OSError: As `Outlet.send`, if none was taken.
        """
        seconds("timeout", timeout)
        self._prepare(source)
        stamps: list[Stamp | None] = []
        rest = iter(items)
        async with self._alone():
            try:
                # The first shows whether the kernel lets us choose numbers.
                while not self._names_packets and (item := next(rest, None)) is not None:
                    stamps.append(await self._send_patiently(*parts(item), source, timeout))
                while chunk := tuple(islice(rest, _WINDOW)):
                    await self._send_chunk(chunk, source, timeout, stamps)
            except OSError as error:
                if not stamps:
                    raise
                return Sent(len(stamps), error.with_traceback(None)), stamps
        return Sent(len(stamps)), stamps

    async def _send_patiently(
        self, data: Data, address: Address | None, source: StampSource, timeout: float
    ) -> Stamp | None:
        try:
            return await self._send(data, address, source, timeout)
        except TimeoutError:
            return None

    async def _send_chunk(
        self,
        items: tuple[Item, ...],
        source: StampSource,
        timeout: float,
        stamps: list[Stamp | None],
    ) -> None:
        self._source, self._stamp = source, None
        try:
            for item in items:
                await self._send_one_of_many(*parts(item), source)
        finally:
            try:
                with anyio.move_on_after(timeout):
                    await self._wait_for_all()
            finally:
                stamps.extend(self._stamps.values())
                self._stamps.clear()
                self._missing = 0
                self._source = None

    async def _send_one_of_many(
        self, data: Data, address: Address | None, source: StampSource
    ) -> None:
        address = self._outlet.destination(data, address)
        self._chosen = number = next(self._numbers) % _WRAP
        self._stamps[number] = None
        self._missing += 1
        try:
            await self._outlet.send_by(partial(self._attempt, data, address, source))
        except BaseException:
            del self._stamps[number]
            self._missing -= 1
            raise

    async def _wait_for_all(self) -> None:
        while self._missing:
            if self._port.fileno() < 0:
                raise self._ended()
            self._look()
            if self._missing and self._port.fileno() >= 0:
                await self._readiness.wait_error()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        if self._lock is None:
            self._lock = anyio.Lock()
        self._waiting += 1
        try:
            async with self._lock:
                yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._lock = None  # it belongs to the loop that it was made in

    def _prepare(self, source: StampSource) -> None:
        if source not in _FLAGS:
            raise SpecError(f"source is one of {', '.join(_FLAGS)}, not {source!r}")
        sock = self._port.sock
        if sock is None or not _gives_stamps(self._port):
            raise SpecError(
                f"{self._place} gives no transmit timestamps: only packets of sockets do"
            )
        if self._port.fileno() < 0:
            raise ClosedError(f"send on {self._place}: the channel is closed")
        if not self._ready:
            try:
                options.report_transmit_timestamps(sock)
            except OSError as error:
                raise channel_error(error, "ask for transmit timestamps", self._place) from error
            self._port.on_stamp = self._take
            self._ready = True

    async def _send(
        self, data: Data, address: Address | None, source: StampSource, timeout: float
    ) -> Stamp:
        address = self._outlet.destination(data, address)
        taken = False
        self._source, self._stamp = source, None
        self._chosen = next(self._numbers) % _WRAP
        if anyio.current_time() >= self._lost_until:
            self._numbering.give_up()
        try:
            await self._outlet.send_by(lambda: self._attempt(data, address, source))
            taken = True
            with anyio.move_on_after(timeout):
                await self._wait()
            if self._stamp is None:
                raise self._too_late(timeout)
            return self._stamp
        finally:
            self._source = None
            if taken and self._stamp is None:
                self._numbering.lose()
                self._lost_until = anyio.current_time() + _DROPPED

    def _attempt(self, data: Data, address: Address | None, source: StampSource) -> int:
        ask = (socket.SOL_SOCKET, SocketOption.TIMESTAMPING, _NUMBER.pack(_FLAGS[source]))
        name = (socket.SOL_SOCKET, SocketOption.TS_OPT_ID, _NUMBER.pack(self._chosen))
        try:
            if self._names_packets is False:
                return self._outlet.put_message((data,), (ask,), 0, address)
            try:
                taken = self._outlet.put_message((data,), (ask, name), 0, address)
            except OSError as error:
                if self._names_packets or error.errno != errno.EINVAL:
                    raise
            else:
                self._names_packets = True
                return taken
            # Before 6.13, or it is refused for another reason, and then again.
            taken = self._outlet.put_message((data,), (ask,), 0, address)
        except OSError:
            self._numbering.fail()
            raise
        self._names_packets = False
        return taken

    async def _wait(self) -> None:
        while self._stamp is None:
            if self._port.fileno() < 0:
                raise self._ended()
            await self._readiness.wait_error()
            if self._stamp is None and self._port.fileno() >= 0:
                self._look()

    def _look(self) -> None:
        if self._intake.drain_errors() or self._stamp is not None:
            return
        if self._readiness.events() & select.EPOLLERR:
            # Not the queue, but the socket's own error, which would end every further wait.
            assert self._port.sock is not None
            number = self._port.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._intake.note(OSError(number, os.strerror(number)))

    def _take(self, stamp: TransmitStamp) -> None:
        source = self._source
        if source is None or self._stamp is not None:
            return
        hardware = source == "hardware"
        moment = stamp.hardware_ns if hardware else stamp.software_ns
        if not moment or (source == "sched") != (stamp.place != SENT):
            return
        clock: Literal["hardware", "realtime"] = "hardware" if hardware else "realtime"
        if stamp.number in self._stamps:
            self._missing -= self._stamps[stamp.number] is None
            self._stamps[stamp.number] = Stamp(moment, source, clock)
            if not self._missing:
                self._readiness.wake_error()
            return
        mine = (
            stamp.number == self._chosen
            if self._names_packets
            else self._numbering.is_last(stamp.number)
        )
        if mine:
            self._stamp = Stamp(moment, source, clock)
            self._readiness.wake_error()

    def _ended(self) -> ClosedError:
        return ClosedError(f"wait for a timestamp on {self._place}: the channel was closed")

    def _too_late(self, timeout: float) -> ChannelError:
        error = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return channel_error(
            error, f"wait {timeout:g} s for the timestamp of a packet that was sent", self._place,
            hint="it may still be in the interface's queue, or was dropped there; or the driver "
            "gives none: 'ethtool -T' shows what it can, and hardware timestamps have to be "
            "switched on by root (SIOCSHWTSTAMP, hwstamp_ctl)",
        )  # fmt: skip
