"""The ways to a helper that ``helper=`` and ``AIOPROCKET_HELPER`` can name."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from .._system.descriptor import Origin
from ..errors import HelperNotFoundError, SpecError
from .broker import connect
from .launch import launch
from .locate import BROKER_SOCKET, DEFAULT_VARIABLE, INSTALLED, how_to_install, installed_helper
from .session import Session

__all__ = ("Command", "Way", "default_way", "named_way", "sudo_way")

Command: TypeAlias = str | os.PathLike[str] | Sequence[str]

_SUDO: Final = ("sudo", "-n", "--")
_UNIX: Final = "unix:"


@dataclass(frozen=True, slots=True)
class Way:
    """A program to start, or a broker's socket to connect to."""

    argv: tuple[str, ...] = ()
    socket_path: str = ""

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
            return Session(*await connect(self.socket_path, timeout))
        return Session(*launch(self.argv))


def named_way(command: Command) -> Way:
    """What a value of ``helper=`` names: ``"sudo"``, ``"unix:PATH"``, or a command.

    Raises:
        HelperNotFoundError: ``"sudo"``, and there is no installed helper for it.
        SpecError: The command is empty, or its quotes are not closed.
    """
    if command == "sudo":
        return sudo_way(None)
    if isinstance(command, str) and command.startswith(_UNIX):
        return Way(socket_path=command.removeprefix(_UNIX))
    return Way(_arguments(command))


def sudo_way(command: Command | None) -> Way:
    """The installed helper, or a command, by ``sudo -n``: it must not ask for a password."""
    if command is not None:
        return Way(_SUDO + _arguments(command))
    installed = installed_helper()
    if installed is None:
        raise HelperNotFoundError(
            f"there is no installed helper for sudo to run: {' or '.join(INSTALLED)}",
            hint=how_to_install(),
        )
    return Way((*_SUDO, installed))


def default_way() -> Way:
    """What AIOPROCKET_HELPER names, else the installed helper, else the broker's socket.

    Raises:
        HelperNotFoundError: There is none of them.
    """
    named = os.environ.get(DEFAULT_VARIABLE)
    if named:
        return named_way(named)
    installed = installed_helper()
    if installed is not None:
        return Way((installed,))
    if os.path.exists(BROKER_SOCKET):
        return Way(socket_path=BROKER_SOCKET)
    raise HelperNotFoundError(
        f"there is no helper: not {', not '.join((*INSTALLED, BROKER_SOCKET))}",
        hint=how_to_install(),
    )


def _arguments(command: Command) -> tuple[str, ...]:
    if isinstance(command, str):
        try:
            arguments = tuple(shlex.split(command))
        except ValueError as error:
            raise SpecError(f"helper command {command!r}: {error}") from None
    elif isinstance(command, os.PathLike):
        arguments = (os.fspath(command),)
    else:
        arguments = tuple(os.fspath(argument) for argument in command)
    if not arguments:
        raise SpecError("the helper's command is empty")
    return arguments
