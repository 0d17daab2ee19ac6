"""Delivering a batch to a handler that may wait, one packet after the other."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from ..packet import Packet
from ..readiness import checkpoint
from .modes import ReadMachine

__all__ = ("TURN_SECONDS", "deliver")

# A slow handler hands the turn over after this time, in the midst of a batch if need be.
TURN_SECONDS: Final = 0.002


async def deliver(
    machine: ReadMachine, batch: list[Packet], handler: Callable[[Packet], Awaitable[object] | None]
) -> None:
    """Call ``handler`` for each packet; what it does not get is the backlog.

    A packet counts as delivered when the handler was called with it, however that ended.
    """
    # There, whoever throws packets away, gives them away or counts them finds these as well.
    machine.put_back(batch)
    backlog, delivery = machine.backlog, machine.delivery
    turn_ends = time.monotonic() + TURN_SECONDS
    for _ in range(len(batch)):
        if not backlog or not delivery.credit:
            return  # while a handler or another task ran, the filter changed or the channel ended
        machine.spend(1)
        waiting = handler(backlog.popleft())
        if waiting is not None:
            await waiting
        if time.monotonic() > turn_ends:
            await checkpoint()
            turn_ends = time.monotonic() + TURN_SECONDS
