"""Reading a capture file: with a loop or without."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import UnreliableObjectReceiveStream

from ..bounds import whole
from ..channels import Stats
from ..channels.batches import Batches
from ..errors import BusyError, ClosedError, SpecError
from ..packet import Batch, Packet
from ..readiness import checkpoint
from ..wire.pcapng import Block, InterfaceDescription, InterfaceStatistics, SectionHeader
from .input import CaptureSource, Input
from .pace import Pace
from .parser import Parser

__all__ = ("Reader", "open")

_TURN: Final = 64  # packets that are received in a row before other tasks get their turn
_AHEAD: Final = 64  # packets that are made at once
_BATCH: Final = 512
_BUSY: Final = 0.01  # seconds between looks at a thread that still reads

_T = TypeVar("_T")


class Reader(UnreliableObjectReceiveStream[Packet]):
    """A capture file: pcapng or pcap, of any byte order, compressed by gzip or zstd or not.

    Without a loop: ``for packet in Reader(path)``, or `read` within ``with Reader(path) as file``.
    With one it is a source of packets as a channel is: ``async with Reader(path) as file``,
    ``async for packet in file``; or ``file = await Reader(path)``.

    A packet's ``ifindex`` counts the interfaces of the file from 1: `interface_of`. What the file
    does not say of it is as on a channel that does not know: ``timestamp_ns`` 0, direction "in".

    Args:
        file: Its name, ``-`` for the standard input, or a binary file object, which stays open.
        realtime: Whether packets come at the intervals at which they were captured, to who awaits
            them.
        speed: How many times as fast, then.
        strict: Whether a file that ends within a block raises `WireError`; else everything before
            that is read, and `truncated` says so.

    Raises:
        SpecError: ``speed`` is not above 0.
    """

    def __init__(
        self,
        file: CaptureSource,
        *,
        realtime: bool = False,
        speed: float = 1.0,
        strict: bool = False,
    ) -> None:
        self._input = Input(file)
        self._parser = Parser(strict)
        self._pace = Pace(speed) if realtime else None
        if not speed > 0:
            raise SpecError(f"speed {speed!r} is not above 0")
        self._ready: deque[Packet] = deque()
        self._state = "new"
        self._receiving = False
        self._scope: anyio.CancelScope | None = None
        self._turns = _TURN

    # What is known of it

    @property
    def format(self) -> str:
        """``"pcapng"`` or ``"pcap"``; empty until so much has been read."""
        return self._parser.format

    @property
    def interfaces(self) -> tuple[InterfaceDescription, ...]:
        """The interfaces that have been described so far, of all sections."""
        return tuple(self._parser.interfaces)

    @property
    def sections(self) -> tuple[SectionHeader, ...]:
        """The headers of a pcapng file's sections so far: who wrote it, and comments on it."""
        return tuple(self._parser.sections)

    @property
    def statistics(self) -> Mapping[int, InterfaceStatistics]:
        """The last statistics of each interface so far, by the ``ifindex`` of its packets."""
        return dict(self._parser.statistics)

    @property
    def linktype(self) -> int | None:
        """What packets start with: a LINKTYPE_… number; None: not known, or interfaces differ."""
        kinds = {interface.linktype for interface in self._parser.interfaces}
        return kinds.pop() if len(kinds) == 1 else None

    @property
    def truncated(self) -> bool:
        """Whether the file ended within a block; known when all of it has been read."""
        return self._parser.truncated

    def interface_of(self, packet: Packet) -> InterfaceDescription:
        """The interface that one of the file's packets is of."""
        return self._parser.interfaces[packet.ifindex - 1]

    def stats(self) -> Stats:
        """Counters, as of a channel; what the file says was lost is ``rx_dropped``."""
        parser = self._parser
        told = sum(each.dropped or each.os_dropped or 0 for each in parser.statistics.values())
        kept = sum(len(packet) for packet in self._ready)
        cut = sum(packet.truncated for packet in self._ready)
        return Stats(
            *(parser.packets - len(self._ready), parser.bytes - kept),
            *(max(told, parser.dropped), parser.cut - cut, 0, 0),
            *(0, 0, 0, 0, 0, 0, 0),
        )

    # Without a loop

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Packet]:
        whole = self._state == "new"
        if whole:
            self._open()
        try:
            while packets := self.read(_BATCH):
                yield from packets
        finally:
            if whole:
                self.close()

    def read(self, count: int = _BATCH) -> list[Packet]:
        """Up to ``count`` packets; none at the end of the file.

        Raises:
            ClosedError: The file is not open.
            CaptureError: It cannot be read.
            WireError: It is damaged.
        """
        self._check_open()
        if self._ready:
            return [self._ready.popleft() for _ in range(min(count, len(self._ready)))]
        while True:
            packets = self._parser.take(count)
            if packets or not self._feed():
                return packets

    def blocks(self) -> Iterator[Block]:
        """All blocks of a pcapng file, with the comments and options of packets, in order.

        Raises:
            WireError: It is damaged, or no pcapng file.
            And what `read` raises.
        """
        whole = self._state == "new"
        if whole:
            self._open()
        self._check_open()
        try:
            while True:
                block = self._parser.take_block()
                if block is not None:
                    yield block
                elif not self._feed():
                    return
        finally:
            if whole:
                self.close()

    def close(self) -> None:
        """Close the file, when the disk has answered. A receive that waits raises `ClosedError`."""
        self._state = "closed"
        if self._scope is not None:
            self._scope.cancel()
        if not self._receiving:
            self._input.close()

    # With one

    async def _begin(self) -> Self:
        self._open()
        if self._input.pipe is None:
            # So that interfaces are known from the start, and that it is a capture at all.
            try:
                await self._hold(self._prepare)
            except BaseException:
                self.close()
                raise
        return self

    def __await__(self) -> Generator[object, None, Self]:
        return self._begin().__await__()

    async def __aenter__(self) -> Self:
        return await self._begin()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def receive(self) -> Packet:
        """Receive the next packet. A call that is cancelled loses none, however slow the disk is.

        Raises:
            ClosedError: The file is closed, or was while this call waited.
            BusyError: Another task receives.
            CaptureError: It cannot be read.
            WireError: It is damaged.
            anyio.EndOfStream: That was the last.
        """
        if self._ready and self._turns and self._pace is None and self._state == "open":
            self._turns -= 1
            return self._ready.popleft()
        return (await self._hold(lambda: self._some(1)))[0]

    async def receive_batch(self, max: int = 64) -> list[Packet]:
        """Receive at least one packet and at most ``max``; in real time those that are due.

        Raises:
            What `receive` raises.
        """
        whole("max", max, 1)
        return await self._hold(lambda: self._some(max))

    def batches(self, max: int | None = None) -> AsyncIterator[Batch]:
        """Iterate over the file, batch by batch; each has up to ``max`` packets, 512 if None."""

        async def next_batch() -> Batch:
            return Batch(await self.receive_batch(_BATCH if max is None else max))

        return Batches(next_batch)

    async def aclose(self) -> None:
        """As `close`."""
        self.close()
        await checkpoint()

    # What the calls above share.

    def _open(self) -> None:
        if self._state != "new":
            raise SpecError("a Reader is opened once", hint="make another")
        self._input.open()
        self._state = "open"

    def _check_open(self) -> None:
        if self._state != "open":
            how = "it is closed" if self._state == "closed" else "it is not open yet"
            raise ClosedError(f"read {self._input.name!r}: {how}")

    def _feed(self) -> bool:
        """Read more; whether the parser has to be asked again."""
        return self._pass_on(self._input.read())

    def _pass_on(self, data: bytes) -> bool:
        if data:
            self._parser.feed(data)
            return True
        if self._finished:
            return False
        self._finished = True
        self._parser.finish(self._input.cut)
        return True

    _finished = False

    async def _hold(self, read: Callable[[], Awaitable[_T]]) -> _T:
        """Call ``read``, as the only one that does, until the file is closed."""
        self._check_open()
        if self._receiving:
            raise BusyError(f"read {self._input.name!r}: another task is receiving already")
        self._receiving = True
        try:
            with anyio.CancelScope() as scope:
                self._scope = scope
                return await read()
        finally:
            self._receiving = False
            self._scope = None
            if self._state == "closed":
                self._input.close()
        self._check_open()
        raise AssertionError("only a close cancels this scope")

    async def _prepare(self) -> None:
        await self._fill(_AHEAD)

    async def _some(self, count: int) -> list[Packet]:
        if self._turns <= 0:
            await checkpoint()
            self._turns = _TURN
        if not self._ready and not await self._fill(max(count, _AHEAD)):
            raise anyio.EndOfStream
        if self._pace is not None:
            await self._pace.wait(self._ready[0].timestamp_ns)
            count = self._pace.due(self._ready, count)
        packets = [self._ready.popleft() for _ in range(min(count, len(self._ready)))]
        self._turns -= len(packets)
        return packets

    async def _fill(self, count: int) -> bool:
        """Make packets ready; whether there are any."""
        while True:
            self._ready.extend(self._parser.take(count))
            if self._ready or not await self._more():
                return bool(self._ready)

    async def _more(self) -> bool:
        pipe = self._input.pipe
        if pipe is None:
            # Else each call that is cancelled would take a thread more.
            while self._input.busy:  # noqa: ASYNC110 - no thread tells a loop that it left
                await anyio.sleep(_BUSY)
            await anyio.to_thread.run_sync(self._input.fetch, abandon_on_cancel=True)
            self._check_open()
            return self._pass_on(self._input.take())
        while not (piece := self._input.ready()) and not self._input.ended:
            await anyio.wait_readable(pipe)
            self._input.read_now()
        return self._pass_on(piece)


def open(
    file: CaptureSource, *, realtime: bool = False, speed: float = 1.0, strict: bool = False
) -> Reader:
    """A capture file as a source of packets, with a channel's passive interface.

    ``async with open(path) as file``, or ``file = await open(path)``. See `Reader`.
    """
    return Reader(file, realtime=realtime, speed=speed, strict=strict)
