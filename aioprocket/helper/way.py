"""The ways to a helper that ``helper=`` and ``AIOPROCKET_HELPER`` can name."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from .._system.descriptor import Origin
from ..bounds import seconds
from ..errors import AioprocketError, HelperNotFoundError, SpecError
from .broker import connect
from .diagnose import has_own_capabilities
from .install import how_to_install, how_to_install_for_sudo
from .launch import launch
from .locate import BROKER_SOCKET, DEFAULT_VARIABLE, INSTALLED, helper_path, installed_helper
from .session import Session

__all__ = (
    "Command",
    "Way",
    "check_timeout",
    "check_way",
    "default_way",
    "named_in_environment",
    "named_way",
    "sudo_way",
)

Command: TypeAlias = str | os.PathLike[str] | Sequence[str]

_SUDO: Final = ("sudo", "-n", "--")
_UNIX: Final = "unix:"
_MAX_SOCKET_PATH: Final = 107  # sun_path less its NUL, unix(7)
_FROM_ENVIRONMENT: Final = f" (from {DEFAULT_VARIABLE})"


@dataclass(frozen=True, slots=True)
class Way:
    """A program to start, or a broker's socket to connect to.

    ``named``: the caller or the environment asked for it. ``source``: who did, where it was not the
    caller, in brackets.
    """

    argv: tuple[str, ...] = ()
    socket_path: str = ""
    named: bool = False
    source: str = ""

    @property
    def origin(self) -> Origin:
        """The word for it in `Opened.origin`."""
        if self.socket_path:
            return "broker"
        return "sudo" if os.path.basename(self.argv[0]) == "sudo" else "helper"

    @property
    def program(self) -> str:
        """The helper itself, also behind sudo; empty for a broker."""
        return self.argv[-1] if self.argv else ""

    async def reach(self, timeout: float) -> Session:
        """Begin a session; the caller closes it.

        Raises:
            HelperError: There is nothing to talk to.
            NotPermittedError: This process may not talk to it.
        """
        if self.socket_path:
            return Session(*await connect(self.socket_path, timeout, self.source))
        return Session(*launch(self.argv, self.source))


def check_way(command: Command) -> None:
    """Whether a value of ``helper=`` names a way at all; nothing is looked up.

    Raises:
        SpecError: It is empty, no command, no path that can exist, or its quotes are not closed.
    """
    _parsed(command)


def check_timeout(timeout: float) -> float:
    """The seconds of a ``timeout=``.

    Raises:
        SpecError: It is no number, not finite, or not above zero.
    """
    return seconds("timeout", timeout)


def named_way(command: Command) -> Way:
    """What a value of ``helper=`` names: ``"sudo"``, ``"unix:PATH"``, or a command.

    Raises:
        HelperNotFoundError: ``"sudo"``, and there is no installed helper for it.
        SpecError: As `check_way`.
    """
    return _parsed(command) or sudo_way(None)


def named_in_environment() -> Way | None:
    """What AIOPROCKET_HELPER names, if it does.

    Raises:
        What `named_way` raises.
    """
    command = os.environ.get(DEFAULT_VARIABLE)
    if not command:
        return None
    try:
        return replace(named_way(command), source=_FROM_ENVIRONMENT)
    except AioprocketError as error:
        error.args = (f"{error}{_FROM_ENVIRONMENT}",)
        raise


def sudo_way(command: Command | None) -> Way:
    """The installed helper, or a command, by ``sudo -n``: it must not ask for a password."""
    if command is not None:
        return Way(_SUDO + _arguments(command), named=True)
    installed = installed_helper()
    if installed is None:
        raise HelperNotFoundError(
            f"there is no installed helper for sudo to run: {' or '.join(INSTALLED)}",
            hint=how_to_install_for_sudo(),
        )
    return Way((*_SUDO, installed), named=True)


def default_way() -> Way:
    """What AIOPROCKET_HELPER names, else the installed helper, else the broker's socket.

    Where none of them is there, the bundled helper, if it will have this process's capabilities.

    Raises:
        HelperNotFoundError: There is none of them.
    """
    named = named_in_environment()
    if named is not None:
        return named
    installed = installed_helper()
    if installed is not None:
        return Way((installed,))
    if os.path.exists(BROKER_SOCKET):
        return Way(socket_path=BROKER_SOCKET)
    if has_own_capabilities():
        return Way((str(helper_path()),))
    raise HelperNotFoundError(
        f"there is no helper: not {', not '.join((*INSTALLED, BROKER_SOCKET))}",
        hint=how_to_install(),
    )


def _parsed(command: Command) -> Way | None:
    """None: sudo, whose helper is still to be looked for."""
    if command == "sudo":
        return None
    if not (isinstance(command, str) and command.startswith(_UNIX)):
        return Way(_arguments(command), named=True)
    path = _checked_path(command.removeprefix(_UNIX))
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise SpecError(f"the socket's path {path!r} is longer than {_MAX_SOCKET_PATH} bytes")
    return Way(socket_path=path, named=True)


def _arguments(command: Command) -> tuple[str, ...]:
    words: Sequence[object]
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise SpecError(f"helper command {command!r}: {error}") from None
    elif isinstance(command, os.PathLike):
        words = (command,)
    elif isinstance(command, Sequence) and not isinstance(command, bytes | bytearray | memoryview):
        words = command
    else:
        raise SpecError(
            f"helper {command!r} is no helper",
            hint="a Helper, 'sudo', 'unix:PATH', a command line, its words, or a path",
        )
    if not words:
        raise SpecError("the helper's command is empty")
    return (_checked_path(words[0]), *map(_checked_word, words[1:]))


def _checked_path(path: object) -> str:
    text = _checked_word(path)
    if not text:
        raise SpecError("the helper's path is empty")
    return text


def _checked_word(word: object) -> str:
    text = os.fspath(word) if isinstance(word, str | os.PathLike) else word
    if not isinstance(text, str) or "\0" in text:
        raise SpecError(f"{word!r} cannot be a word of the helper's command")
    return text
