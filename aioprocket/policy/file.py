"""The policy's file: whether root alone can have written it, and writing it as a whole.

The helper asks the same questions (``helper/policy_file.c``) and has the last word. A file that
fails them is never mended here: whoever wrote it would have written a policy.
"""

import fcntl
import os
import shlex
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import NotPermittedError

__all__ = (
    "POLICY_PATH",
    "Distrust",
    "distrust",
    "read_policy",
    "write_policy",
)

POLICY_PATH: Final = Path("/etc/aioprocket/policy")
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_MAX_SIZE: Final = 64 << 10
# Root's alone, as /etc/.pwd.lock is: whoever can open a file can lock it, and keep root waiting.
_LOCK: Final = ".lock"


class Distrust(NamedTuple):
    """Why the helper does not believe a file, and the commands after which it would.

    Read the file before you run them: they make somebody's text a policy.
    """

    path: Path
    words: str
    commands: tuple[str, ...] = ()


def distrust(path: Path = POLICY_PATH) -> list[Distrust]:
    """Everything that speaks against a policy's file; empty where it is root's alone, or absent."""
    found: list[Distrust] = []
    for folder in reversed(path.parents):
        with suppress(FileNotFoundError):
            found += _about(folder, folder.lstat(), stat.S_ISDIR, "folder")
    try:
        status = path.lstat()
    except FileNotFoundError:
        return found
    except OSError as error:
        return [*found, Distrust(path, f"it cannot be looked at: {error.strerror}")]
    found += _about(path, status, stat.S_ISREG, "regular file")
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        found.append(Distrust(path, "it has another name (hard link)"))
    if status.st_size > _MAX_SIZE:
        found.append(Distrust(path, f"it is larger than {_MAX_SIZE} bytes"))
    return found


def _about(
    path: Path, status: os.stat_result, is_kind: Callable[[int], bool], kind: str
) -> Iterator[Distrust]:
    place = shlex.quote(str(path))
    if not is_kind(status.st_mode):
        link = ", but a symbolic link" if stat.S_ISLNK(status.st_mode) else ""
        yield Distrust(path, f"it is no {kind}{link}")
        return
    if status.st_uid != 0:
        yield Distrust(path, f"it belongs to uid {status.st_uid}", (f"sudo chown root {place}",))
    if status.st_mode & _OTHERS:
        mode = f"its mode is {stat.S_IMODE(status.st_mode):04o}: others than root can write it"
        yield Distrust(path, mode, (f"sudo chmod go-w {place}",))


def read_policy(path: Path = POLICY_PATH) -> bytes | None:
    """The bytes of the file, trusted or not; None: there is none.

    Raises:
        OSError: It cannot be read. ``EACCES``: it may be root's alone to read.
    """
    try:
        # A FIFO in its place would have us wait.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        return file.read(_MAX_SIZE + 1)


def write_policy(change: Callable[[str], str], path: Path = POLICY_PATH) -> None:
    """Replace the file by a changed one, as a whole, and durably; nobody else writes meanwhile.

    The new file is root's and keeps mode and group of the old one; without an old one everybody may
    read it, as a helper with file capabilities has to. The folder is made where it is missing.

    Args:
        change: Gets the text that is there, empty where there is none, and gives the new one.
        path: Of the file.

    Raises:
        NotPermittedError: The file, or a folder on its way, is not root's alone.
        UnicodeDecodeError: It is no text.
        OSError: What the system refused.
    """
    with suppress(FileExistsError):
        _refuse(distrust(path))
        path.parent.mkdir(mode=0o755)
    with _sole_writer(path.parent) as folder:
        # Once more, now that nobody else changes it by this way.
        _refuse(distrust(path))
        old = read_policy(path)
        new = change("" if old is None else old.decode("ascii"))
        status = None if old is None else path.lstat()
        _replace(folder, path, new.encode("ascii"), status)


def _refuse(reasons: list[Distrust]) -> None:
    if reasons:
        raise NotPermittedError(
            "the policy is left as it is: "
            + "; ".join(f"{reason.path}: {reason.words}" for reason in reasons),
            step="policy",
            hint="read it before you make it root's: aioprocket policy check",
        )


@contextmanager
def _sole_writer(folder: Path) -> Iterator[int]:
    """While entered, nobody else who asks so changes the policy; gives the folder's descriptor."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(_LOCK, flags, 0o600, dir_fd=fd), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield fd
    finally:
        os.close(fd)


def _replace(folder: int, path: Path, content: bytes, old: os.stat_result | None) -> None:
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".policy-")
    try:
        with open(fd, "wb") as file:
            file.write(content)
            if old is not None:
                os.fchown(file.fileno(), -1, old.st_gid)
            os.fchmod(file.fileno(), 0o644 if old is None else stat.S_IMODE(old.st_mode))
            file.flush()
            os.fsync(file.fileno())
        os.rename(Path(temporary).name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary)
        raise
    os.fsync(folder)
