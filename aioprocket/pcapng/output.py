"""The file that a capture is written to, one after the other if need be. No thread, no loop."""

import os
import stat
import sys
from contextlib import suppress
from typing import Final

from .compression import Compressor, compressor
from .failure import capture_error
from .layout import Layout, Whole

__all__ = ("Output",)

_STDOUT: Final = 1


class Output:
    """One open file. What fails is a `CaptureError`, and leaves whole blocks behind.

    Attributes:
        regular: Whether it is a file on a disk.
        left: What a write that failed has left in the file, where that can be told: none of what
            was compressed.
    """

    def __init__(self, layout: Layout, overwrite: bool) -> None:
        self._layout = layout
        self._overwrite = overwrite
        self._fd = -1
        self._path = ""
        self._size = 0
        self._compressor: Compressor | None = None
        self.regular = False
        self.left = Whole(0, 0)

    def open(self, path: str) -> None:
        """Begin a file; ``-`` is the standard output.

        Raises:
            CaptureError: It exists, or cannot be made; ENXIO: a pipe that nobody reads yet.
            SpecError: Its name asks for a compression that is not here.
        """
        squeeze = compressor(path)
        try:
            fd = _open(path, self._overwrite)
            try:
                self.regular = stat.S_ISREG(os.fstat(fd).st_mode)
            except BaseException:
                os.close(fd)
                raise
        except OSError as error:
            raise capture_error(error, "write to", path) from error
        self._fd, self._path, self._size, self._compressor = fd, path, 0, squeeze

    def write(self, data: memoryview) -> None:
        """Write whole blocks, all of them.

        Raises:
            CaptureError: Not all could be written.
        """
        if self._compressor is None:
            self._write(data, blocks=True)
        else:
            self._write(self._compressor.compress(data), blocks=False)

    def settle(self) -> None:
        """Nothing more comes for now: what was written can be read."""
        if self._compressor is not None:
            self._write(self._compressor.settle(), blocks=False)

    def close(self) -> None:
        """End the file.

        Raises:
            CaptureError: What was left could not be written.
        """
        try:
            if self._compressor is not None and self._fd >= 0:
                self._write(self._compressor.flush(), blocks=False)
        finally:
            self._end()

    def _end(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(fd)
            except OSError as error:  # of a file far away, that is where it says so
                raise capture_error(error, "close", self._path) from error

    def _write(self, data: memoryview | bytes, *, blocks: bool) -> None:
        done = 0
        view = memoryview(data)
        try:
            while done < len(view):
                done += os.write(self._fd, view[done:])
        except OSError as error:
            if blocks:
                self.left = self._layout.whole(view, done, first=self._size == 0)
                self._cut()
            raise capture_error(error, "write to", self._path) from error
        self._size += done

    def _cut(self) -> None:
        """Take away what is there of a block that is not all there."""
        self._size += self.left.size
        if self.regular:
            with suppress(OSError):  # who reads it has to stop there
                os.ftruncate(self._fd, self._size)


def _open(path: str, overwrite: bool) -> int:
    if path == "-":
        if sys.stdout is not None:
            sys.stdout.flush()
        return os.dup(_STDOUT)
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    if not _is_pipe(path):
        # What was captured is often nobody else's to read: as with dumpcap, the umask aside.
        return os.open(path, flags | (os.O_TRUNC if overwrite else os.O_EXCL), 0o600)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    return fd


def _is_pipe(path: str) -> bool:
    """Whether it is there already to be written to: a pipe with a name, a device."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
