"""What an `OSError` means to who reads or writes a capture file."""

import errno
import os
from typing import Final

from ..errors import CaptureError, errno_text

__all__ = ("capture_error",)


class _BrokenPipeError(CaptureError, BrokenPipeError): ...


class _FileExistsError(CaptureError, FileExistsError): ...


class _FileNotFoundError(CaptureError, FileNotFoundError): ...


class _IsADirectoryError(CaptureError, IsADirectoryError): ...


class _PermissionError(CaptureError, PermissionError): ...


_KINDS: Final[dict[type[OSError], type[CaptureError]]] = {
    BrokenPipeError: _BrokenPipeError,
    FileExistsError: _FileExistsError,
    FileNotFoundError: _FileNotFoundError,
    IsADirectoryError: _IsADirectoryError,
    PermissionError: _PermissionError,
}
_HINTS: Final = {
    errno.EEXIST: "say overwrite=True, or give another name",
    errno.ENOSPC: "what was written before can be read; free some room, or rotate a ring of files",
    errno.EDQUOT: "what was written before can be read; free some room, or rotate a ring of files",
    errno.EFBIG: "ulimit -f says how large a file may become; rotate a ring of files",
    errno.EPIPE: "the program at the other end of the pipe has ended",
}


def capture_error(error: OSError, doing: str, path: str | os.PathLike[str]) -> CaptureError:
    """The error with what was tried, and with what file."""
    number = error.errno or errno.EIO
    name = {"-": "the standard stream"}.get(os.fspath(path), repr(os.fspath(path)))
    kind = _KINDS.get(type(error), CaptureError)
    return kind(f"{doing} {name}: {errno_text(number)}", errno=number, hint=_HINTS.get(number, ""))
