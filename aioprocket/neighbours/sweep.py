"""The state of a search on a link: who is asked when, who has answered. No socket, no clock.

Every ``now`` is a moment in seconds of one clock, which never goes back.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ("Sweep",)

_T = TypeVar("_T")


@dataclass(slots=True)
class _Question(Generic[_T]):
    target: _T
    sent: float
    tries: int


class Sweep(Generic[_T]):
    """Gives targets one after the other, at a rate, each again as long as it does not answer.

    Only what was asked and may still answer is kept in memory, so ``targets`` may be without end.
    """

    def __init__(
        self, targets: Iterable[_T], *, rate: float | None, timeout: float, retries: int
    ) -> None:
        self._targets: Iterator[_T] | None = iter(targets)
        self._gap = 0.0 if rate is None else 1 / rate
        self._timeout = timeout
        self._retries = retries
        self._next: float | None = None  # when the rate allows one more
        self._open: dict[_T, _Question[_T]] = {}
        self._order: deque[_Question[_T]] = deque()
        self.sent = 0

    def ask(self, now: float) -> _T | None:
        """Whom to ask now; None: nobody."""
        if self._next is not None and now < self._next:
            return None
        target, tries = self._due(now)
        if target is None:
            return None
        question = _Question(target, now, tries)
        self._open[target] = question
        self._order.append(question)
        self.sent += 1
        # After a pause no more than one is made up for.
        planned = now if self._next is None else self._next
        self._next = max(planned, now - self._gap) + self._gap
        return target

    def _due(self, now: float) -> tuple[_T | None, int]:
        while self._order:
            oldest = self._order[0]
            if self._open.get(oldest.target) is not oldest:  # answered
                self._order.popleft()
            elif now < oldest.sent + self._timeout:
                break
            else:
                self._order.popleft()
                del self._open[oldest.target]
                if oldest.tries <= self._retries:
                    return oldest.target, oldest.tries + 1
        if self._targets is not None:
            for target in self._targets:
                return target, 1
            self._targets = None
        return None, 0

    def asked_at(self, target: _T) -> float | None:
        """The moment of the question that may still be answered; None: there is none."""
        question = self._open.get(target)
        return None if question is None else question.sent

    def answered(self, target: _T) -> None:
        """An answer came: the target is not asked again."""
        self._open.pop(target, None)

    @property
    def done(self) -> bool:
        """Everybody was asked, and has answered or had the time to."""
        return self._targets is None and not self._open

    def wakes_at(self) -> float | None:
        """When there is something to do though nothing comes; None: never."""
        out = next((each for each in self._order if self._open.get(each.target) is each), None)
        if self._targets is not None and self._next is not None:
            return self._next
        if out is None:
            return None
        return max(out.sent + self._timeout, self._next or 0.0)
