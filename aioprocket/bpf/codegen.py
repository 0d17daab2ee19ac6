"""Instructions with labels, for whoever writes programs by code; and jumps of any length."""

from dataclasses import dataclass
from typing import Final

from ..spec import Instruction
from .opcodes import JEQ, JMP, JUMP, RET, K
from .program import Program

__all__ = ("Code", "Label")

_MAX_BRANCH: Final = 255


class Label:
    """A place to jump to, known once it is placed. Jumps lead forwards only."""

    __slots__ = ()


@dataclass(slots=True)
class _Step:
    code: int
    k: int
    matching: Label | None = None  # of a conditional jump; of ja, where it leads
    otherwise: Label | None = None


class Code:
    """A program in the making: `place` a label, and what is emitted next is where it leads."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._places: dict[Label, int] = {}

    def place(self, label: Label) -> None:
        """What comes next is where ``label`` leads."""
        self._places[label] = len(self._steps)

    def emit(self, code: int, k: int = 0) -> None:
        """An instruction that is no jump."""
        self._steps.append(_Step(code, k))

    def jump(self, label: Label) -> None:
        """On to a label."""
        self._steps.append(_Step(JUMP, 0, label))

    def test(self, code: int, k: int, matching: Label, otherwise: Label) -> None:
        """A conditional jump, of ``JMP | …``."""
        self._steps.append(_Step(code, k, matching, otherwise))

    def equal(self, k: int, matching: Label, otherwise: Label) -> None:
        """To one label where A is ``k``, else to the other."""
        self.test(JMP | JEQ | K, k, matching, otherwise)

    def finish(self, accept: Label, drop: Label, snaplen: int) -> Program:
        """The program, with the two ways for it to end."""
        self.place(accept)
        self.emit(RET | K, snaplen)
        self.place(drop)
        self.emit(RET | K, 0)
        while (step := self._too_far()) is not None:
            self._lengthen(step)
        return Program(self._resolved(at, step) for at, step in enumerate(self._steps))

    def _distance(self, at: int, label: Label | None) -> int:
        assert label is not None
        return self._places[label] - at - 1

    def _too_far(self) -> int | None:
        for at, step in enumerate(self._steps):
            if (
                step.otherwise is not None
                and max(self._distance(at, step.matching), self._distance(at, step.otherwise))
                > _MAX_BRANCH
            ):
                return at
        return None

    def _lengthen(self, at: int) -> None:
        """Have a conditional jump lead to two long ones right behind it."""
        step = self._steps[at]
        near, far = Label(), Label()
        long = [_Step(JUMP, 0, step.matching), _Step(JUMP, 0, step.otherwise)]
        step.matching, step.otherwise = near, far
        self._steps[at + 1 : at + 1] = long
        for label, place in self._places.items():
            if place > at:
                self._places[label] = place + len(long)
        self._places |= {near: at + 1, far: at + 2}

    def _resolved(self, at: int, step: _Step) -> Instruction:
        if step.otherwise is not None:
            matching, otherwise = (
                self._distance(at, label) for label in (step.matching, step.otherwise)
            )
            return step.code, matching, otherwise, step.k
        if step.code == JUMP:
            return step.code, 0, 0, self._distance(at, step.matching)
        return step.code, 0, 0, step.k
