"""Standard streams that are closed, or that take nothing any more: a full disk, a lost terminal."""

import errno
import os
import sys
from contextlib import suppress
from typing import Final

__all__ = ("forget_output", "stand_in_for_closed", "tell_of_output")

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
# What write(2) says of where the output goes, and of nothing that a command does itself.
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))


def stand_in_for_closed() -> None:
    """Let each standard stream that the caller has closed lead nowhere.

    The first socket would get its number, and what is printed would be sent to the network.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            # The numbers below are taken, so this is the lowest one that is free.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def tell_of_output(error: OSError) -> None:
    """Print that the output cannot be written, and forget what is left of it.

    Raises:
        OSError: The same; it is about something else.
    """
    if error.errno not in _FULL or error.filename is not None:
        raise error
    with suppress(OSError):  # it may lead to the same place
        sys.stderr.write(f"aioprocket: write to standard output: {error.strerror}\n")
    forget_output()


def forget_output() -> None:
    """Let what is still to be written to standard output lead nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
