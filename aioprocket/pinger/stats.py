"""What came to a pinger that was no plain reply."""

from collections.abc import Iterable
from typing import NamedTuple, Self

from .._system._native import EchoTable

__all__ = ("PingerStats",)


class PingerStats(NamedTuple):
    """What came that was no plain reply, cumulative, and what is on its way.

    Attributes:
        foreign: Answers to somebody else's requests. The kernel's filter holds most of them back.
        spoofed: Replies that do not know the cookie of the probe they claim to answer, or come
            from another address; and errors about what cannot have been a probe.
        duplicate: Further replies to a probe.
        late: Replies to a probe that had been given up, and errors about one that had its end.
        corrupted: Replies whose checksum or contents are damaged.
        in_flight: Probes without an end yet.
    """

    foreign: int
    spoofed: int
    duplicate: int
    late: int
    corrupted: int
    in_flight: int

    @classmethod
    def of(cls, tables: Iterable[EchoTable]) -> Self:
        """The sums of several tables."""
        several = list(tables)
        return cls(*(sum(getattr(table, name) for table in several) for name in cls._fields))

    def plus(self, other: Self) -> Self:
        """The sums of both."""
        return type(self)(*map(sum, zip(self, other, strict=True)))
