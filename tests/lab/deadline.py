"""A timeout for asynchronous tests that every loop honours.

pytest-timeout raises from a signal handler. uvloop catches that, logs it and goes on waiting, and
so does trio as anyio's plugin runs it: a test that waits for ever would hold up the whole run. So
an asynchronous test is cancelled from inside, a little earlier.
"""

import functools
import inspect
from typing import Any

import anyio
import pytest

__all__ = ("give_deadline",)

EARLIER = 0.8  # of the timeout; what is left is for fixtures and for ending well


def give_deadline(item: pytest.Item) -> None:
    """Let an asynchronous test fail before its timeout; any other item stays as it is."""
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        return
    seconds = _timeout(item)
    if seconds <= 0:
        return
    test = item.obj

    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        with anyio.fail_after(seconds * EARLIER):
            await test(*args, **kwargs)

    item.obj = limited


def _timeout(item: pytest.Function) -> float:
    """As pytest-timeout finds it, in seconds; 0: none."""
    marker = item.get_closest_marker("timeout")
    if marker is not None and marker.args:
        return float(marker.args[0])
    return float(item.config.getoption("timeout") or item.config.getini("timeout") or 0)
