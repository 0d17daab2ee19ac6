"""An interface that was removed, and another that has its name now: going on by that.

As with ppp, a VPN or USB. A socket is bound to an interface's number, so all its probes are refused
from then on, by this machine.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias

from .._system._native import EchoGroup
from ..errors import AioprocketError, ClosedError
from .echo import Echo
from .lane import Lane

__all__ = ("LOOK", "LaneOf", "is_refusal", "succeed")

# Seconds between two looks whether an interface that is gone has a successor of its name.
LOOK: Final = 1.0

# Gives the lane of a version of IP: another one than before where the name is another interface's.
LaneOf: TypeAlias = Callable[[Literal[4, 6]], Awaitable[Lane]]


def is_refusal(echo: Echo) -> bool:
    """Whether it was this machine that refused the probe."""
    error = echo.error
    return error is not None and error.router is None


async def succeed(lane: Lane, group: EchoGroup, lane_of: LaneOf) -> tuple[Lane, list[Echo]] | None:
    """The lane to go on by, and what of the group ends by that; None: there is no other.

    Raises:
        ClosedError: The pinger is closed.
    """
    try:
        fresh = await lane_of(lane.version)
    except ClosedError:
        raise
    except AioprocketError:  # it may be gone again, or not be permitted any more
        return None
    return None if fresh is lane else (fresh, lane.give_up(group))
