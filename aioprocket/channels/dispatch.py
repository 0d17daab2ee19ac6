"""From a batch to the protocol's methods.

The loop's code must not see what a callback raises, a batch must not end because of it, and a
callback may do anything in its midst: change the mode, pause, close, swap the filter.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from ..packet import Packet
from .modes import ReadMachine
from .protocol import RawProtocol
from .serve import TURN_SECONDS

__all__ = ("Dispatch",)

_BEFORE_DATAGRAMS: Final = ("packets_received", "packet_received")


class Dispatch:
    """Calls one protocol.

    Attributes:
        protocol: The object that is called.
        budget: How many packets a wakeup may read, with what is known of the protocol's speed.
        transport: Named in reports of what the protocol raised.
    """

    __slots__ = (
        "_loop", "_machine", "_method", "budget", "max_budget", "protocol", "transport",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, machine: ReadMachine, protocol: Any, max_budget: int
    ) -> None:
        self._loop = loop
        self._machine = machine
        self.transport: Any = None
        self.budget = self.max_budget = max_budget
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

    def deliver(self, batch: list[Packet], may_go_on: Callable[[], bool]) -> None:
        """Give a batch to the protocol, and tell it ``passive()`` if that used up the count.

        Args:
            batch: What the mode allows.
            may_go_on: Asked after a callback changed something; if not, the rest is the backlog.
        """
        self._machine.interrupted = False
        if self._method == "packets_received":
            ended = self._machine.spend(len(batch))
            self._deliver_whole(batch)
        else:
            ended = self._deliver_each(batch, may_go_on)
        if ended:
            self.call("passive")

    def _deliver_whole(self, batch: list[Packet]) -> None:
        began = time.monotonic()
        self.call("packets_received", batch)
        # A batch cannot be broken off, so a protocol that is slow gets smaller ones.
        if time.monotonic() - began > TURN_SECONDS:
            self.budget = max(1, len(batch) // 2)
        elif self.budget < self.max_budget:
            self.budget = min(self.budget * 2, self.max_budget)

    def _deliver_each(self, batch: list[Packet], may_go_on: Callable[[], bool]) -> bool:
        machine = self._machine
        generation = machine.generation
        receive = getattr(self.protocol, self._method)
        # Here, and not in a function around the method, which would cost as much as the rest.
        as_datagram = self._method == "datagram_received"
        clock = time.monotonic
        turn_ends = clock() + TURN_SECONDS
        delivered = 0
        ended = False
        try:
            for packet in batch:
                if machine.limited:
                    ended |= machine.spend(1)
                delivered += 1
                try:
                    if as_datagram:
                        receive(packet.data, packet.addr)
                    else:
                        receive(packet)
                except Exception as error:
                    self._blame(self._method, error)
                if machine.interrupted:
                    machine.interrupted = False
                    if machine.generation != generation or not may_go_on():
                        break
                if clock() > turn_ends:
                    break
        finally:
            # Also where a callback raised what is no Exception: the loop may survive that.
            if delivered < len(batch) and machine.generation == generation:
                machine.put_back(batch[delivered:])
        return ended


def _overrides(protocol: object, name: str) -> bool:
    method = getattr(protocol, name, None)
    return method is not None and getattr(method, "__func__", method) is not getattr(
        RawProtocol, name
    )
