"""What can be done with packets that are not shown one by one, and with those that are."""

from collections.abc import Sequence
from typing import Final, Protocol

import aioprocket

from ...dissect import Summary, summarize
from .output import Output
from .recording import Recording
from .source import Origin, Source
from .status import Status
from .tally import Tally, protocols

__all__ = ("Counting", "Printing")

_AT_ONCE: Final = 64  # packets; their lines are in memory until they are written


class _Lines(Protocol):
    def render(self, packet: aioprocket.Packet, summary: Summary, origin: Origin) -> str: ...


class Counting:
    """Shows how many there are, and nothing else."""

    def __init__(
        self,
        tally: Tally,
        status: Status,
        sources: Sequence[Source],
        recording: Recording | None = None,
    ) -> None:
        self._tally = tally
        self._status = status
        self._sources = sources
        self._recording = recording

    async def show(self, source: Source, batch: aioprocket.Batch) -> None:
        """Count the protocols."""
        self._tally.protocols.update(protocols(source, batch))

    @property
    def hidden(self) -> int:
        """Packets that were to be shown, and were not."""
        return 0

    def refresh(self) -> None:
        """Draw the status line."""
        dropped = sum(source.dropped() for source in self._sources)
        if self._recording is not None:
            dropped += self._recording.dropped()
        self._status.draw(self._tally.packets, self._tally.bytes, dropped)


class Printing(Counting):
    """Prints each packet."""

    def __init__(
        self,
        tally: Tally,
        status: Status,
        sources: Sequence[Source],
        recording: Recording | None,
        lines: _Lines,
        output: Output,
    ) -> None:
        super().__init__(tally, status, sources, recording)
        self._lines = lines
        self._output = output

    @property
    def hidden(self) -> int:
        """Packets that were counted, and whose lines nobody took before the end."""
        return self._tally.packets - self._output.written

    async def show(self, source: Source, batch: aioprocket.Batch) -> None:
        """Print a batch, and count its protocols as they are printed."""
        for start in range(0, len(batch), _AT_ONCE):
            packets = batch[start : start + _AT_ONCE]
            texts = []
            for packet in packets:
                origin = source.origin(packet)
                summary = summarize(
                    bytes(packet),
                    origin.linktype,
                    vlan_tci=packet.vlan_tci,
                    vlan_tpid=packet.vlan_tpid,
                )
                self._tally.protocols[summary.protocol] += 1
                texts.append(self._lines.render(packet, summary, origin))
            texts[0] = self._status.before_output() + texts[0]
            await self._output.write(texts)
