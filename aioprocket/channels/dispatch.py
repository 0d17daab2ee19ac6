"""From a batch to the protocol's methods.

The loop's code must not see what a callback raises, a batch must not end because of it, and a
callback may do anything in its midst: change the mode, pause, close, swap the filter.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from ..packet import Packet
from .modes import ReadMachine
from .protocol import RawProtocol
from .serve import TURN_SECONDS

__all__ = ("Dispatch",)


class Dispatch:
    """Calls one protocol.

    Attributes:
        protocol: The object that is called.
        budget: How many packets a wakeup may read, with what is known of the protocol's speed.
        transport: Named in reports of what the protocol raised.
    """

    __slots__ = (
        "_loop", "_machine", "_receive", "_receive_batch", "budget", "max_budget", "protocol",
        "transport",
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
        """Take a protocol; the first that it overrides of the three receiving methods is called."""
        self._receive: Callable[[Packet], object] | None = None
        self._receive_batch: Callable[[list[Packet]], object] | None = None
        if _overrides(protocol, "packets_received"):
            self._receive_batch = protocol.packets_received
        elif _overrides(protocol, "packet_received"):
            self._receive = protocol.packet_received
        else:
            self._receive = _datagram_receiver(protocol.datagram_received)
        self.protocol = protocol

    def call(self, what: str, *arguments: object) -> None:
        """Call a method of the protocol, if it has it; what it raises is the loop's to report."""
        method = getattr(self.protocol, what, None)
        if method is None:
            return
        try:
            method(*arguments)
        except Exception as error:
            self._report(what, error)

    def _report(self, what: str, error: Exception) -> None:
        self._loop.call_exception_handler({
            "message": f"exception in {type(self.protocol).__name__}.{what}",
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
        if self._receive is None:
            ended = self._machine.spend(len(batch))
            self._deliver_whole(batch)
        else:
            ended = self._deliver_each(batch, self._receive, may_go_on)
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

    def _deliver_each(
        self,
        batch: list[Packet],
        receive: Callable[[Packet], object],
        may_go_on: Callable[[], bool],
    ) -> bool:
        machine = self._machine
        generation = machine.generation
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
                    receive(packet)
                except Exception as error:
                    self._report("packet_received", error)
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


def _datagram_receiver(receive: Callable[[bytes, Any], object]) -> Callable[[Packet], object]:
    def receive_datagram(packet: Packet) -> None:
        receive(packet.data, packet.addr)

    return receive_datagram
