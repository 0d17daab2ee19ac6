"""Sending probes of one flow, and hearing what is said about them."""

import socket
import struct
from abc import ABC, abstractmethod
from typing import Final, Literal

from .._system.error_queue import report_errors
from ..errors import WireError
from ..spec import IpAddress
from ..wire.ip import IPv4Header
from .arrival import Arrival, Flow, arrival_of_queued, arrival_of_report, plain
from .flow import EchoFlow, Method, SynFlow, UdpFlow
from .sockets import Datagram, SocketSet, read_datagrams, read_errors, send_with_ttl, sockaddr

__all__ = ("EchoProber", "Prober", "RawEchoProber", "RawSynProber", "RawUdpProber", "UdpProber")

_SOL_RAW: Final = 255  # linux/socket.h
_ICMP_FILTER: Final = 1  # linux/icmp.h: a bit for each type that is not wanted
_ICMP6_FILTER: Final = 1  # linux/icmpv6.h: the same, 256 bits
_WANTED4: Final = (0, 3, 11, 12)
_WANTED6: Final = (1, 2, 3, 4, 129)


class Prober(ABC):
    """One way to send probes. ``type`` says by which socket answers come."""

    method: Method
    type: Literal["raw", "dgram"]
    burst = 15  # probes sent between two looks at what has come: near hosts answer meanwhile

    def __init__(self, destination: IpAddress) -> None:
        self._destination = destination
        self._sockets = SocketSet()

    @abstractmethod
    async def send(self, number: int, ttl: int) -> int:
        """Send a probe; the moment of it, by the realtime clock in nanoseconds.

        Raises:
            ChannelError: This machine does not send it: no route, no such interface….
        """

    @abstractmethod
    def receive(self) -> list[Arrival]:
        """What has come until now."""

    def resize(self, size: int) -> None:  # noqa: B027
        """Make probes from here on ``size`` bytes long, IP header included."""

    def forbid_fragments(self) -> None:
        """Let no router cut the probes, whatever the kernel knows of the way."""
        self._sockets.forbid_fragments()

    def forget(self, number: int) -> None:  # noqa: B027
        """Nothing is expected about a probe any more."""

    async def wait(self, seconds: float | None) -> None:
        """Until there may be something to receive, or so many seconds have passed."""
        await self._sockets.wait(seconds)

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        self._sockets.close()


class EchoProber(Prober):
    """Echoes by the kernel's ping socket, errors by its error queue: no privilege is needed."""

    method = "icmp"
    type = "dgram"

    def __init__(self, destination: IpAddress, sock: socket.socket, flow: EchoFlow) -> None:
        super().__init__(destination)
        report_errors(sock)
        self._sockets.add(sock)
        self._sock, self._flow = sock, flow
        self._to = sockaddr(sock, destination)

    def resize(self, size: int) -> None:
        """As `Prober.resize`."""
        self._flow.resize(size)

    async def send(self, number: int, ttl: int) -> int:
        """As `Prober.send`."""
        return send_with_ttl(self._sock, self._flow.build(number), ttl, self._to)

    def receive(self) -> list[Arrival]:
        """As `Prober.receive`."""
        queued = [
            arrival_of_queued(entry, self._flow, self._destination)
            for entry in read_errors(self._sock)
        ]
        found = [arrival for arrival in queued if arrival is not None]
        for datagram in read_datagrams(self._sock):
            number = self._flow.number_of_reply(datagram.data)
            if number is not None:
                found.append(Arrival(number, datagram.sender, datagram.received_ns))
        return found


class UdpProber(Prober):
    """Datagrams by an ordinary socket, errors by its error queue: no privilege is needed."""

    method = "udp"
    type = "dgram"

    def __init__(self, destination: IpAddress, sock: socket.socket, flow: UdpFlow) -> None:
        super().__init__(destination)
        report_errors(sock)
        self._sockets.add(sock)
        self._sock, self._flow = sock, flow

    def resize(self, size: int) -> None:
        """As `Prober.resize`."""
        self._flow.resize(size)

    async def send(self, number: int, ttl: int) -> int:
        """As `Prober.send`."""
        return send_with_ttl(self._sock, self._flow.build(number), ttl, None)

    def receive(self) -> list[Arrival]:
        """As `Prober.receive`."""
        queued = [
            arrival_of_queued(entry, self._flow, self._destination)
            for entry in read_errors(self._sock)
        ]
        return [arrival for arrival in queued if arrival is not None] + self._replies()

    def _replies(self) -> list[Arrival]:
        found = []
        for datagram in read_datagrams(self._sock):
            # Somebody serves this port. Whether the answer says to what, is up to the service.
            number = self._flow.number_of_payload(datagram.data)
            found.append(Arrival(number, datagram.sender, datagram.received_ns))
        return found


class _Raw(Prober):
    """Errors by a raw ICMP socket, with all that a router quotes and adds."""

    type = "raw"

    def __init__(self, destination: IpAddress, icmp: socket.socket, flow: Flow) -> None:
        super().__init__(destination)
        _filter_types(icmp)
        self._sockets.add(icmp)
        self._icmp = icmp
        self._quoted_flow = flow

    def receive(self) -> list[Arrival]:
        """As `Prober.receive`."""
        found = []
        for datagram in read_datagrams(self._icmp):
            message = _payload(self._icmp, datagram)
            arrival = self._arrival(message, datagram)
            if arrival is not None:
                found.append(arrival)
        return found

    def _arrival(self, message: bytes, datagram: Datagram) -> Arrival | None:
        return arrival_of_report(
            message, self._quoted_flow, self._destination, datagram.sender, datagram.received_ns
        )


class RawEchoProber(_Raw):
    """Echoes by a raw ICMP socket."""

    method = "icmp"

    def __init__(self, destination: IpAddress, icmp: socket.socket, flow: EchoFlow) -> None:
        super().__init__(destination, icmp, flow)
        self._flow = flow
        self._to = sockaddr(icmp, destination)

    def resize(self, size: int) -> None:
        """As `Prober.resize`."""
        self._flow.resize(size)

    async def send(self, number: int, ttl: int) -> int:
        """As `Prober.send`."""
        return send_with_ttl(self._icmp, self._flow.build(number), ttl, self._to)

    def _arrival(self, message: bytes, datagram: Datagram) -> Arrival | None:
        number = self._flow.number_of_reply(message)
        if number is not None:
            return Arrival(number, datagram.sender, datagram.received_ns)
        return super()._arrival(message, datagram)


class RawUdpProber(_Raw):
    """Datagrams by an ordinary socket, errors by a raw ICMP socket."""

    method = "udp"

    def __init__(
        self, destination: IpAddress, icmp: socket.socket, sock: socket.socket, flow: UdpFlow
    ) -> None:
        super().__init__(destination, icmp, flow)
        self._sockets.add(sock)
        self._sock, self._flow = sock, flow

    def resize(self, size: int) -> None:
        """As `Prober.resize`."""
        self._flow.resize(size)

    async def send(self, number: int, ttl: int) -> int:
        """As `Prober.send`."""
        return send_with_ttl(self._sock, self._flow.build(number), ttl, None)

    def receive(self) -> list[Arrival]:
        """As `Prober.receive`."""
        found = super().receive()
        for datagram in read_datagrams(self._sock):
            number = self._flow.number_of_payload(datagram.data)
            found.append(Arrival(number, datagram.sender, datagram.received_ns))
        return found


class RawSynProber(_Raw):
    """SYN segments by a raw socket: no connection is ever made, for the kernel resets what answers.

    ``reserved`` is a TCP socket that keeps the source port from others.
    """

    method = "tcp"

    def __init__(
        self,
        destination: IpAddress,
        icmp: socket.socket,
        raw: socket.socket,
        reserved: socket.socket,
        flow: SynFlow,
    ) -> None:
        super().__init__(destination, icmp, flow)
        self._sockets.add(raw)
        # Not even for errors: poll(2) always finds a hangup of a TCP socket without a connection.
        self._sockets.keep(reserved)
        self._raw, self._flow = raw, flow
        self._to = sockaddr(raw, destination)

    async def send(self, number: int, ttl: int) -> int:
        """As `Prober.send`."""
        return send_with_ttl(self._raw, self._flow.build(number), ttl, self._to)

    def receive(self) -> list[Arrival]:
        """As `Prober.receive`."""
        found = super().receive()
        for datagram in read_datagrams(self._raw):
            number = self._flow.number_of_reply(_payload(self._raw, datagram))
            if number is not None and plain(datagram.sender) == plain(self._destination):
                found.append(Arrival(number, datagram.sender, datagram.received_ns))
        return found


def _payload(sock: socket.socket, datagram: Datagram) -> bytes:
    """What is behind the IP header, which only raw sockets of IPv4 give: raw(7)."""
    if sock.family != socket.AF_INET:
        return datagram.data
    try:
        return IPv4Header.parse(datagram.data)[1]
    except WireError:
        return b""


def _filter_types(icmp: socket.socket) -> None:
    """Keep from a raw socket what no trace asks for: the pings of others, neighbour discovery."""
    if icmp.family == socket.AF_INET:
        blocked = 0xFFFFFFFF
        for kind in _WANTED4:
            blocked &= ~(1 << kind)
        icmp.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", blocked))
        return
    words = [0xFFFFFFFF] * 8
    for kind in _WANTED6:
        words[kind >> 5] &= ~(1 << (kind & 31))
    icmp.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
