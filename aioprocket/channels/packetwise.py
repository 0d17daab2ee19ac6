"""A socket that is read packet by packet in one way only, whatever is asked for."""

import socket
from typing import ClassVar, Final

from ..errors import SpecError
from .port import SocketPort

__all__ = ("PacketwisePort",)

# Of those that recvmsg(2) takes, the ones that ask for nothing else than any read.
_IDLE_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_TRUNC | socket.MSG_CMSG_CLOEXEC


class PacketwisePort(SocketPort):
    """Every packet comes through ``receive``, and is counted there."""

    packetwise = True
    _noun: ClassVar[str]  # what flags mean nothing to,
    _no_flags: ClassVar[str]  # and what to do

    def flags(self, flags: int) -> int:
        """No others than ask for what is done anyway: not MSG_PEEK."""
        if flags & ~_IDLE_FLAGS:
            raise SpecError(f"flags {flags:#x} mean nothing to {self._noun}", hint=self._no_flags)
        return flags
