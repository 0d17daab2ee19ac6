"""What a trace waits for: a line on a terminal, and nothing elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

__all__ = ("Waiting",)


class Waiting:
    """Says in the last line what is waited for, and for how long; gone at the end.

    Args:
        out: Where lines are printed meanwhile.
        what: Is waited for first.
    """

    def __init__(self, out: Console, what: str, *, shown: bool) -> None:
        self.wait_for(what)
        self._live: Live | None = None
        if shown and out.is_terminal:
            self._live = Live(
                console=out, get_renderable=self._line, transient=True, refresh_per_second=10
            )

    def wait_for(self, what: str) -> None:
        """From now on it is this."""
        self._now = what, time.monotonic()

    def _line(self) -> Text:
        what, since = self._now
        elapsed = time.monotonic() - since
        return Text(f"{what}, {elapsed:.1f} s", style="dim", no_wrap=True, overflow="ellipsis")

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
