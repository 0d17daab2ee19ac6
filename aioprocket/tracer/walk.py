"""Probes on their way: what a state machine wants is sent, what comes back is told to it."""

import time
from typing import Protocol

from .arrival import Arrival
from .hop import Answer
from .path import Launch
from .prober import Prober

__all__ = ("Plan", "Walk")


class Plan(Protocol):
    """What decides which probes go out: a `Path`, or a `Watch`."""

    def launch(self, now: float) -> Launch | None:
        """The next probe; None: not now."""
        ...

    def sent_at(self, number: int) -> float | None:
        """When a probe was launched."""
        ...

    def answered(self, number: int, answer: Answer) -> bool:
        """An answer came; whether it was asked for."""
        ...

    def answered_one_of(self, now: float) -> int | None:
        """An answer came that does not say to which probe; the one it is to."""
        ...

    def expire(self, now: float) -> list[int]:
        """Give up what was not answered in time."""
        ...

    def wakes_at(self) -> float | None:
        """When there is something to do though nothing comes."""
        ...


class Walk:
    """Moves a plan forward. It owns the prober."""

    def __init__(self, prober: Prober, plan: Plan) -> None:
        self.prober = prober
        self._plan = plan
        self._moments: dict[int, int] = {}  # of sending, by the realtime clock

    def gather(self) -> None:
        """Take in what has come, and give up what has not come in time."""
        now = time.monotonic()
        for arrival in self.prober.receive():
            self._arrived(arrival, now)
        for number in self._plan.expire(now):
            self._moments.pop(number, None)
            self.prober.forget(number)

    async def advance(self) -> None:
        """Send what may be sent, and wait until there is something to gather.

        Raises:
            ChannelError: This machine does not send it.
        """
        sent = 0
        while (launch := self._plan.launch(time.monotonic())) is not None:
            self._moments[launch.number] = await self.prober.send(launch.number, launch.ttl)
            sent += 1
            if sent == self.prober.burst:
                return
        moment = self._plan.wakes_at()
        await self.prober.wait(None if moment is None else max(0.0, moment - time.monotonic()))

    def close(self) -> None:
        """Close the sockets."""
        self.prober.close()

    def _arrived(self, arrival: Arrival, now: float) -> None:
        number = arrival.number
        if number is None:
            number = self._plan.answered_one_of(now)
            if number is None:
                return
        sent_at = self._plan.sent_at(number)
        if sent_at is None:
            return
        answer = Answer(
            address=arrival.address,
            rtt=_rtt(self._moments.pop(number, 0), arrival.received_ns, now - sent_at),
            error=arrival.error,
            reached=arrival.reached,
            labels=arrival.labels,
        )
        self._plan.answered(number, answer)


def _rtt(sent_ns: int, received_ns: int, elapsed: float) -> float:
    """Seconds between two moments of the realtime clock, unless somebody has set it meanwhile."""
    if sent_ns and received_ns:
        rtt = (received_ns - sent_ns) / 1e9
        if 0 <= rtt <= elapsed:
            return rtt
    return elapsed
