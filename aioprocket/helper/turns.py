"""Taking turns: one task at a time, in the order in which they came.

`anyio.Lock` does the same and more; its search for the current task, twice, takes as long as a
helper's answer needs to cross the socket.
"""

from collections import deque
from types import TracebackType

import anyio

__all__ = ("Turns",)


class Turns:
    """``async with turns:`` holds the turn. It is handed on in order, also by a cancelled task."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[anyio.Event] = deque()

    async def __aenter__(self) -> None:
        if not self._taken:
            self._taken = True
            return
        mine = anyio.Event()
        self._waiting.append(mine)
        try:
            await mine.wait()
        except BaseException:
            if mine.is_set():
                self._hand_on()
            else:
                self._waiting.remove(mine)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hand_on()

    def _hand_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._taken = False
