"""Whether a place on disk is root's alone: nowhere else may a privileged program lie.

Whoever can write the file, or replace it or a folder on the way to it, chooses what is run with
privilege. Owner, mode and POSIX ACL of each folder count, and of each symbolic link's way, too.
"""

import os
import shlex
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ("Objection", "is_roots_alone", "objections", "why_unfit")

_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_MAX_LINKS: Final = 40  # path_resolution(7)
_ACCESS_ACL: Final = "system.posix_acl_access"
_DEFAULT_ACL: Final = "system.posix_acl_default"
# linux/posix_acl_xattr.h: a version, then tag, permissions and id of each entry.
_ACL_VERSION: Final = struct.Struct("<I")
_ACL_ENTRY: Final = struct.Struct("<HHI")
_ACL_NAMED: Final = {0x02: "uid", 0x08: "gid"}
_ACL_MASK: Final = 0x10
_ACL_WRITE: Final = 2


class Objection(NamedTuple):
    """What speaks against a place, and the command that changes it; empty where none does."""

    path: Path
    words: str
    command: str = ""


def is_roots_alone(path: str | Path) -> bool:
    """Whether only root can have put this file there, and only root can replace it."""
    return os.path.exists(path) and not any(objections(path))


def objections(path: str | Path, *, sticky_is_safe: bool = True) -> Iterator[Objection]:
    """What lets somebody else than root write a file, or replace it; as far as the way exists.

    Args:
        path: Of the file, which need not be there yet.
        sticky_is_safe: In a sticky folder, as /tmp, nobody can replace what is root's. But what is
            not there yet anybody can put there.
    """
    place = Path("/")
    ahead = list(reversed(Path(path).absolute().parts[1:]))
    links = 0
    yield from _about(place, place.lstat(), sticky_is_safe)
    while ahead:
        part = ahead.pop()
        place = place.parent if part == ".." else place / part
        try:
            status = place.lstat()
        except OSError:
            return
        if not stat.S_ISLNK(status.st_mode):
            yield from _about(place, status, sticky_is_safe)
            continue
        links += 1
        if links > _MAX_LINKS:
            yield Objection(place, "it leads to too many symbolic links")
            return
        yield from _about_owner(place, status)
        target = Path(os.readlink(place))
        ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        place = Path("/") if target.is_absolute() else place.parent


def why_unfit(folder: Path) -> Objection | None:
    """Why no privileged program works in a folder, whoever owns it; None: one would.

    Of a folder that is not there yet, the nearest one above it decides.
    """
    while not folder.exists():
        folder = folder.parent
    flags = os.statvfs(folder).f_flag
    mount = _mount_of(folder)
    place = shlex.quote(str(mount))
    if flags & os.ST_NOSUID:
        return Objection(mount, "it is mounted nosuid", f"sudo mount -o remount,suid {place}")
    if flags & os.ST_NOEXEC:
        return Objection(mount, "it is mounted noexec", f"sudo mount -o remount,exec {place}")
    if _entries(folder, _DEFAULT_ACL):
        # What is made in it could be executed by whom its group does not hold.
        words = "its default ACL is handed on to what is made in it"
        return Objection(folder, words, f"sudo setfacl -k {shlex.quote(str(folder))}")
    return None


def _mount_of(folder: Path) -> Path:
    folder = folder.resolve()
    while not folder.is_mount():
        folder = folder.parent
    return folder


def _about(place: Path, status: os.stat_result, sticky_is_safe: bool) -> Iterator[Objection]:
    yield from _about_owner(place, status)
    is_folder = stat.S_ISDIR(status.st_mode)
    if is_folder and sticky_is_safe and status.st_mode & stat.S_ISVTX:
        return
    named = ", ".join(_writers(place))
    if named:
        command = f"sudo setfacl -b {shlex.quote(str(place))}"
        yield Objection(place, f"its ACL lets {named} write it", command)
    elif status.st_mode & _OTHERS:
        mode = f"its mode {stat.S_IMODE(status.st_mode):04o} lets others than root write it"
        yield Objection(place, mode, f"sudo chmod go-w {shlex.quote(str(place))}")


def _about_owner(place: Path, status: os.stat_result) -> Iterator[Objection]:
    if status.st_uid != 0:
        command = f"sudo chown -h root {shlex.quote(str(place))}"
        yield Objection(place, f"it belongs to uid {status.st_uid}, not to root", command)


def _writers(place: Path) -> Iterator[str]:
    """Whom its ACL names and lets write."""
    entries = _entries(place, _ACCESS_ACL)
    mask = next((bits for tag, bits, _ in entries if tag == _ACL_MASK), _ACL_WRITE)
    for tag, bits, number in entries:
        if tag in _ACL_NAMED and bits & mask & _ACL_WRITE and (tag, number) != (0x02, 0):
            yield f"{_ACL_NAMED[tag]} {number}"


def _entries(place: Path, name: str) -> list[tuple[int, int, int]]:
    try:
        value = os.getxattr(place, name, follow_symlinks=False)
    except OSError:
        return []
    body = value[_ACL_VERSION.size :]
    return list(_ACL_ENTRY.iter_unpack(body[: len(body) // _ACL_ENTRY.size * _ACL_ENTRY.size]))
