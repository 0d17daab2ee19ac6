"""What a test left behind: open descriptors and child processes."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ("children", "descriptors", "no_leaks")


def descriptors() -> dict[int, str]:
    """The open descriptors of this process but 0 to 2, each with what it refers to."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one by which the folder was read
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    # pytest's capture changes these, in the middle of a test that ends badly.
    return {fd: target for fd, target in found.items() if fd > 2}


def children() -> set[int]:
    """The child processes of this process, also those that have ended unread."""
    found: set[int] = set()
    for each in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ends meanwhile
            found.update(int(pid) for pid in each.read_text().split())
    return found


@contextmanager
def no_leaks() -> Iterator[None]:
    """Fail with a list of what is open or running afterwards and was not before."""
    fds_before, children_before = descriptors(), children()
    yield
    if descriptors() != fds_before:
        gc.collect()  # an exception's traceback may hold a socket in a cycle
    opened = {fd: target for fd, target in descriptors().items() if fds_before.get(fd) != target}
    closed = {fd: target for fd, target in fds_before.items() if fd not in descriptors()}
    started = children() - children_before
    assert not opened, f"descriptors left open: {opened}"
    assert not closed, f"descriptors closed that belong to somebody else: {closed}"
    assert not started, f"child processes left behind: {started}"
