"""Keeping packets in a file, as they come."""

from collections.abc import Sequence
from itertools import groupby

import aioprocket

from ... import pcapng
from ...errors import errno_text
from .source import LiveSource, Source

__all__ = ("Recording",)


class Recording:
    """A capture file that packets of several sources go to.

    Args:
        writer: The file, open.
        expression: What is captured, for the file.
        wait: Whether to wait for the disk, as a file that is read can; packets that are live
            cannot, and are counted as dropped where it is too slow.
    """

    def __init__(self, writer: pcapng.Writer, expression: str, *, wait: bool) -> None:
        self._writer = writer
        self._expression = expression
        self._wait = wait
        self._numbers: dict[tuple[Source, int], int] = {}

    async def keep(self, source: Source, batch: aioprocket.Batch) -> None:
        """Keep a batch.

        Raises:
            CaptureError: The file cannot be written.
        """
        whole = isinstance(source, LiveSource) and source.channel.interface is not None
        if whole:
            await self._write(source, batch[0], batch)
            return
        for _, packets in groupby(batch, lambda packet: packet.ifindex):
            some = list(packets)
            await self._write(source, some[0], some)

    async def _write(
        self,
        source: Source,
        first: aioprocket.Packet,
        packets: aioprocket.Batch | Sequence[aioprocket.Packet],
    ) -> None:
        number = self._number(source, first)
        if self._wait:
            await self._writer.send(packets, number)
        else:
            self._writer.write(packets, number)

    def _number(self, source: Source, packet: aioprocket.Packet) -> int:
        """Of the interface in the file, which is described when its first packet comes."""
        key = (source, packet.ifindex)
        if key not in self._numbers:
            origin = source.origin(packet)
            facts = {"linktype": origin.linktype, "name": origin.name, "filter": self._expression}
            if isinstance(source, LiveSource) and source.channel.interface is not None:
                self._numbers[key] = self._writer.add_interface(source.channel, **facts)
            else:
                self._numbers[key] = self._writer.add_interface(pcapng.Interface(**facts))  # type: ignore[arg-type]
        return self._numbers[key]

    def dropped(self) -> int:
        """Packets that do not get into the file: it is full, or what takes them is too slow."""
        return self._writer.stats().dropped

    def written(self) -> str:
        """What has been written, in words."""
        stats, files = self._writer.stats(), self._writer.files
        words = f"{stats.packets:,} packets written to {', '.join(files[-3:]) or 'standard output'}"
        if stats.files > 3:
            words += f", the last of {stats.files:,} files"
        failed = self._writer.failed
        if slow := stats.dropped - failed:
            words += f"; {slow:,} not written: what takes them is too slow"
        if failed:
            words += f"; {failed:,} not written: {_reason(self._writer.error)}"
        return words


def _reason(error: aioprocket.AioprocketError | None) -> str:
    """Why no more was written, without what was tried: the whole error is told as well."""
    number = error.errno if isinstance(error, OSError) else None
    return errno_text(number) if number else str(error)
