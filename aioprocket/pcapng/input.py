"""The file that a capture is read from, decompressed. It can be driven with and without waiting."""

import os
import stat
import threading
from typing import BinaryIO, Final

from .compression import MAGIC_SIZE, Decompressor, decompressor
from .failure import capture_error

__all__ = ("CaptureSource", "Input")

CaptureSource = str | os.PathLike[str] | BinaryIO

_STDIN: Final = 0
_STEP: Final = 1 << 20  # bytes that are read at once


class Input:
    """One open file.

    Whoever is cancelled leaves a thread behind that still reads (`fetch`). What that finds is kept
    for the next, who waits for it; and it closes the file, if that was to be closed meanwhile.

    Attributes:
        name: For messages.
        ended: Whether the file has no more bytes.
        cut: Whether it ended within something compressed.
    """

    def __init__(self, source: CaptureSource) -> None:
        if not isinstance(source, str | os.PathLike) and not callable(
            getattr(source, "read", None)
        ):
            raise TypeError(f"a capture file is a path or what has read(), not {source!r}")
        self._source = source
        self._fd = -1
        self._stream: BinaryIO | None = None
        self._head = b""
        self._decompressor: Decompressor | None = None
        self._reading = threading.Lock()
        self._fetched: bytes | Exception | None = None
        self._closed = False
        self.ended = False
        self.cut = False
        self.name = os.fspath(source) if isinstance(source, str | os.PathLike) else "a stream"

    def open(self) -> None:
        """Open it; ``-`` is the standard input.

        Raises:
            CaptureError: That cannot be.
        """
        if not isinstance(self._source, str | os.PathLike):
            self._stream = self._source
            return
        try:
            if self.name == "-":
                self._fd = os.dup(_STDIN)
            else:
                # A pipe with a name is open at once, whether or not somebody writes to it.
                self._fd = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                os.set_blocking(self._fd, True)
            if stat.S_ISDIR(os.fstat(self._fd).st_mode):
                raise IsADirectoryError(21, "Is a directory")
        except OSError as error:
            self.close()
            raise capture_error(error, "read", self.name) from error

    @property
    def busy(self) -> bool:
        """Whether a thread reads, which may be one that a cancel left behind."""
        return self._reading.locked()

    @property
    def pipe(self) -> int | None:
        """The descriptor to be waited for before `read_now`; None: a file is always readable."""
        if self._fd < 0:
            return None
        mode = os.fstat(self._fd).st_mode
        waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(self._fd)
        return self._fd if waits else None

    def read(self) -> bytes:
        """The next piece of the file; empty at its end.

        Raises:
            CaptureError: It cannot be read.
            WireError: What is compressed is damaged.
        """
        self.fetch()
        return self.take()

    def fetch(self) -> None:
        """Read what `take` gives, unless that is there already."""
        with self._reading:
            if self._fetched is None and not self._closed:
                try:
                    self._fetched = self._next()
                except Exception as error:  # whoever takes has to hear of it
                    self._fetched = error
        if self._closed:
            self.close()

    def take(self) -> bytes:
        """What was fetched. It raises what `read` raises."""
        fetched, self._fetched = self._fetched, None
        assert fetched is not None
        if isinstance(fetched, Exception):
            raise fetched
        return fetched

    def _next(self) -> bytes:
        while True:
            piece = self.ready()
            if piece or self.ended:
                return piece
            self.read_now()

    def ready(self) -> bytes:
        """What is there without reading; see `read`."""
        return b"" if self._decompressor is None else self._decompressor.read()

    def read_now(self) -> None:
        """Read what the file has next.

        Raises:
            CaptureError: It cannot be read.
        """
        try:
            if self._stream is not None:
                data = self._stream.read(_STEP)
            else:
                data = os.read(self._fd, _STEP)
        except OSError as error:
            raise capture_error(error, "read", self.name) from error
        self.ended = not data
        if self._decompressor is None:
            self._head += data
            if len(self._head) < MAGIC_SIZE and data:
                return
            self._decompressor = decompressor(self._head[:MAGIC_SIZE])
            data, self._head = self._head, b""
        if data:
            self._decompressor.feed(data)
        if self.ended:
            self.cut = not self._decompressor.whole

    def close(self) -> None:
        """Close what `open` has opened; if a thread reads it, as soon as that has read."""
        self._closed = True
        if not self._reading.acquire(blocking=False):
            return
        try:
            fd, self._fd = self._fd, -1
            self._stream = None
            if fd >= 0:
                os.close(fd)
        finally:
            self._reading.release()
