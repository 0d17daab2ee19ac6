"""SYN segments by the kernel's own connect(2): TCP without privilege.

Each probe is a socket of its own, and so has a port of its own: a router that shares load by flows
may send each another way.
"""

import errno
import select
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Final

from .._system import options
from .._system.error_queue import report_errors
from ..errors import ChannelError, errno_text
from ..spec import IpAddress
from .arrival import Arrival, error_of_queued, is_reached, labels_of
from .prober import Prober
from .sockets import read_errors, sockaddr

__all__ = ("ConnectProber",)

_RTT: Final = struct.Struct("@I")
_RTT_AT: Final = 68  # tcpi_rtt in struct tcp_info of linux/tcp.h, in microseconds
_TTL: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}
_ABORT: Final = struct.pack("@ii", 1, 0)  # struct linger: what is open is reset, not finished


class ConnectProber(Prober):
    """Connects to the destination; a connection that opens, or is refused, has reached it.

    Args:
        destination: Where to.
        port: Its port.
        opener: Gives a TCP socket that is not connected.
    """

    method = "tcp"
    type = "dgram"
    burst = 1  # the moment of a refusal is that at which it is seen

    def __init__(
        self, destination: IpAddress, port: int, opener: Callable[[], Awaitable[socket.socket]]
    ) -> None:
        super().__init__(destination)
        self._port = port
        self._opener = opener
        self._numbers: dict[socket.socket, tuple[int, int]] = {}
        self._early: list[Arrival] = []

    async def send(self, number: int, ttl: int) -> int:
        """As `Prober.send`."""
        sock = await self._opener()
        try:
            options.enable_timestamps(sock)
            report_errors(sock)
            sock.setsockopt(*_TTL[socket.AddressFamily(sock.family)], ttl)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            moment = time.time_ns()
            code = sock.connect_ex(sockaddr(sock, self._destination, self._port))
        except BaseException:
            sock.close()
            raise
        if code not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            sock.close()
            raise ChannelError(f"connect to {self._destination}: {errno_text(code)}", errno=code)
        if code == errno.EINPROGRESS:
            self._numbers[sock] = number, moment
            self._sockets.add(sock, select.EPOLLOUT)
            return moment
        # To this machine itself: the answer came within the call.
        sock.close()
        self._early.append(Arrival(number, self._destination, time.time_ns()))
        return moment

    def receive(self) -> list[Arrival]:
        """As `Prober.receive`."""
        found, self._early = self._early, []
        for sock in self._sockets.ready():
            number, moment = self._numbers.pop(sock)
            arrival = self._arrival(sock, number, moment)
            self._sockets.discard(sock)
            if arrival is not None:
                found.append(arrival)
        return found

    def _arrival(self, sock: socket.socket, number: int, moment: int) -> Arrival | None:
        queued = next((entry for entry in read_errors(sock) if entry.from_icmp), None)
        if queued is not None and queued.offender is not None:
            error = error_of_queued(queued, 4 if sock.family == socket.AF_INET else 6)
            reached = is_reached(error, queued.offender, self._destination)
            labels = (
                labels_of(queued.quoted[queued.extensions_at :]) if queued.extensions_at else ()
            )
            return Arrival(number, queued.offender, queued.timestamp_ns, error, reached, labels)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            (rtt,) = _RTT.unpack_from(information, _RTT_AT)
            return Arrival(number, self._destination, moment + rtt * 1000)
        if code == errno.ECONNREFUSED:
            return Arrival(number, self._destination, 0)
        return None

    def forget(self, number: int) -> None:
        """As `Prober.forget`."""
        for sock, (of, _) in list(self._numbers.items()):
            if of == number:
                del self._numbers[sock]
                self._sockets.discard(sock)
