"""Sockets that probes leave by and answers come by: waiting, sending with a TTL, reading."""

import errno
import ipaddress
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import anyio

from .._system import interfaces
from .._system.error_queue import QueuedError, read_queued_error
from .._system.numbers import SocketOption
from ..errors import ChannelError, ClosedError, errno_text
from ..readiness import Readiness
from ..spec import IpAddress

__all__ = ("Datagram", "SocketSet", "read_datagrams", "read_errors", "send_with_ttl", "sockaddr")

_INT: Final = struct.Struct("@i")
_TIMESPEC: Final = struct.Struct("@2q" if struct.calcsize("@l") == 8 else "@2l")
_TTL: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
}
_IP_MTU_DISCOVER: Final = 10  # linux/in.h
_IPV6_MTU_DISCOVER: Final = 23  # linux/in6.h
_PROBE: Final = 3  # IP_PMTUDISC_PROBE, and the same of IPv6
_ROOM: Final = 65_535
_AT_ONCE: Final = 256  # read in a row, before other tasks get their turn
_ANCILLARY: Final = 256
# What the network said to an earlier packet, told at the next send: ip(7), Error handling.
_ABOUT_ANOTHER: Final = frozenset({
    errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE, errno.EHOSTDOWN,
    errno.ENONET, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPROTO, errno.EACCES,
})  # fmt: skip
_RETRIES: Final = 16  # answers to other probes that may arrive between two attempts


class Datagram(NamedTuple):
    """What one read gave."""

    data: bytes
    sender: IpAddress
    received_ns: int


class SocketSet:
    """Some sockets, waited for together. It owns them."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._readiness = Readiness(self._epoll.fileno())

    def add(self, sock: socket.socket, events: int = select.EPOLLIN) -> None:
        """Wait for this one, too.

        Raises:
            ClosedError: All were closed, and so is this one now.
        """
        if self._epoll.closed:
            sock.close()
        self._check_open()
        self._sockets[sock.fileno()] = sock
        self._epoll.register(sock.fileno(), events)

    def keep(self, sock: socket.socket) -> None:
        """Close this one with the others; it is not waited for."""
        self._sockets[sock.fileno()] = sock

    def discard(self, sock: socket.socket) -> None:
        """Close one of them."""
        del self._sockets[sock.fileno()]
        self._epoll.unregister(sock.fileno())
        sock.close()

    def ready(self) -> list[socket.socket]:
        """Those in which something has happened.

        Raises:
            ClosedError: They are closed.
        """
        self._check_open()
        return [self._sockets[fd] for fd, _ in self._epoll.poll(0)]

    async def wait(self, seconds: float | None) -> None:
        """Until something happens in one of them, or so many seconds have passed.

        Raises:
            ClosedError: They are closed, or were meanwhile.
        """
        self._check_open()
        with anyio.move_on_after(seconds):
            await self._readiness.wait_readable()
        self._check_open()

    def _check_open(self) -> None:
        if self._epoll.closed:
            raise ClosedError("the sockets of the probes are closed")

    def forbid_fragments(self) -> None:
        """Packets of all are sent whole or not at all, and are not measured by the kernel's MTU."""
        for sock in self._sockets.values():
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 1)

    def close(self) -> None:
        """Close them all. Idempotent."""
        self._readiness.close()
        self._epoll.close()
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()


def sockaddr(sock: socket.socket, address: IpAddress, port: int = 0) -> tuple[Any, ...]:
    """An address as the socket module takes it, its scope found in the socket's own namespace.

    Raises:
        OSError: ``ENODEV``: there is no interface of this name.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return str(address), port
    scope = address.scope_id
    if scope is None:
        index = 0
    elif scope.isdigit():
        index = int(scope)
    else:
        index = interfaces.interface_index(sock.fileno(), scope)
    return str(ipaddress.IPv6Address(address.packed)), port, 0, index


def send_with_ttl(sock: socket.socket, data: bytes, ttl: int, to: tuple[Any, ...] | None) -> int:
    """Send one packet that ``ttl`` routers forward at most.

    Returns:
        The moment of it, by the realtime clock in nanoseconds.

    Raises:
        ChannelError: This machine does not send it; what the network says is no such error.
    """
    ancillary = [(*_TTL[socket.AddressFamily(sock.family)], _INT.pack(ttl))]
    arguments: list[Any] = [[data], ancillary, 0] + ([] if to is None else [to])
    for _ in range(_RETRIES):
        moment = time.time_ns()
        try:
            sock.sendmsg(*arguments)
        except OSError as error:
            # The kernel tells of an earlier packet once, and does not send this one.
            last = error
            if error.errno not in _ABOUT_ANOTHER:
                break
        else:
            return moment
    raise _send_error(last, to) from last


def _send_error(error: OSError, to: tuple[Any, ...] | None) -> ChannelError:
    number = error.errno or errno.EIO
    where = "" if to is None else f" to {to[0]}"
    return ChannelError(f"send a probe{where}: {errno_text(number)}", errno=number)


def read_datagrams(sock: socket.socket) -> Iterator[Datagram]:
    """What has come; not all of it under a flood, which has no end."""
    for _ in range(_AT_ONCE):
        datagram = _read_datagram(sock)
        if datagram is None:
            return
        yield datagram


def _read_datagram(sock: socket.socket) -> Datagram | None:
    """The next packet that has come; None: there is none."""
    while True:
        try:
            data, ancdata, _, sender = sock.recvmsg(_ROOM, _ANCILLARY, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _ABOUT_ANOTHER:
                continue
            raise ChannelError(
                f"receive an answer: {errno_text(error.errno or errno.EIO)}",
                errno=error.errno or errno.EIO,
            ) from error
        received_ns = 0
        for level, kind, value in ancdata:
            if (level, kind) == (socket.SOL_SOCKET, SocketOption.TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack_from(value)
                received_ns = seconds * 10**9 + nanoseconds
        return Datagram(data, ipaddress.ip_address(sender[0].partition("%")[0]), received_ns)


def read_errors(sock: socket.socket) -> list[QueuedError]:
    """What is in the error queue; not all of it under a flood."""
    errors = []
    for _ in range(_AT_ONCE):
        queued = read_queued_error(sock)
        if queued is None:
            break
        errors.append(queued)
    return errors
