"""Becoming somebody without privilege, and running a function as such a one."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn

from . import kernel

__all__ = ("NOBODY", "drop_privileges", "fork_unprivileged")

NOBODY = 65534  # user nobody, group nogroup


def drop_privileges(*, change_account: bool) -> None:
    """Become nobody, or stay who we are without capabilities.

    Without a change of account every program that we execute has the capabilities again, as long
    as we are uid 0 of a user namespace: how an unprivileged helper gets them there.
    """
    if not change_account:
        kernel.drop_capabilities()
        return
    # Groups before user: without root they could not be changed any more.
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    # The kernel made /proc/self root's when the uid changed; no exec will undo that here.
    kernel.set_dumpable()


def fork_unprivileged(function: Callable[[], int], *, change_account: bool) -> int:
    """Start a child that calls ``function`` without privilege; its pid.

    What the function returns is the child's exit status; 130 after an interrupt; 1 after any other
    exception, whose traceback is printed, and if what it printed cannot be written. The child is
    killed when the calling thread ends.
    """
    sys.stdout.flush()  # or the child would print it once more
    with warnings.catch_warnings():
        # Python warns of fork beside threads. The child calls the function and ends: it takes no
        # lock that a thread of ours could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        # An interrupt would be lost in what Python calls around a fork: it waits.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        pid = os.fork()
    if pid == 0:
        _run(function, change_account, mask)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except BaseException:
        # The interrupt that waited. Nobody will learn of the child, which may not watch us yet.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return pid


def _run(
    function: Callable[[], int], change_account: bool, mask: set[signal.Signals | int]
) -> NoReturn:
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        drop_privileges(change_account=change_account)
        kernel.die_with_parent(signal.SIGKILL)
        status = function()
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status if _flushed() else 1)


def _flushed() -> bool:
    """Write out what was printed: os._exit does not, and only a terminal gets it line by line."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return False
    return True
