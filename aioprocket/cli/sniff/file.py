"""Packets from a capture file, as a source."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aioprocket

from ... import bpf, pcapng
from .source import Origin

__all__ = ("FileSource", "naming")


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Say in which file bytes make no sense."""
    try:
        yield
    except aioprocket.WireError as error:
        said = f"{name}: {error}"
        raise aioprocket.WireError(said, offset=error.offset, hint=error.hint) from error


class FileSource:
    """The packets of a file that an expression matches.

    Args:
        reader: The file, open.
        name: For people.
        expression: Compiled for each link type that there is. Empty: all packets.
    """

    live = False

    def __init__(self, reader: pcapng.Reader, name: str, expression: str) -> None:
        self._reader = reader
        self._expression = expression
        self._programs: dict[int, bpf.Program] = {}
        self.name = name

    async def batches(self) -> AsyncIterator[aioprocket.Batch]:
        """All that match; some batches may be empty."""
        with naming(self.name):
            async for batch in self._reader.batches():
                if self._expression:
                    yield aioprocket.Batch([packet for packet in batch if self._matches(packet)])
                else:
                    yield batch

    def _matches(self, packet: aioprocket.Packet) -> bool:
        linktype = self._reader.interface_of(packet).linktype
        program = self._programs.get(linktype)
        if program is None:
            program = self._programs[linktype] = bpf.compile(self._expression, linktype)
        return bool(program.run(bytes(packet)))

    def linktype(self, batch: aioprocket.Batch) -> int | None:
        """What all packets of a batch begin with; None: not all with the same."""
        found = {self._reader.interface_of(packet).linktype for packet in batch}
        return found.pop() if len(found) == 1 else None

    def origin(self, packet: aioprocket.Packet) -> Origin:
        """Where a packet was captured."""
        interface = self._reader.interface_of(packet)
        return Origin(interface.name or f"number {packet.ifindex}", interface.linktype)

    def dropped(self) -> int:
        """Packets that were lost when it was captured, as far as the file says."""
        return self._reader.stats().rx_dropped

    def unread(self) -> int:
        """None: who ends early has seen enough."""
        return 0

    def remarks(self) -> list[str]:
        """What else is to be said at the end."""
        return [f"{self.name} ends within a packet"] if self._reader.truncated else []
