"""One socket, its table of probes, and the tasks that wait for replies.

There is no task in the background. Of those that wait one reads, for all: the others are woken when
there is something of theirs, and one of them takes over when the reader is done. So a pinger can be
closed, cancelled and left anywhere.
"""

import errno
import os
import socket
import struct
import time
from typing import Final, Literal

import anyio

from .._system.numbers import IP_RECVERR, IPV6_RECVERR, SocketOption
from ..errors import ClosedError
from ..readiness import Readiness
from .echo import EchoError
from .engine import EchoTable
from .group import EchoGroup
from .settings import Settings
from .targets import Target

__all__ = ("Lane", "wait_for_any")

_REPLIES: Final = 64  # read at once
_ROOM: Final = 65536
_CONTROL: Final = 512
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_ORIGINS: Final = {2, 3}  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
_TIMESPEC: Final = struct.Struct("@2q" if struct.calcsize("@l") == 8 else "@2l")
_ERRORS: Final = {4: {3, 11, 12}, 6: {1, 2, 3, 4}}  # types that end a probe
_HEADER: Final = 8
_TTLS: Final = {(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}
_LOCAL_KINDS: Final = {
    errno.ENETUNREACH: "net-unreachable",
    errno.EHOSTUNREACH: "host-unreachable",
    errno.ENETDOWN: "link-down",
    errno.ENODEV: "link-down",
    errno.EMSGSIZE: "frag-needed",
    errno.EACCES: "broadcast",
}
_NO_ROOM: Final = {errno.EAGAIN, errno.ENOBUFS}
# Seconds for which one lane's replies wait while another's are waited for.
_OTHER: Final = 0.005


class Lane:
    """The probes of one version of IP."""

    def __init__(
        self,
        sock: socket.socket,
        version: Literal[4, 6],
        identifier: int,
        settings: Settings,
        *,
        first: int = 0,
    ) -> None:
        self.version: Literal[4, 6] = version
        self.headed = sock.type == socket.SOCK_RAW and version == 4
        self.ping = sock.type == socket.SOCK_DGRAM
        self.table = EchoTable(
            version, identifier, os.urandom(16), first=first, unchecked=self.headed
        )
        self._sock = sock
        self._settings = settings
        self._readiness = Readiness(sock.fileno())
        self._waiting: dict[EchoGroup, anyio.Event] = {}
        self._reading = False

    @property
    def window(self) -> int:
        """Probes whose replies the receive buffer has room for."""
        # A small packet takes up to 1,280 bytes of it (its own page's share, struct sk_buff).
        room = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 1280
        return max(1, min(room, 512))

    def close(self) -> None:
        """Close the socket; who waits gets `ClosedError`."""
        self._readiness.close()
        self._sock.close()
        for event in self._waiting.values():
            event.set()

    def check_open(self) -> None:
        """Raise `ClosedError` after the end."""
        if self._sock.fileno() < 0:
            raise ClosedError("the pinger is closed")

    # Sending

    def send(self, group: EchoGroup, target: Target, sequence: int) -> bool:
        """Send a probe, or take note of why it cannot be sent; False: there is no room now."""
        self.check_open()
        table = self.table
        built = table.build(group, *target, sequence, time.time_ns(), time.monotonic_ns())
        if built is None:
            return False
        serial, request = built
        host = socket.inet_ntop(self._sock.family, target.packed)
        address = (host, 0) if self.version == 4 else (host, 0, 0, target.scope)
        for attempt in range(2):
            try:
                self._sock.sendto(request, address)
                return True
            except OSError as error:
                number = error.errno or errno.EIO
                if number in _NO_ROOM:
                    table.take_back(serial)
                    return False
                # A ping socket tells of an earlier probe's error at the next call of any kind.
                if self.ping and self._read_errors() and attempt == 0:
                    continue
                table.refuse(serial, self._local_error(number))
                return True
        return True

    def _local_error(self, number: int) -> EchoError:
        return EchoError(kind=_LOCAL_KINDS.get(number, "not-sent"), errno=number)

    # Receiving

    def receive(self) -> int:
        """Judge what has come, up to 64 messages; how many there were."""
        if self.ping:
            self._read_errors()
        for count in range(_REPLIES):
            try:
                data, ancillary, _, address = self._sock.recvmsg(_ROOM, _CONTROL)
            except BlockingIOError:
                return count
            except OSError:
                if self.ping:
                    self._read_errors()
                continue  # an error of the network, which was told of otherwise
            self._judge(data, ancillary, address)
        return _REPLIES

    def _judge(
        self, data: bytes, ancillary: list[tuple[int, int, bytes]], address: tuple[str, int]
    ) -> None:
        ttl, received_ns = None, 0
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SocketOption.TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack(value)
                received_ns = seconds * 10**9 + nanoseconds
            elif (level, kind) in _TTLS:
                ttl = int.from_bytes(value[:4], "little" if value[0] else "big")
        if self.headed:
            ttl = data[8]
            data = data[(data[0] & 0x0F) * 4 :]
        source = socket.inet_pton(self._sock.family, address[0].partition("%")[0])
        if data and data[0] in _ERRORS[self.version]:
            group = self._judge_error(data, source, received_ns)
        else:
            group = self.table.take(data, source, ttl, received_ns, time.monotonic_ns())
        self._tell(group)

    def _judge_error(self, data: bytes, router: bytes, received_ns: int) -> EchoGroup | None:
        quoted = data[_HEADER:]
        if self.version == 4:
            if len(quoted) < 20 or quoted[9] != socket.IPPROTO_ICMP:
                return None
            target, quoted = quoted[16:20], quoted[(quoted[0] & 0x0F) * 4 :]
        else:
            if len(quoted) < 40 or quoted[6] != socket.IPPROTO_ICMPV6:
                return None
            target, quoted = quoted[24:40], quoted[40:]
        rest = int.from_bytes(data[4:8], "big")
        return self.table.take_error(data[0], data[1], rest, router, target, quoted, received_ns)

    def _read_errors(self) -> int:
        """The error queue of a ping socket: how many entries it had."""
        count = 0
        while True:
            try:
                quoted, ancillary, _, address = self._sock.recvmsg(
                    _ROOM, _CONTROL, socket.MSG_ERRQUEUE
                )
            except OSError:
                return count
            count += 1
            report, received_ns = b"", 0
            for level, kind, value in ancillary:
                if (level, kind) in (
                    (socket.IPPROTO_IP, IP_RECVERR),
                    (socket.IPPROTO_IPV6, IPV6_RECVERR),
                ):
                    report = value
                elif (level, kind) == (socket.SOL_SOCKET, SocketOption.TIMESTAMPNS):
                    seconds, nanoseconds = _TIMESPEC.unpack(value)
                    received_ns = seconds * 10**9 + nanoseconds
            if len(report) < _EXTENDED_ERROR.size:
                continue
            _, origin, type_, code, _, info, _ = _EXTENDED_ERROR.unpack_from(report)
            if origin not in _ORIGINS:
                continue
            target = socket.inet_pton(self._sock.family, address[0].partition("%")[0])
            offender = report[_EXTENDED_ERROR.size :]
            router = offender[4:8] if self.version == 4 else offender[8:24]
            group = self.table.take_error(
                type_, code, info, router, target, quoted, received_ns or time.time_ns()
            )
            self._tell(group)

    def _tell(self, group: EchoGroup | None) -> None:
        event = None if group is None else self._waiting.get(group)
        if event is not None:
            event.set()

    # Waiting

    async def wait(self, group: EchoGroup, until: float) -> None:
        """Until the group may have something, or a moment of `time.monotonic` has come.

        Raises:
            ClosedError: The pinger was closed.
        """
        self.check_open()
        patience = max(0.0, until - time.monotonic())
        try:
            if self._reading:
                await self._follow(group, patience)
            else:
                await self._lead(patience)
        finally:
            if not self._reading and self._waiting:
                next(iter(self._waiting.values())).set()
        self.check_open()

    async def _lead(self, patience: float) -> None:
        self._reading = True
        try:
            with anyio.move_on_after(patience):
                await self._readiness.wait_readable()
            if self._sock.fileno() >= 0:
                self.receive()
        finally:
            self._reading = False

    async def _follow(self, group: EchoGroup, patience: float) -> None:
        self._waiting[group] = event = anyio.Event()
        try:
            with anyio.move_on_after(patience):
                await event.wait()
        finally:
            del self._waiting[group]


async def wait_for_any(lanes: list[tuple[Lane, EchoGroup]], until: float) -> None:
    """Until one of the groups may have something, or has lost a probe, or ``until``.

    Raises:
        ClosedError: The pinger was closed.
    """
    flying = [(lane, group) for lane, group in lanes if group.in_flight]
    for lane, group in flying:
        lost_ns = lane.table.deadline(group)
        assert lost_ns is not None
        until = min(until, lost_ns / 1e9)
    if len(flying) > 1:
        until = min(until, time.monotonic() + _OTHER)
    lane, group = (flying or lanes)[0]
    await lane.wait(group, until)
