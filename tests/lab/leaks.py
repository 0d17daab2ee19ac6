"""What a test left behind: open descriptors and child processes."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ("children", "descriptors", "no_leaks")


def descriptors() -> dict[int, str]:
    """The open descriptors of this process, each with what it refers to."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one by which the folder was read
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def children() -> set[int]:
    """The child processes of this process, also those that have ended unread."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for each in lists for pid in each.read_text().split()}


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
