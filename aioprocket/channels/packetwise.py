"""A socket that is read packet by packet in one way only, whatever is asked for."""

import errno
import os
import socket
from typing import ClassVar, Final

from ..errors import SpecError
from ..packet import Packet
from .port import Message, SocketPort

__all__ = ("PacketwisePort",)

# Of those that recvmsg(2) takes, the ones that ask for nothing else than any read.
_IDLE_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_TRUNC | socket.MSG_CMSG_CLOEXEC


class PacketwisePort(SocketPort):
    """Every packet comes through ``receive``, and is counted there."""

    counts_all = True
    _noun: ClassVar[str]  # what flags mean nothing to,
    _no_flags: ClassVar[str]  # and what to do

    def _next(self) -> Packet:
        packets = self.receive(1)
        if not packets:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return packets[0]

    def read(self, size: int) -> bytes:
        """The bytes of one packet."""
        return self._next().data[:size]

    def read_into(self, room: memoryview) -> tuple[int, int]:
        """By a copy."""
        packet = self._next()
        held = min(len(room), len(packet))
        room[:held] = memoryview(packet)[:held]
        return held, len(packet)

    def recvmsg(self, bufsize: int, ancbufsize: int, flags: int) -> Message:
        """With the ancillary data that a packet has no fields for.

        Raises:
            SpecError: A flag that asks for something else, as MSG_PEEK.
        """
        if flags & ~_IDLE_FLAGS:
            raise SpecError(f"flags {flags:#x} mean nothing to {self._noun}", hint=self._no_flags)
        packet = self._next()
        cut = socket.MSG_TRUNC if packet.truncated or len(packet) > bufsize else 0
        return packet.data[:bufsize], list(packet.ancdata), cut, packet.addr
