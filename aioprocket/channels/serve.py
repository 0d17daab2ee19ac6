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
    """Call ``handler`` for each packet; what it did not get goes back into the backlog.

    A packet counts as delivered when the handler was called with it, however that ended.
    """
    generation = machine.generation
    turn_ends = time.monotonic() + TURN_SECONDS
    delivered = 0
    try:
        for packet in batch:
            machine.spend(1)
            delivered += 1
            waiting = handler(packet)
            if waiting is not None:
                await waiting
            if machine.generation != generation or machine.active is False:
                return  # the filter was changed, or the channel ended
            if time.monotonic() > turn_ends:
                await checkpoint()
                turn_ends = time.monotonic() + TURN_SECONDS
    finally:
        if machine.generation == generation:
            machine.put_back(batch[delivered:])
