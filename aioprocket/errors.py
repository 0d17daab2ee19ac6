"""Every exception of the package, under one root.

Each is also the builtin that a caller would look for (``PermissionError``, ``OSError``,
``ValueError``, ``TimeoutError``). A message says what was tried, on what, and what the system
answered; ``hint`` says what its reader can do about it, and is shown below a traceback as a note.
"""

import errno as _errno
import os
from typing import Any

import anyio

__all__ = (
    "ActiveModeError",
    "AioprocketError",
    "BusyError",
    "CaptureError",
    "ChannelError",
    "ClosedError",
    "FilterError",
    "HelperDiedError",
    "HelperError",
    "HelperNotFoundError",
    "HelperProtocolError",
    "HelperTimeoutError",
    "LinkDownError",
    "MissingLibraryError",
    "NetworkUnavailableError",
    "NotPermittedError",
    "OpenError",
    "ReportedError",
    "ResolutionError",
    "SpecError",
    "WireError",
    "errno_text",
)


def errno_text(number: int) -> str:
    """The system's words for an errno with its symbol: ``No such device (ENODEV)``."""
    return f"{os.strerror(number)} ({_errno.errorcode.get(number, number)})"


class AioprocketError(Exception):
    """The root. ``hint`` is empty or a sentence on what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(hint)

    def __str__(self) -> str:
        # OSError would print "[Errno 19] No such device" and drop the message.
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled and copied by a call with ``args``, which lack the keywords, and
        # an OSError's errno is not in its __dict__.
        state = dict(vars(self))
        if isinstance(self, OSError):
            state |= {"errno": self.errno, "strerror": self.strerror}
        return _restore, (type(self), self.args, state)


def _restore(
    kind: type[AioprocketError], args: tuple[Any, ...], state: dict[str, Any]
) -> AioprocketError:
    error = kind.__new__(kind, *args)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    return error


class _SystemError(AioprocketError, OSError):
    """An error with an errno."""

    default_errno = _errno.EIO

    def __init__(self, message: str, *, errno: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = self.default_errno if errno is None else errno
        self.strerror = os.strerror(self.errno)


class ResolutionError(_SystemError):
    """A host's name has no address that could be used. ``host`` is what was asked for."""

    default_errno = _errno.ENOENT

    def __init__(self, message: str, *, host: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.host = host


class SpecError(AioprocketError, ValueError):
    """What was asked for contradicts itself or cannot exist; nothing was opened."""


class MissingLibraryError(AioprocketError, ImportError):
    """What was asked for takes a library that is not installed; ``name`` is the library's."""

    def __init__(self, message: str, *, name: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


class HelperError(AioprocketError):
    """No descriptor came, and the fault is in the way to the helper or in the helper itself."""


class HelperNotFoundError(HelperError, FileNotFoundError):
    """There is nothing to talk to: no such program, not executable, or no broker's socket."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = _errno.ENOENT
        self.strerror = os.strerror(self.errno)


class HelperTimeoutError(HelperError, TimeoutError):
    """The helper lives and did not answer in time; its session was ended."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = _errno.ETIMEDOUT
        self.strerror = os.strerror(self.errno)


class HelperDiedError(HelperError, ConnectionResetError):
    """The other end of the session is gone."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = _errno.ECONNRESET
        self.strerror = os.strerror(self.errno)


class HelperProtocolError(HelperError):
    """The reply was unreadable, of another version, or came with the wrong descriptors."""


class NotPermittedError(_SystemError, PermissionError):
    """Policy, or the kernel for want of a capability, said no.

    ``step`` names what was refused: ``"policy"``, ``"identity"`` (the helper does not know who is
    calling), ``"reach"`` (the way to a helper is closed: sudo's rules, a socket's mode), or a step
    of `OpenError`.
    """

    default_errno = _errno.EPERM

    def __init__(
        self, message: str, *, errno: int | None = None, step: str = "policy", hint: str = ""
    ) -> None:
        super().__init__(message, errno=errno, hint=hint)
        self.step = step


class NetworkUnavailableError(_SystemError):
    """This process may not have a network of its own (`testing.network`); ``errno`` says why."""

    default_errno = _errno.EPERM


class OpenError(_SystemError):
    """A system call failed on the way to a descriptor.

    ``step`` is one of ``"namespace" "socket" "interface" "option" "bind" "listen" "filter"
    "device" "tun" "address" "verify"``.
    """

    def __init__(self, message: str, *, errno: int, step: str, hint: str = "") -> None:
        super().__init__(message, errno=errno, hint=hint)
        self.step = step


class FilterError(AioprocketError, ValueError):
    """A filter that cannot be used. ``text`` is what was given, ``position`` where it is wrong.

    For a program, ``position`` is the index of the instruction; for an expression, of the
    character; None where no single place is at fault.
    """

    def __init__(
        self, message: str, *, text: str = "", position: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.text = text
        self.position = position


class WireError(AioprocketError, ValueError):
    """Bytes that do not mean anything. ``offset`` is the first byte at fault."""

    def __init__(self, message: str, *, offset: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class ChannelError(_SystemError):
    """The kernel refused what was asked of an open channel; ``errno`` is its reason.

    What else a send or receive raises is no `ChannelError`: `LinkDownError`, `ClosedError`,
    `BusyError`. ``except OSError`` has all of them, ``except AioprocketError`` any of the package.

    Where the errno has a builtin of its own, such as ``BrokenPipeError``, it is that as well.
    """


class CaptureError(_SystemError):
    """The system refused what was asked of a capture file; ``errno`` is its reason.

    Where the errno has a builtin of its own, such as ``FileExistsError``, it is that as well.
    """


class ReportedError(ChannelError):
    """What the network answered to a packet that was sent earlier.

    Attributes:
        timestamp_ns: When the answer came, as of received packets; 0: not known, on an adopted
            socket without SO_TIMESTAMPNS.
        reporter: Who said it: ``"ICMP"``, ``"ICMPv6"``, ``"the local stack"``.
        addr: Where the packet was sent to, as the socket module writes it.
    """

    def __init__(
        self,
        message: str,
        *,
        errno: int,
        timestamp_ns: int = 0,
        reporter: str,
        addr: Any,
        hint: str = "",
    ) -> None:
        super().__init__(message, errno=errno, hint=hint)
        self.timestamp_ns = timestamp_ns
        self.reporter = reporter
        self.addr = addr


class ClosedError(_SystemError, anyio.ClosedResourceError):
    """You closed it, before or while this call waited (EBADF)."""

    default_errno = _errno.EBADF


class BusyError(_SystemError, anyio.BusyResourceError):
    """Another task is already waiting for the same thing (EALREADY)."""

    default_errno = _errno.EALREADY


class ActiveModeError(_SystemError):
    """A receive while packets go to the protocol: set ``active`` to False first (EINVAL)."""

    default_errno = _errno.EINVAL


class LinkDownError(_SystemError):
    """The interface went down or was removed (ENETDOWN, ENXIO, ENODEV)."""

    default_errno = _errno.ENETDOWN

    def __init__(
        self, message: str, *, interface: str, errno: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, errno=errno, hint=hint)
        self.interface = interface
