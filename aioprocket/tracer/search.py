"""The state of a search for the largest packet: which size to try next. No socket, no clock."""

from typing import Final

__all__ = ("LEAST", "MtuSearch")

LEAST: Final = {4: 68, 6: 1280}  # what every link must carry: RFC 791, section 3.2; RFC 8200, 5


class MtuSearch:
    """First the smallest, to learn whether the host answers; then the largest; then between them.

    Attributes:
        black_hole: A size was lost in silence: some router drops what is too big and does not say.
        reached: The host has answered.
    """

    def __init__(self, least: int, most: int) -> None:
        self._good = least  # of which it is known, or must be
        self._most = most  # nothing above it can pass
        self.reached = False
        self.black_hole = False
        self._next: int | None = least

    @property
    def mtu(self) -> int | None:
        """The largest that has arrived; None: none has."""
        return self._good if self.reached else None

    def size(self) -> int | None:
        """What to try now; None: the search is over."""
        return self._next

    def arrived(self, size: int) -> None:
        """The host has answered a packet of this size."""
        self._next = self._most if not self.reached else self._between(size)
        self.reached = True
        self._good = max(self._good, size)
        if self._good >= self._most:
            self._next = None

    def too_big(self, size: int, mtu: int | None) -> None:
        """Somebody has said so; ``mtu`` is what would pass by his word, None if he gave none."""
        hint = mtu is not None and self._good <= mtu < size
        self._most = mtu if hint and mtu is not None else size - 1
        self._proceed(self._most if hint else None)

    def lost(self, size: int) -> None:
        """Nobody has answered, however often it was tried."""
        if not self.reached:
            self._next = None
            return
        self.black_hole = True
        self._most = size - 1
        self._proceed(None)

    def _proceed(self, hint: int | None) -> None:
        if self._most <= self._good:
            self._next = None if self.reached else self._next
            return
        self._next = hint or self._between(self._good)

    def _between(self, good: int) -> int:
        return (max(self._good, good) + self._most + 1) // 2
