"""When packets of a file are due, if they come at the intervals at which they were captured."""

import itertools
from collections.abc import Iterable
from typing import Final

import anyio

from ..errors import SpecError
from ..packet import Packet

__all__ = ("Pace",)

_SECOND: Final = 10**9


class Pace:
    """The clock of one replay, which begins with its first packet.

    Raises:
        SpecError: ``speed``, times the original, is not above 0.
    """

    def __init__(self, speed: float) -> None:
        if not speed > 0:
            raise SpecError(f"speed {speed!r} is not above 0")
        self._speed = speed
        self._first_ns: int | None = None
        self._began = 0.0

    async def wait(self, timestamp_ns: int) -> None:
        """Wait until a packet is due."""
        if self._first_ns is None:
            self._first_ns = timestamp_ns
            self._began = anyio.current_time()
        await anyio.sleep_until(self._moment(timestamp_ns))

    def due(self, packets: Iterable[Packet], most: int) -> int:
        """How many of the packets are due now, one at least."""
        now = anyio.current_time()
        ready = itertools.takewhile(
            lambda packet: self._moment(packet.timestamp_ns) <= now, itertools.islice(packets, most)
        )
        return max(1, sum(1 for _ in ready))

    def _moment(self, timestamp_ns: int) -> float:
        assert self._first_ns is not None
        return self._began + (timestamp_ns - self._first_ns) / _SECOND / self._speed
