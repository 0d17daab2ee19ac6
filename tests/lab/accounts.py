"""Functions that run without any privilege, and bring their result back."""

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from sandbox.accounts import fork_unprivileged

__all__ = ("ChildFailed", "Unprivileged", "run_unprivileged")

# What the fixture ``as_nobody`` is.
Unprivileged = Callable[[Callable[[], Any]], Any]
T = TypeVar("T")


class ChildFailed(Exception):
    """The child ended without a result, or with an exception that cannot be carried over."""


def run_unprivileged(function: Callable[[], T], *, change_account: bool) -> T:
    """Call ``function`` in a child that has no privilege; its result or exception comes back.

    The child is a fork, so the function may be a closure. What it returns is pickled.
    """
    reading, writing = os.pipe()

    def answer() -> int:
        os.close(reading)
        with open(writing, "wb") as pipe:
            pipe.write(_outcome(function))
        return 0

    pid = fork_unprivileged(answer, change_account=change_account)
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            reply = pipe.read()
    except BaseException:
        os.kill(pid, signal.SIGKILL)  # a timeout of the test
        raise
    finally:
        _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise ChildFailed(f"the unprivileged child ended with {code} and no result")
    good, value = pickle.loads(reply)
    if not good:
        raise value
    return value  # type: ignore[no-any-return]


def _outcome(function: Callable[[], T]) -> bytes:
    try:
        return pickle.dumps((True, function()))
    except BaseException as error:  # a failed assertion and pytest's own outcomes come back too
        return pickle.dumps((False, _portable(error)))


def _portable(error: BaseException) -> BaseException:
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an exception's constructor raises when pickle calls it
        return ChildFailed(f"in the unprivileged child:\n{text}")
    error.add_note(f"In the unprivileged child:\n{text}")
    return error
