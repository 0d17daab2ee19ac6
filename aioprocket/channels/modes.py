"""The read machine: which of the packets that come may be delivered. No I/O, no loop.

The modes are Erlang's, as OTP 25 behaves: passive (False), active (True), ``"once"``, and a count
of packets. Nothing is ever read beyond the credit, so what a passive reader should get is still in
the kernel. The one exception is a delivery that was broken off in mid-batch: its rest is the
backlog, at most one batch, and whoever reads next gets it first.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from ..errors import SpecError
from ..packet import Packet

__all__ = ("MAX_COUNT", "Mode", "ReadMachine")

Mode: TypeAlias = bool | int | Literal["once"]

MAX_COUNT: Final = 32767  # of {active, N}: 16 bits, signed, in Erlang's inet driver


class ReadMachine:
    """Mode, credit and backlog of one channel.

    Attributes:
        backlog: What was read and not delivered.
        limited: Whether each delivery must be paid with `spend`.
        interrupted: For whoever delivers a batch packet by packet: set as soon as it may be wrong
            to go on, because a callback changed the mode or threw the past away.
        generation: Changes with each `forget`, which takes the rest of a running batch with it.
    """

    __slots__ = ("_credit", "_mode", "backlog", "generation", "interrupted", "limited")

    def __init__(self) -> None:
        self._mode: Literal[False, True, "once", "count"] = False
        self._credit = 0
        self.backlog: deque[Packet] = deque()
        self.limited = True
        self.interrupted = False
        self.generation = 0

    @property
    def active(self) -> Mode:
        """False, True, ``"once"``, or how many packets are left to deliver."""
        return self._credit if self._mode == "count" else self._mode

    def set(self, mode: Mode) -> bool:
        """Change the mode; a number adds to the count that is left.

        Returns:
            Whether this ends the delivery in a way that ``passive()`` tells of.

        Raises:
            SpecError: The count would be above 32767; nothing has changed.
            TypeError: ``mode`` is none of the modes.
        """
        # By identity and exact type: True == 1, but it is another mode.
        if mode is True or mode is False:
            self._change(mode, 0)
        elif mode == "once":
            self._change("once", 0)
        elif type(mode) is int:
            return self._add(mode)
        else:
            raise TypeError(f"active is True, False, 'once' or a count, not {mode!r}")
        return False

    def _add(self, count: int) -> bool:
        credit = count + (self._credit if self._mode == "count" else 0)
        if credit > MAX_COUNT:
            raise SpecError(f"active count {credit} is above {MAX_COUNT}")
        if credit > 0:
            self._change("count", credit)
            return False
        self._change(False, 0)
        return True

    def _change(self, mode: Literal[False, True, "once", "count"], credit: int) -> None:
        self._mode = mode
        self._credit = credit
        self.limited = mode is not True
        self.interrupted = True

    def _allowance(self, budget: int) -> int:
        if self._mode is True:
            return budget
        if self._mode == "count":
            return min(budget, self._credit)
        return 1 if self._mode == "once" else 0

    def want(self, budget: int) -> int:
        """How many packets to read from the kernel now, to deliver ``budget`` at most."""
        return max(0, self._allowance(budget) - len(self.backlog))

    def take(self, fresh: list[Packet], budget: int) -> list[Packet]:
        """What may be delivered now: the backlog first, then what `want` was read for."""
        backlog = self.backlog
        if not backlog:
            return fresh
        backlog.extend(fresh)
        return [backlog.popleft() for _ in range(min(self._allowance(budget), len(backlog)))]

    def spend(self, count: int) -> bool:
        """Pay for packets, *before* they are delivered: a callback may set the mode anew.

        Returns:
            Whether the count is used up, of which ``passive()`` tells after the batch.
        """
        if self._mode == "once":
            self._change(False, 0)
        elif self._mode == "count":
            self._credit -= count
            if self._credit <= 0:
                self._change(False, 0)
                return True
        return False

    def put_back(self, rest: Sequence[Packet]) -> None:
        """Keep what was taken and not delivered, before everything else."""
        self.backlog.extendleft(reversed(rest))

    def forget(self) -> None:
        """Throw away what was read and not delivered, the rest of a running batch included."""
        self.backlog.clear()
        self.generation += 1
        self.interrupted = True
