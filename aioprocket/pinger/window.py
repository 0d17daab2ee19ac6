"""How many probes may be on their way, by what became of those before. No clock in here.

An answer that stays out may mean that nobody is there, or that too much was asked at once: a host
has room for some 150 answers that have not left yet, and many a router or host answers so many a
second and no more. Nothing tells which, but whether a larger part answers when less is asked. So a
sweep begins with few probes on their way and takes one more for each answer that was long under
way; when some have stayed out it tries a quarter, compares, and goes back if that was no better.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from .echo import Echo

__all__ = ("FIRST", "Window")

# What the Linux kernel has room for is 159 answers to probes of usual size, on each processor:
# icmp_sk_init() in net/ipv4/icmp.c gives its socket a send buffer for two packets of 64 KiB.
FIRST: Final = 128
# Seconds that answers take where more probes on their way make a sweep faster: the first are more
# than 60,000 a second below that, and more would but wait in the queue of who answers.
_FAR: Final = 0.002
# Round trips one after the other that were that long: of one, a host that was busy for a moment is
# no less likely the reason, and with more on their way it would lose the answers to all of them.
_CERTAIN: Final = 2
_CUT: Final = 4  # times fewer in a trial
_QUARTER: Final = 4  # slices of a timeout
_SURE: Final = 2.0  # standard errors that are no chance, when it is slower already
_VERY_SURE: Final = 4.0  # and when a sweep at full speed is to be disturbed again
_RATIO: Final = 2.0  # times the part that answers: worth another trial


class _Cohort:
    """Probes that were sent in a stretch of time, and what became of them."""

    __slots__ = ("answered", "end_ns", "lost", "size", "start_ns")

    def __init__(self, size: int, start_ns: int, end_ns: int, answered: int = 0) -> None:
        self.size = size
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.answered = answered
        self.lost = 0

    @property
    def part(self) -> float:
        """That answered."""
        return self.answered / max(1, self.answered + self.lost)

    def better_than(self, other: "_Cohort") -> float:
        """By how many standard errors of the difference between two proportions."""
        ours, theirs = self.answered + self.lost, other.answered + other.lost
        if not ours or not theirs:
            return 0.0
        mean = (self.answered + other.answered) / (ours + theirs)
        error = math.sqrt(mean * (1 - mean) * (1 / ours + 1 / theirs))
        return (self.part - other.part) / error if error else 0.0


class Window:
    """Attributes: ``size``, in probes; `note` changes it.

    Args:
        most: What it never exceeds.
        timeout_ns: After which a probe is lost.
    """

    def __init__(self, most: int, timeout_ns: int) -> None:
        self.size = min(FIRST, most)
        self._most = most
        self._timeout_ns = timeout_ns
        self._slice_ns = max(1, timeout_ns // _QUARTER)
        # Answers of late, by when they came, until some stay out for the first time.
        self._slices: deque[tuple[int, int]] = deque(maxlen=_QUARTER + 2)
        self._far = 0  # long round trips, each begun when the one before was over
        self._far_ns = 0  # when the last of these was over
        self._cohort: _Cohort | None = None  # whose end is waited for
        self._waits = False  # for room, to begin a trial
        self._before: _Cohort | None = None  # what the trial is to be better than
        self._base: _Cohort | None = None  # what can be had
        self._slow = False
        self._patience = 1  # timeouts between two trials that lead to nothing

    def room(self, in_flight: int, not_overtaken: int) -> int:
        """Probes that may leave now.

        As long as nothing seems wrong, those do not count that a later one's answer has overtaken:
        where they went to nobody is.
        """
        flying = not_overtaken if self._cohort is None else in_flight
        return min(self._most - in_flight, self.size - flying)

    def note(self, ended: Sequence[Echo], lost: int, in_flight: int, now_ns: int) -> None:
        """What has become of some probes, ``lost`` of them; it may be nothing at all."""
        if self._cohort is None:
            self._start(ended, lost, now_ns)
        if self._cohort is None:
            return
        if self._waits and in_flight < self.size:
            self._waits = False
            self._cohort = _Cohort(self.size, now_ns, now_ns + self._slice_ns)
            assert self._before is not None
            self._before.end_ns = now_ns
        self._count(ended, now_ns)
        if not self._waits and now_ns > self._cohort.end_ns + self._timeout_ns:
            self._judge(self._cohort, now_ns)

    def _start(self, ended: Sequence[Echo], lost: int, now_ns: int) -> None:
        if not lost:
            if ended:
                self._grow(len(ended), ended[0].rtt or 0.0, now_ns)
        elif not self._slices:
            self.size = self._most  # there is nobody whom a slower one could hear
        else:
            since = now_ns - self._timeout_ns - self._slice_ns
            late = sum(count for start_ns, count in self._slices if start_ns >= since)
            self._try(_Cohort(self.size, since, now_ns, late), now_ns)

    def _grow(self, answered: int, rtt: float, now_ns: int) -> None:
        if rtt < _FAR:
            self._far = 0
        elif now_ns - int(rtt * 1e9) >= self._far_ns:
            self._far += 1
            self._far_ns = now_ns
        if self._far >= _CERTAIN:
            self.size = min(self._most, self.size + answered)
        if self._slices and now_ns < self._slices[-1][0] + self._slice_ns:
            start_ns, so_far = self._slices[-1]
            self._slices[-1] = start_ns, so_far + answered
        else:
            self._slices.append((now_ns, answered))

    def _count(self, ended: Sequence[Echo], now_ns: int) -> None:
        for echo in ended:
            if echo.error is not None:
                continue
            rtt = echo.rtt
            sent_ns = now_ns - (self._timeout_ns if rtt is None else int(rtt * 1e9))
            for cohort in (self._cohort, self._before):
                if cohort is not None and cohort.start_ns <= sent_ns < cohort.end_ns:
                    cohort.answered += rtt is not None
                    cohort.lost += rtt is None

    def _try(self, before: _Cohort, now_ns: int) -> None:
        """Go slower, to see whether that is better."""
        self.size = max(1, self.size // _CUT)
        self._before = before
        self._cohort = _Cohort(self.size, now_ns, now_ns)
        self._waits = True

    def _judge(self, cohort: _Cohort, now_ns: int) -> None:
        before, self._before = self._before, None
        if before is not None:
            self._judge_trial(cohort, before, now_ns)
        else:
            self._judge_speed(cohort, now_ns)
        if not self._waits:
            self._cohort = _Cohort(self.size, now_ns, now_ns + self._timeout_ns * self._patience)

    def _judge_trial(self, trial: _Cohort, before: _Cohort, now_ns: int) -> None:
        if trial.better_than(before) >= _SURE:
            self._slow = True
            self._patience = 1
            self._base = trial
            if trial.lost and self.size > 1:
                self._try(trial, now_ns)
        elif self.size > 1 and trial.part > _RATIO * before.part:
            self._try(before, now_ns)  # too few to be sure of it
        elif before is self._base:
            self.size = before.size  # which was better than what was before it
        else:
            self.size = self._most
            self._slow = False
            self._base = before
            self._patience *= 2

    def _judge_speed(self, cohort: _Cohort, now_ns: int) -> None:
        assert self._base is not None
        better = cohort.better_than(self._base)
        if better >= _SURE:
            self._base = cohort
        if self._slow and not cohort.answered:
            self.size = self._most  # there is nobody in this part
        elif better <= -(_SURE if self._slow else _VERY_SURE):
            self._try(cohort, now_ns)
        elif self._slow:
            faster = self.size + max(1, self.size // _CUT if cohort.lost else self.size)
            self.size = min(self._most, faster)
        self._slow = self._slow and self.size < self._most
