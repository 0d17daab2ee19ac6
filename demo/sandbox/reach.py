"""Make folders reachable for an account that may not enter the folders above them.

Interpreters often live below a home directory with mode 0700, where ``nobody`` cannot run them.
In a mount namespace of our own we can cover the closed folder with an empty one that is open, and
put back, at the same absolute path, only the trees that are needed. Nothing of it is seen outside.
"""

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from . import kernel

__all__ = ("interpreter_trees", "make_reachable")


def interpreter_trees() -> list[Path]:
    """The folders that this Python needs to run: its virtual environment and its installation."""
    return sorted({Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)})


def make_reachable(trees: Iterable[Path], *, writable: Iterable[Path] = ()) -> None:
    """Open the way to each tree for every account, in this process's mount namespace.

    ``trees`` come back read-only, ``writable`` as they were; where the way is open already nothing
    changes. The modes of the files themselves still hold. Everything else below a closed folder
    is hidden from this process and its children.
    """
    wanted = {tree.resolve(): True for tree in trees} | {tree.resolve(): False for tree in writable}
    # All are opened before the first is covered: the way through a closed folder is lost then.
    held = {tree: os.open(tree, os.O_PATH | os.O_DIRECTORY) for tree in sorted(wanted)}
    try:
        for tree, descriptor in held.items():
            _restore(tree, descriptor, read_only=wanted[tree])
    finally:
        for descriptor in held.values():
            os.close(descriptor)


def _restore(tree: Path, descriptor: int, *, read_only: bool) -> None:
    closed = next((folder for folder in reversed(tree.parents) if _is_closed(folder)), None)
    if closed is not None:
        kernel.mount("tmpfs", str(closed), "tmpfs", 0, "mode=0755")
    if not tree.exists():
        tree.mkdir(parents=True)
        _bind(f"/proc/self/fd/{descriptor}", tree, read_only=read_only)
    if _is_closed(tree):
        _open_up(tree, descriptor, read_only=read_only)


def _is_closed(folder: Path) -> bool:
    return folder.exists() and not folder.stat().st_mode & stat.S_IXOTH


def _open_up(tree: Path, descriptor: int, *, read_only: bool) -> None:
    """The tree itself is closed, as ``mktemp -d`` makes them: what is in it comes back singly."""
    source = Path(f"/proc/self/fd/{descriptor}")
    entries = list(os.scandir(source))
    kernel.mount("tmpfs", str(tree), "tmpfs", 0, "mode=0755")
    for entry in entries:
        target = tree / entry.name
        if entry.is_symlink():
            target.symlink_to(os.readlink(source / entry.name))
        elif entry.is_dir():
            target.mkdir()
            _bind(str(source / entry.name), target, read_only=read_only)
        else:
            target.touch()
            _bind(str(source / entry.name), target, read_only=read_only)


def _bind(source: str, target: Path, *, read_only: bool) -> None:
    kernel.mount(source, str(target), None, kernel.MS_BIND | kernel.MS_REC)
    if read_only:
        # A bind ignores MS_RDONLY the first time: mount(2).
        flags = kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY
        kernel.mount(None, str(target), None, flags)
