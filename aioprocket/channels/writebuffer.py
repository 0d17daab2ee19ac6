"""Packets that the kernel had no room for, and the protocol's part in it. No I/O."""

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from ..errors import SpecError
from ..packet import Packet
from .port import Address

__all__ = ("WriteBuffer",)

_HIGH: Final = 64 * 1024  # asyncio's defaults: bytes
_OVERHEAD: Final = 8  # what asyncio counts for each packet beside its bytes


class WriteBuffer:
    """Packets with their addresses, first in first out, and water marks.

    Over the high mark ``pause`` is called, and ``resume`` when no more than the low mark is left.
    """

    __slots__ = ("_high", "_low", "_packets", "_pause", "_paused", "_resume", "_size")

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._packets: deque[tuple[bytes | Packet, Address | None]] = deque()
        self._size = 0
        self._high = _HIGH
        self._low = _HIGH // 4
        self._paused = False
        self._pause = pause
        self._resume = resume

    @property
    def size(self) -> int:
        """Bytes that wait, with 8 more for each packet."""
        return self._size

    @property
    def limits(self) -> tuple[int, int]:
        """The low mark and the high one."""
        return self._low, self._high

    def set_limits(self, high: int | None, low: int | None) -> None:
        """As asyncio's transports: high follows low, or is 64 KiB; low is a quarter of it.

        Raises:
            SpecError: Not 0 <= low <= high.
        """
        if high is None:
            high = _HIGH if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise SpecError(f"high {high} must be at least low {low}, and that at least 0")
        self._high = high
        self._low = low
        self._look()

    def __bool__(self) -> bool:
        return bool(self._packets)

    def append(self, data: bytes | Packet, address: Address | None) -> None:
        """Keep one more packet."""
        self._packets.append((data, address))
        self._size += len(data) + _OVERHEAD
        self._look()

    def head(self, count: int) -> tuple[tuple[bytes | Packet, Address | None], ...]:
        """The packets to be sent next, ``count`` at most; they stay until `drop`."""
        return tuple(islice(self._packets, count))

    def drop(self, count: int) -> None:
        """The first so many were sent, or never can be."""
        for _ in range(count):
            data, _ = self._packets.popleft()
            self._size -= len(data) + _OVERHEAD
        self._look()

    def clear(self) -> None:
        """Throw all away, and tell nobody."""
        self._packets.clear()
        self._size = 0

    def _look(self) -> None:
        if not self._paused and self._size > self._high:
            self._paused = True
            self._pause()
        elif self._paused and self._size <= self._low:
            self._paused = False
            self._resume()
