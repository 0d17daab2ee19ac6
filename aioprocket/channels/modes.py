"""The read machine: which of the packets that come may be delivered. No I/O, no loop.

The modes are Erlang's, as OTP 25 behaves: passive (False), active (True), ``"once"``, and a count
of packets. Nothing is ever read beyond the credit, so what a passive reader should get is still in
the kernel. There are four exceptions: a delivery that was broken off, a receive that read ahead,
datagrams that the kernel hands over in one, and a ring that nobody reads (`spill`). What is left is
the backlog, and whoever reads next gets it first.
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from .._system._native import Delivery
from ..errors import SpecError
from ..packet import Packet

__all__ = ("MAX_COUNT", "Mode", "ReadMachine")

Mode: TypeAlias = bool | int | Literal["once"]

MAX_COUNT: Final = 32767  # of {active, N}: 16 bits, signed, in Erlang's inet driver


_WITHOUT_END: Final = -1


class ReadMachine:
    """Mode, credit and backlog of one channel.

    Attributes:
        delivery: Credit and backlog, where a receiver's ``dispatch`` finds them.
        backlog: What was read and is not delivered yet.
    """

    __slots__ = ("_counting", "_used_up", "backlog", "delivery")

    def __init__(self) -> None:
        self._counting = False  # else a credit of one is "once"
        self._used_up = False
        self.delivery = Delivery()
        self.backlog = self.delivery.backlog

    @property
    def active(self) -> Mode:
        """False, True, ``"once"``, or how many packets are left to deliver."""
        credit = self.delivery.credit
        if credit <= 0:
            return credit == _WITHOUT_END
        return credit if self._counting else "once"

    def set(self, mode: Mode) -> bool:
        """Change the mode; a number adds to the count that is left.

        Returns:
            Whether this ends the delivery in a way that ``passive()`` tells of.

        Raises:
            SpecError: The count would be above 32767; nothing has changed.
            TypeError: ``mode`` is none of the modes.
        """
        # By identity and exact type: True == 1, but it is another mode.
        if mode is True:
            self._change(_WITHOUT_END)
        elif mode is False:
            self._change(0)
        elif mode == "once":
            self._change(1)
        elif type(mode) is int:
            return self._add(mode)
        else:
            raise TypeError(f"active is True, False, 'once' or a count, not {mode!r}")
        return False

    def _add(self, count: int) -> bool:
        credit = count + (self.delivery.credit if self._counting else 0)
        if credit > MAX_COUNT:
            raise SpecError(f"active count {credit} is above {MAX_COUNT}")
        if credit > 0:
            self._change(credit, counting=True)
            return False
        self._change(0)
        return True

    def _change(self, credit: int, *, counting: bool = False) -> None:
        # A count that a callback used up ends with passive(), whatever it does then.
        self._used_up = self.over
        self._counting = counting
        self.delivery.credit = credit
        self.delivery.interrupt()

    def _allowance(self, budget: int) -> int:
        credit = self.delivery.credit
        return budget if credit == _WITHOUT_END else min(budget, credit)

    def want(self, budget: int) -> int:
        """How many packets to read from the kernel now, to deliver ``budget`` at most."""
        return max(0, self._allowance(budget) - len(self.backlog))

    def take(self, fresh: list[Packet], budget: int) -> list[Packet]:
        """What may be delivered now: the backlog first, then what `want` was read for."""
        backlog = self.backlog
        if not backlog:
            return fresh
        backlog.extend(fresh)
        return backlog.take(self._allowance(budget))

    def spend(self, count: int) -> bool:
        """Pay for packets, *before* they are delivered: a callback may set the mode anew.

        Returns:
            Whether the count is used up, of which ``passive()`` tells after the batch.
        """
        self.pay(count)
        return self.ended()

    def pay(self, count: int) -> None:
        """As `spend`; whoever delivers asks `ended` after the callback."""
        if self.delivery.credit > 0:
            self.delivery.credit = max(0, self.delivery.credit - count)

    @property
    def over(self) -> bool:
        """Whether a count is used up, of which ``passive()`` tells, and nobody was told yet."""
        return self._used_up or (self._counting and not self.delivery.credit)

    def ended(self) -> bool:
        """As `over`, and whoever asks tells of it: so it is true once for each count."""
        over = self.over
        self._used_up = False
        self._counting = self._counting and self.delivery.credit != 0
        return over

    def put_back(self, rest: Sequence[Packet]) -> None:
        """Keep what was taken and not delivered, before everything else."""
        self.backlog.put_back(rest)

    def forget(self) -> list[Packet]:
        """Give up what was read and not delivered, the rest of a running dispatch included."""
        self.delivery.interrupt()
        return self.backlog.take(len(self.backlog))
