"""How fast: a bucket of tokens, and when it pays to wait. No clock: every moment is an argument."""

from typing import Final

__all__ = ("Bucket", "Gathering")

_SECOND: Final = 1_000_000_000
_ENOUGH: Final = 32  # answers: fewer cost more than they bring, for each turn has its price
_DENSE_NS: Final = 8_000  # between two answers of which enough come in a moment


class Bucket:
    """One token for each probe.

    Args:
        rate: Tokens per second.
        depth: Tokens that may gather while none is taken.
        now_ns: When it starts, with one token in it.
    """

    def __init__(self, rate: float, depth: int, now_ns: int) -> None:
        self._period = _SECOND / rate
        # The moment at which the bucket was empty, or would have been: what has been poured in
        # since is what may be taken.
        self._reach = self._period * depth
        self._empty_ns = now_ns - self._period

    def available(self, now_ns: int) -> int:
        """Tokens in it."""
        self._empty_ns = max(self._empty_ns, now_ns - self._reach)
        # A nanosecond more: sums of periods are not exact.
        return int((now_ns - self._empty_ns + 1) / self._period)

    def take(self, count: int) -> None:
        """Take as many as `available` says at most."""
        self._empty_ns += self._period * count

    def ready_ns(self, count: int = 1) -> int:
        """When there will be ``count`` tokens."""
        return int(self._empty_ns + self._period * count)


class Gathering:
    """Whether to let answers gather, where they come close together.

    Who looks for them without a pause finds a few each time, and sends as few.
    """

    def __init__(self) -> None:
        self._looked_ns = 0
        self._paused = False

    def pays(self, found: int, in_flight: int, now_ns: int) -> bool:
        """Whether to let more answers come before more probes leave; not twice in a row.

        Args:
            found: Answers that came since the last call.
            in_flight: Probes without one: who answers is not to run out of them.
            now_ns: Of a monotonic clock.
        """
        took_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        self._paused = (
            not self._paused
            and 0 < found < _ENOUGH
            and in_flight >= 2 * _ENOUGH
            and took_ns <= found * _DENSE_NS
        )
        return self._paused
