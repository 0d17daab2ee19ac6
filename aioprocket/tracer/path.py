"""The state of a trace: which probes are out, what is known of each hop. No socket, no clock.

Every ``now`` is a moment in seconds of one clock, which never goes back.
"""

from collections import deque
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from .hop import Answer, Hop

__all__ = ("Launch", "Path")

_NUMBERS = 1 << 16


class Launch(NamedTuple):
    """A probe to be sent: what it is called, and how far it goes."""

    number: int
    ttl: int


class _Probe:
    __slots__ = ("answer", "open", "place", "sent", "ttl")

    def __init__(self, ttl: int, place: int, sent: float) -> None:
        self.ttl = ttl
        self.place = place
        self.sent = sent
        self.answer: Answer | None = None
        self.open = True  # it may still be answered in time


class Path:
    """Decides what to send next, and gives hops in their order, each as soon as it is known.

    Probes go hop by hop. That matters where the destination limits its answers: the first to reach
    it are those that belong to its own hop.
    """

    def __init__(
        self,
        *,
        first_hop: int = 1,
        max_hops: int = 30,
        probes: int = 3,
        parallel: int = 48,
        timeout: float = 1.0,
        first_number: int = 0,
    ) -> None:
        self._probes = probes
        self._parallel = parallel
        self._timeout = timeout
        self._next_number = first_number
        self._next_hop = first_hop
        self._last = max_hops  # lower, once something final is known
        self._plan: Iterator[tuple[int, int]] = product(
            range(first_hop, max_hops + 1), range(probes)
        )
        self._again: deque[tuple[int, int]] = deque()
        self._sent: dict[int, _Probe] = {}
        self._hops: dict[int, list[_Probe | None]] = {}
        self._open: deque[int] = deque()  # numbers in the order of sending; some are closed by now
        self._open_count = 0
        self._silent_until = 0.0
        self.strays = 0  # answers to nothing that was asked: late, twice, or forged

    @property
    def next_number(self) -> int:
        """What the next probe will be called."""
        return self._next_number

    @property
    def last(self) -> int:
        """The hop behind which there is nothing to ask, as far as is known."""
        return self._last

    def launch(self, now: float) -> Launch | None:
        """The next probe, which counts as sent; None: not now."""
        if self._open_count >= self._parallel or now < self._silent_until:
            return None
        place = self._again.popleft() if self._again else next(self._plan, None)
        while place is not None and place[0] > self._last:
            place = self._again.popleft() if self._again else next(self._plan, None)
        if place is None:
            return None
        ttl, index = place
        number = self._next_number
        self._next_number = (number + 1) % _NUMBERS
        probe = _Probe(ttl, index, now)
        self._sent[number] = probe
        self._hops.setdefault(ttl, [None] * self._probes)[index] = probe
        self._open.append(number)
        self._open_count += 1
        return Launch(number, ttl)

    def sent_at(self, number: int) -> float | None:
        """When a probe was launched; None: there is none of this name."""
        probe = self._sent.get(number)
        return None if probe is None else probe.sent

    def answered(self, number: int, answer: Answer) -> bool:
        """An answer came; one to a probe that was given up counts until its hop is told.

        Returns:
            Whether it was asked for.
        """
        probe = self._sent.get(number)
        if probe is None or probe.answer is not None or probe.ttl < self._next_hop:
            self.strays += 1
            return False
        probe.answer = answer
        self._close(probe)
        if answer.final:
            self._last = min(self._last, probe.ttl)
            self._forget_behind(self._last)
        return True

    def answered_one_of(self, now: float) -> int | None:
        """An answer came that does not say to which probe.

        Where only one is out it is that one's. Else nothing is guessed: all that are out are asked
        again, one after the other from now on, once no answer to them can come any more.

        Returns:
            The number of the probe; None: it cannot be told.
        """
        if now < self._silent_until:
            return None
        out = [number for number in self._open if self._sent[number].open]
        if len(out) == 1:
            return out[0]
        if not out:
            self.strays += 1
            return None
        self._parallel = 1
        self._silent_until = now + self._timeout
        for number in out:
            probe = self._sent.pop(number)
            self._close(probe)
            self._hops[probe.ttl][probe.place] = None
            self._again.append((probe.ttl, probe.place))
        self._open.clear()
        return None

    def expire(self, now: float) -> list[int]:
        """Give up what was not answered in time, and say what that was."""
        expired = []
        while self._open:
            probe = self._sent[self._open[0]]
            if probe.open and now < probe.sent + self._timeout:
                break
            number = self._open.popleft()
            if probe.open:
                self._close(probe)
                expired.append(number)
        return expired

    def wakes_at(self) -> float | None:
        """When something happens even if no answer comes; None: not before one does."""
        moments = [self._silent_until] if self._again else []
        out = next((self._sent[number] for number in self._open if self._sent[number].open), None)
        if out is not None:
            moments.append(out.sent + self._timeout)
        return min(moments, default=None)

    def pop(self) -> Hop | None:
        """The next hop, if all is known of it."""
        if self.done:
            return None
        probes = self._hops.get(self._next_hop, [])
        asked = [probe for probe in probes if probe is not None]
        if len(asked) < self._probes or any(probe.open for probe in asked):
            return None
        hop = Hop(ttl=self._next_hop, probes=tuple(probe.answer for probe in asked))
        self._next_hop += 1
        return hop

    @property
    def done(self) -> bool:
        """Every hop was told."""
        return self._next_hop > self._last

    def _close(self, probe: _Probe) -> None:
        if probe.open:
            probe.open = False
            self._open_count -= 1

    def _forget_behind(self, last: int) -> None:
        for probe in self._sent.values():
            if probe.ttl > last:
                self._close(probe)
