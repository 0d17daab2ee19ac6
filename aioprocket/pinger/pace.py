"""How fast: a bucket of tokens, filled at a rate. No clock: every moment is an argument."""

__all__ = ("Bucket",)

_SECOND = 1_000_000_000


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
