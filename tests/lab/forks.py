"""Forks of this process, which may go wrong as they like: they never go on as the process that runs
the tests, and none outlives it.

A fork has the pipes by which pytest-xdist talks to its processes, and would hold them open.
"""

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sandbox import kernel

__all__ = ("beside", "in_child")


def in_child(call: Callable[[], object]) -> None:
    """Call a function in a fork of this process; it has ended, and well, when this returns."""
    pid = _fork(call)
    try:
        _, status = os.waitpid(pid, 0)
    except BaseException:  # a timeout of the test
        _end(pid)
        raise
    assert status == 0


@contextmanager
def beside(call: Callable[[], object]) -> Iterator[None]:
    """A fork of this process calls a function; it is killed at the end of the block."""
    pid = _fork(call)
    try:
        yield
    finally:
        _end(pid)


def _fork(call: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            kernel.die_with_parent(signal.SIGKILL)
            call()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
