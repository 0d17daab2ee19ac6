"""Writing a capture file while packets come."""

import errno
import os
import sys
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple, Self

import anyio
import anyio.to_thread

from ..bounds import whole
from ..channels import Channel
from ..errors import AioprocketError, CaptureError, ClosedError, SpecError
from ..packet import Batch, Packet
from ..thread import call_in_thread
from ..wire.options import ByteOrder
from ..wire.pcap import MAX_SNAPLEN
from ..wire.pcapng import SectionHeader
from .interface import Interface, Recorded, describe
from .layout import FileFormat, Layout
from .output import Output
from .recording import SLACK, Recording, items_of
from .rotation import Rotation
from .spool import CHUNK, Spool

__all__ = ("Writer", "WriterStats")

_NO_READER: Final = 0.05  # seconds until a pipe is looked at again
_STUCK: Final = 5.0  # seconds that a cancelled end waits for who reads a pipe


class WriterStats(NamedTuple):
    """What became of the packets.

    Packets and dropped ones are all that `write` and `send` were given, also by a call that raised
    an earlier error.

    Attributes:
        packets: In the file as a whole, or on their way into it. After an error a compressed file
            may have some more.
        dropped: That the queue had no room for, and those of `Writer.failed`.
        queued: Bytes that wait to be written.
        written: Bytes that were written, before compression.
        files: How many files there have been.
    """

    packets: int
    dropped: int
    queued: int
    written: int
    files: int


class Writer:
    """A capture file, written by a thread: ``async with Writer(path, channel) as writer``.

    `write` takes packets at once and never waits; what the queue has no room for is dropped,
    counted, and said in the file. `send` waits for room instead. Both copy what they take. A VLAN
    tag that the kernel has taken out of a frame is put back.

    It may also be awaited, ``writer = await Writer(path)``, and has to be closed then.

    Args:
        path: The file; ``-`` is the standard output. ``.gz`` and ``.zst`` at the end of the name
            compress, ``.pcap`` before that chooses the older format.
        sources: The channels or `Interface` descriptions that packets come from; more can be added
            by `add_interface`. Without any, packets are Ethernet frames.
        format: ``"pcapng"`` or ``"pcap"``, whatever the name.
        order: The byte order of numbers in the file.
        nanoseconds: Of timestamps in a pcap file; else microseconds. In pcapng they always are.
        snaplen: Bytes of a packet at most.
        rotation: When to go on in another file.
        overwrite: Whether a file that exists may be replaced. A new one is its owner's alone.
        queue_bytes: Room for packets that are not written yet; at least two packets.
        statistics_interval: Seconds between the statistics of interfaces in the file, as long as
            packets come; there are some at its end in any case.
        application: The program's name, for the file.
        comment: On the whole capture, for the file.

    Raises:
        SpecError: Arguments that cannot be, or contradict each other.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *sources: Channel | Interface,
        format: FileFormat | None = None,
        order: ByteOrder = sys.byteorder,
        nanoseconds: bool = True,
        snaplen: int = MAX_SNAPLEN,
        rotation: Rotation | None = None,
        overwrite: bool = False,
        queue_bytes: int = 64 * CHUNK,
        statistics_interval: float = 10.0,
        application: str = "aioprocket",
        comment: str = "",
    ) -> None:
        self._path = os.fspath(path)
        _check(self._path, snaplen, rotation, queue_bytes)
        section = SectionHeader(
            order=order,
            os=" ".join(os.uname()[:3:2]),
            application=application,
            comments=(comment,) if comment else (),
        )
        layout = Layout(self._path, format, order, nanoseconds, snaplen, section)
        self._output = Output(layout, overwrite)
        size = max(min(CHUNK, queue_bytes // 2), snaplen + SLACK)
        kept = rotation.files if rotation is not None else None
        self._spool = Spool(self._output, max(2, queue_bytes // size), size, kept)
        self._recording = Recording(
            self._path, layout, self._spool, rotation, snaplen, statistics_interval
        )
        self._snaplen = snaplen
        self._state = "new"
        self._told = False  # of an error
        self._failed = 0  # packets that came after it
        for source in sources:
            self.add_interface(source)

    async def _open(self) -> Self:
        if self._state != "new":
            raise SpecError("a Writer is opened once", hint="make another")
        self._state = "opening"
        path = self._recording.next_path()
        try:
            await self._open_file(path)
        except BaseException:
            self._output.close()
            self._state = "closed"
            raise
        self._state = "open"
        self._recording.start()
        self._spool.start(path)
        return self

    async def _open_file(self, path: str) -> None:
        while True:
            try:
                await call_in_thread(lambda: self._output.open(path))
                return
            except CaptureError as error:  # a pipe with a name may not have a reader yet
                if error.errno != errno.ENXIO:
                    raise
            await anyio.sleep(_NO_READER)

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            await self.aclose()
        except Exception:
            if error is None:
                raise  # else it would hide why the block ended

    async def aclose(self) -> None:
        """Write what waits, the interfaces' statistics, and close the file.

        Raises:
            CaptureError: Not all could be written, and no `write` or `send` has said so.
        """
        opened, self._state = self._state == "open", "closed"
        if not opened:
            return
        with self._spool.lock:
            self._recording.finish()
            self._spool.finish()
        await self._finish()
        self._tell()

    async def _finish(self) -> None:
        join = partial(anyio.to_thread.run_sync, self._spool.join, abandon_on_cancel=True)
        try:
            with anyio.CancelScope(shield=self._output.regular):
                await join()
        except BaseException:
            # A pipe may never take it, and is given up after a while.
            try:
                with anyio.move_on_after(_STUCK, shield=True):
                    await join()
            finally:
                self._spool.give_up()
            raise

    def add_interface(self, source: Channel | Interface, **facts: Any) -> int:
        """Describe one more interface.

        Args:
            source: A channel, whose counters become the statistics in the file, or a description;
                its ``snaplen`` is cut down to that of the file.
            facts: Of a channel: attributes of an `Interface` to say beside what it knows itself,
                such as ``filter="tcp port 80"`` or ``description="the uplink"``.

        Returns:
            Its number, for `write` and `send`.

        Raises:
            SpecError: It is not known what its packets start with; or a pcap file has another
                interface that differs in this.
        """
        with self._spool.lock:
            number = len(self._recording.interfaces)
            if isinstance(source, Interface):
                limit = min(source.snaplen or self._snaplen, self._snaplen)
                recorded = Recorded(replace(source, snaplen=limit), number)
            else:
                interface, cooked = describe(source, self._snaplen, facts)
                recorded = Recorded(interface, number, cooked, source.stats)
            self._recording.add(recorded)
            return number

    def write(
        self,
        packets: Packet | Batch | Sequence[Packet],
        interface: int | None = None,
        *,
        comment: str = "",
    ) -> int:
        """Take packets for the file, without waiting.

        Args:
            packets: One, or several of the same interface.
            interface: The number of theirs, by `add_interface`; None: the first.
            comment: On a single packet, for the file.

        Returns:
            How many were taken; the others are dropped, and counted in `stats`.

        Raises:
            ClosedError: The writer is not open.
            CaptureError: An earlier write failed. Said once; whatever comes later is dropped.
            SpecError: There is no such interface; or a comment on several packets, or in pcap.
        """
        items = items_of(packets)
        with self._spool.lock:
            self._check_open()
            recorded = self._recording.interface(interface)
            taken = self._recording.take(items, 0, recorded, comment)
            self._drop(len(items) - taken, recorded)
            return taken

    async def send(
        self,
        packets: Packet | Batch | Sequence[Packet],
        interface: int | None = None,
        *,
        comment: str = "",
    ) -> None:
        """Take packets as `write` does, but wait for room instead of dropping any.

        A call that is cancelled may have taken some of several packets.

        Raises:
            What `write` raises. After an error that was said already, packets are dropped.
        """
        items = items_of(packets)
        taken = 0
        while True:
            with self._spool.lock:
                self._check_open()
                recorded = self._recording.interface(interface)
                taken = self._recording.take(items, taken, recorded, comment)
                if self._spool.error is not None:
                    self._drop(len(items) - taken, recorded)
                    return
            if taken == len(items):
                return
            await anyio.to_thread.run_sync(self._spool.wait_for_room, abandon_on_cancel=True)

    async def flush(self) -> None:
        """Wait until all that was taken so far is in the file.

        Raises:
            CaptureError: Not all could be written, and nobody has said so yet.
        """
        await anyio.to_thread.run_sync(self._spool.wait_until_written, abandon_on_cancel=True)
        self._tell()

    def stats(self) -> WriterStats:
        """What became of the packets; also after the end."""
        spool, recording = self._spool, self._recording
        with spool.lock:
            return WriterStats(
                packets=recording.packets - spool.lost,
                dropped=sum(each.dropped for each in recording.interfaces) + spool.lost,
                queued=spool.queued,
                written=spool.written,
                files=recording.files,
            )

    @property
    def failed(self) -> int:
        """Packets that `error` has kept out of the file, those that came after it among them."""
        with self._spool.lock:
            return self._failed + self._spool.lost

    @property
    def error(self) -> AioprocketError | None:
        """Why nothing more gets into the file: the first error, also when it was raised already."""
        return self._spool.error

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that are there, oldest first."""
        return self._spool.files

    def _check_open(self) -> None:
        if self._state != "open":
            how = "it is closed" if self._state == "closed" else "it is not open yet"
            raise ClosedError(f"write to {self._path!r}: {how}")

    def _drop(self, count: int, recorded: Recorded) -> None:
        """Packets are not taken: for want of room, or after an error, which is raised once."""
        recorded.drop(count)
        if self._spool.error is not None:
            self._failed += count
            self._tell()

    def _tell(self) -> None:
        if self._spool.error is not None and not self._told:
            self._told = True
            raise self._spool.error


def _check(path: str, snaplen: int, rotation: Rotation | None, queue_bytes: int) -> None:
    whole("snaplen", snaplen, 1, MAX_SNAPLEN)
    whole("queue_bytes", queue_bytes, 1)
    if rotation is not None and path == "-":
        raise SpecError("the standard output is one stream: it cannot be rotated")
