"""From what was read to the protocol's methods.

The loop's code must not see what a callback raises, no packet must be lost because of it, and a
callback may do anything in its midst: change the mode, pause, close, swap the filter. What it
leaves of a turn is the backlog.
"""

import asyncio
import time
from typing import Any, Final

from .._system._native import Wakeup
from .intake import Intake
from .modes import ReadMachine
from .protocol import RawProtocol
from .serve import TURN_SECONDS

__all__ = ("Dispatch",)

_BEFORE_DATAGRAMS: Final = ("packets_received", "packet_received")


class Dispatch:
    """Calls one protocol.

    Attributes:
        protocol: The object that is called.
        max_budget: How many packets a wakeup may read, if the protocol is quick.
        transport: Named in reports of what the protocol raised.
    """

    __slots__ = (
        "_loop", "_machine", "_method", "_wakeup", "max_budget", "protocol", "transport",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, machine: ReadMachine, protocol: Any, max_budget: int
    ) -> None:
        self._loop = loop
        self._machine = machine
        self.transport: Any = None
        self._wakeup: Wakeup | None = None
        self.max_budget = machine.delivery.budget = max_budget
        self.choose(protocol)

    def choose(self, protocol: Any) -> None:
        """Take a protocol; the first that it overrides of the three receiving methods is called.

        Raises:
            TypeError: It has none of them.
        """
        overridden = (name for name in _BEFORE_DATAGRAMS if _overrides(protocol, name))
        self._method = next(overridden, "datagram_received")
        if not hasattr(protocol, self._method):
            raise TypeError(f"{protocol!r} has no method that receives packets")
        self.protocol = protocol
        if self._wakeup is not None:
            self._instruct(self._wakeup)

    def wake_by(self, wakeup: Wakeup) -> None:
        """What reads for this protocol from here on, in the ordinary case."""
        self._wakeup = wakeup
        self._instruct(wakeup)

    def _instruct(self, wakeup: Wakeup) -> None:
        wakeup.choose(self.protocol, self._method)

    def call(self, what: str, *arguments: object) -> None:
        """Call a method of the protocol, if it has it; what it raises is the loop's to report."""
        method = getattr(self.protocol, what, None)
        if method is None:
            return
        try:
            method(*arguments)
        except Exception as error:
            self._blame(what, error)

    def _blame(self, what: str, error: Exception) -> None:
        self.report(f"exception in {type(self.protocol).__name__}.{what}", error)

    def report(self, message: str, error: Exception) -> None:
        """Give an exception that nobody expected to the loop's exception handler."""
        self._loop.call_exception_handler({
            "message": message,
            "exception": error,
            "transport": self.transport,
            "protocol": self.protocol,
        })  # fmt: skip

    def turn(self, intake: Intake) -> None:
        """Give the protocol what the mode and the budget allow, and what a moment's time does.

        After that ``passive()`` tells it if the count is used up.

        Raises:
            What `Intake.attempt` raises.
        """
        if self._method == "packets_received":
            self._deliver_whole(intake)
        else:
            self._deliver_singly(intake)
        self._tell_end()

    def _tell_end(self) -> None:
        if self._machine.ended():
            self.call("passive")

    def _deliver_singly(self, intake: Intake) -> None:
        receive, delivery = getattr(self.protocol, self._method), self._machine.delivery
        try:
            intake.dispatch(receive, delivery.budget, self._method == "datagram_received")
        except Exception as error:
            if not delivery.calling:
                raise
            self._blame(self._method, error)

    def settle(self, intake: Intake, error: BaseException | None) -> None:
        """What is left to do after a turn that a `Wakeup` took, and that ended with ``error``.

        Raises:
            What `turn` raises.
        """
        if self._machine.delivery.calling and isinstance(error, Exception):
            self._blame(self._method, error)
        elif isinstance(error, (OSError, EOFError)):
            intake.fail(error)
            self.turn(intake)  # behind the error there may be packets
            return
        elif error is not None:
            raise error
        self._tell_end()

    def _deliver_whole(self, intake: Intake) -> None:
        delivery = self._machine.delivery
        began = now = time.monotonic()
        while now - began < TURN_SECONDS and self._wants_batches():
            batch = intake.next_whole(delivery.budget)
            if batch is None:
                break
            self._machine.pay(len(batch))
            self.call("packets_received", batch)
            called, now = now, time.monotonic()
            # A batch cannot be broken off, so a protocol that is slow gets smaller ones.
            if now - called > TURN_SECONDS:
                delivery.budget = max(1, len(batch) // 2)
            elif delivery.budget < self.max_budget:
                delivery.budget = min(delivery.budget * 2, self.max_budget)
            if not intake.timed:
                break
            del batch  # before the next: a ring holds what somebody has

    def _wants_batches(self) -> bool:
        """What a callback may have changed: the mode, its count, the protocol."""
        return (
            self._method == "packets_received"
            and not self._machine.over  # passive() comes before the next packet
            and self.transport.is_reading()
        )


def _overrides(protocol: object, name: str) -> bool:
    method = getattr(protocol, name, None)
    return method is not None and getattr(method, "__func__", method) is not getattr(
        RawProtocol, name
    )
