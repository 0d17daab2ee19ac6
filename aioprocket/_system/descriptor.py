"""Who owns a descriptor: one `Descriptor` at a time, which closes it or hands it on."""

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ..errors import ClosedError
from ..spec import Spec

__all__ = ("Descriptor", "Opened", "Origin", "borrowed")

Origin: TypeAlias = Literal["direct", "helper", "sudo", "broker", "adopted"]

_CLOSED: Final = -1


class Descriptor:
    """Owns one open file descriptor until `close` or `detach`.

    One that is dropped while it is open is closed with a `ResourceWarning`.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = _CLOSED
        if fd < 0:
            raise ValueError(f"{fd} is no file descriptor")
        self._fd = fd

    def fileno(self) -> int:
        """The number, still owned by this object; -1 once it is closed or detached."""
        return self._fd

    @property
    def closed(self) -> bool:
        """Whether it was closed or detached."""
        return self._fd == _CLOSED

    def close(self) -> None:
        """Close it. Idempotent.

        On Linux the number is free again even where close(2) reports an error, so an error is not
        raised: there is nothing left that a caller could try again.
        """
        fd, self._fd = self._fd, _CLOSED
        if fd != _CLOSED:
            with suppress(OSError):
                os.close(fd)

    def detach(self) -> int:
        """Give the number to the caller, who owns it from here on.

        Raises:
            ClosedError: It was closed or detached before.
        """
        fd, self._fd = self._fd, _CLOSED
        if fd == _CLOSED:
            raise ClosedError("the descriptor is closed or was detached")
        return fd

    def __repr__(self) -> str:
        return f"<Descriptor {'closed' if self.closed else self._fd}>"

    def __del__(self) -> None:
        if self._fd != _CLOSED:
            text = f"unclosed {self!r}"
            # Before the warning, which may be an exception and end this.
            self.close()
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)


@dataclass(frozen=True, slots=True)
class Opened:
    """A descriptor as `helper.obtain` delivers it: prepared, non-blocking, close-on-exec.

    ``name`` is the real name of a tun or tap device. ``ifindex`` is that device's, or the
    interface's that the spec names; 0 where there is none. ``helper_pid`` is the process that
    opened it, where that was another one.
    """

    descriptor: Descriptor
    spec: Spec
    name: str = ""
    ifindex: int = 0
    origin: Origin = "direct"
    helper_pid: int | None = None


@contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """A socket object around a descriptor that stays its owner's: not closed at the end.

    Raises:
        OSError: ``ENOTSOCK``: the descriptor is not a socket.
    """
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()
