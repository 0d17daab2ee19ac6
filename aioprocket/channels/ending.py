"""The end of a channel: its descriptor is given away or closed, where the loop need not wait."""

import os
import socket
from abc import abstractmethod
from contextlib import suppress

import anyio
import anyio.to_thread

from ..errors import ClosedError
from ..packet import Packet
from .modes import ReadMachine
from .port import Port

__all__ = ("Ending", "close_elsewhere")


class Ending:
    """What ends a channel."""

    _port: Port
    _machine: ReadMachine
    _closed: bool
    _lost: int

    def detach(self) -> int:
        """End the channel, but not the descriptor, which is the caller's from here on.

        Packets that were read and not delivered are in `undelivered`; all others wait in the
        descriptor, and are younger. A receive that waits gets `ClosedError`.

        A ring is taken off the descriptor, and what was in it is in `undelivered`; what comes
        while the kernel does it, some 15 ms, is not received. It waits for a block that is not
        full: up to 2 ms, with ``latency="throughput"`` 100 ms. It cannot be while a process that
        was forked from this one has the ring mapped: a RuntimeWarning says so, and the descriptor
        only sends.

        Raises:
            ClosedError: There is no descriptor any more.
        """
        if self._closed:
            raise ClosedError(f"detach {self._place()}: the channel is closed")
        self._end()
        try:
            self._machine.backlog.extend(self._port.take_waiting())
        except BaseException:
            self._port.close()
            raise
        return self._port.detach()

    @property
    def undelivered(self) -> list[Packet]:
        """Packets that were read and not delivered before `detach` or `to_socket`, in order.

        None of a channel that was closed. In a handler of `serve` the rest of its turn is not there
        yet. ``stats().rx_held`` counts them.
        """
        return list(self._machine.backlog) if self._closed else []

    def to_socket(self) -> socket.socket:
        """As `detach`, to a socket object: non-blocking, as asyncio wants it.

        Raises:
            SpecError: A device is no socket; nothing has changed.
            ClosedError: There is no descriptor any more.
        """
        self._socket("to_socket")
        sock = socket.socket(fileno=self.detach())
        sock.setblocking(False)
        return sock

    def close(self) -> None:
        """Close the descriptor; a receive that waits gets `ClosedError`. Idempotent.

        The kernel takes 10 to 40 ms to close a packet socket, a tun or a tap device, and the loop
        waits: `aclose` does not block it.
        """
        for channel in self._ends_with_this():
            if not channel._closed:
                channel._end()
                channel._lose()
                channel._port.close()

    async def aclose(self) -> None:
        """Close as `close` does, but without blocking the loop: a thread waits for the kernel.

        The channel is closed at once, and the descriptor when this returns. A cancellation does
        not stop it.
        """
        slow: list[int] = []
        for channel in self._ends_with_this():
            if not channel._closed:
                channel._end()
                channel._lose()
                if channel._port.closes_slowly:
                    slow.append(channel._port.surrender())
                else:
                    channel._port.close()
        if slow:
            await close_elsewhere(slow)

    def _ends_with_this(self) -> "tuple[Ending, ...]":
        return (self,)

    def _lose(self) -> None:
        self._lost += len(self._machine.backlog)
        self._machine.backlog.clear()

    @abstractmethod
    def _end(self) -> None: ...

    @abstractmethod
    def _socket(self, call: str) -> socket.socket: ...

    @abstractmethod
    def _place(self) -> str: ...


async def close_elsewhere(fds: list[int]) -> None:
    """Close descriptors in a thread, and return when that is done, cancelled or not.

    Args:
        fds: Owned by this function from here on.
    """
    # Its own limiter: threads that the program keeps busy must not delay the end of a channel.
    limiter = anyio.CapacityLimiter(1)
    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_close_all, fds, limiter=limiter)
    finally:
        # Only if no thread could be started, or asyncio's own cancel, which knows no shield, came
        # before it was.
        _close_all(fds)


def _close_all(fds: list[int]) -> None:
    # Each is taken out by one atomic step before it is closed: two threads may be here.
    with suppress(IndexError):
        while True:
            fd = fds.pop()
            with suppress(OSError):  # the number is free all the same: close(2)
                os.close(fd)
