"""The error queue of a socket: what became of packets that were sent.

The network's answers to them, and the moments at which they left, if those were asked for. It fills
with IP_RECVERR, IPV6_RECVERR or SO_TIMESTAMPING set. A descriptor whose queue is not empty is in
EPOLLERR until somebody reads the queue, which would turn every wait into a spin.

Source: ip(7), IP_RECVERR and IP_RECVERR_RFC4884; struct sock_extended_err, struct
sock_ee_data_rfc4884 and struct scm_timestamping in linux/errqueue.h.
"""

import ipaddress
import socket
import struct
import sys
from typing import Any, Final, NamedTuple

from .numbers import (
    IP_RECVERR,
    IPV6_RECVERR,
    SOL_PACKET,
    PacketOption,
    SocketOption,
)

__all__ = (
    "ORIGIN_ICMP",
    "ORIGIN_ICMP6",
    "ORIGIN_LOCAL",
    "ORIGIN_TIMESTAMPING",
    "Entry",
    "QueuedError",
    "read_entry",
    "read_queued_error",
    "report_errors",
)

# SO_EE_ORIGIN_…
ORIGIN_LOCAL: Final = 1
ORIGIN_ICMP: Final = 2
ORIGIN_ICMP6: Final = 3
ORIGIN_TIMESTAMPING: Final = 4

_IP_RECVERR_RFC4884: Final = 26  # linux/in.h, Linux 5.9
_IPV6_RECVERR_RFC4884: Final = 31  # linux/in6.h, Linux 5.9
_ERROR: Final = struct.Struct("=IBBBBII")
_RFC4884: Final = struct.Struct("=HBx")
_INVALID: Final = 1  # SO_EE_RFC4884_FLAG_INVALID
_OFFENDER4: Final = struct.Struct("=Hxx4s8x")  # struct sockaddr_in
_OFFENDER6: Final = struct.Struct("=HxxI16sI")  # struct sockaddr_in6
_TIMESPEC: Final = struct.Struct("@2q" if struct.calcsize("@l") == 8 else "@2l")
_STAMPS: Final = struct.Struct("@6q" if struct.calcsize("@l") == 8 else "@6l")
_LEVELS: Final = {
    (socket.IPPROTO_IP, IP_RECVERR),
    (socket.IPPROTO_IPV6, IPV6_RECVERR),
    (SOL_PACKET, PacketOption.TX_TIMESTAMP),
}
_ROOM: Final = 65535
_ANCILLARY: Final = 512  # timestamps, and the error with its offender, which take 44 bytes at most


class Entry(NamedTuple):
    """One entry, as the kernel has it; with no errno and no origin where it is none of those.

    Attributes:
        errno: What the kernel made of it.
        origin: Whose word it is: ``ORIGIN_…``.
        type: Of an ICMP message.
        code: Of an ICMP message.
        info: By origin: an MTU, or a stage on the way out.
        data: By origin: the number of a packet, or where extensions are.
        offender: A socket address, packed; empty: none.
        destination: Where the packet was sent to, as the socket module writes it.
        quoted: Of the packet as it is quoted.
        received_ns: When the message came, by the realtime clock; 0: not known.
        software_ns: When the packet left, by that clock; 0: not known.
        hardware_ns: The same by the clock of the network card.
    """

    errno: int
    origin: int
    type: int
    code: int
    info: int
    data: int
    offender: bytes
    destination: Any
    quoted: bytes
    received_ns: int
    software_ns: int
    hardware_ns: int


class QueuedError(NamedTuple):
    """What is told of one packet that was sent.

    Attributes:
        errno: What the kernel made of it.
        from_icmp: By the network; otherwise by this machine itself, and type and code mean nothing.
        type: Of the ICMP message.
        code: Of the ICMP message.
        info: The MTU, where it is one that tells it.
        offender: Who sent the message; None: this machine, or not known.
        destination: Where the packet was sent to, as the socket module writes it.
        quoted: The packet as it is quoted: of UDP and TCP what follows the header, of ICMP with it.
        extensions_at: Where in ``quoted`` extensions begin; 0: nowhere.
        timestamp_ns: When the message came, by the realtime clock; 0: not known.
    """

    errno: int
    from_icmp: bool
    type: int
    code: int
    info: int
    offender: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    destination: Any
    quoted: bytes
    extensions_at: int
    timestamp_ns: int


def report_errors(sock: socket.socket) -> None:
    """Let ICMP errors about what this socket sends into its error queue, extensions included."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR_RFC4884, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR_RFC4884, 1)


def read_entry(sock: socket.socket, room: int = 0) -> Entry | None:
    """The oldest entry, taken off the queue, with ``room`` bytes of its packet; None: it is empty.

    Args:
        sock: Of IP, or a packet socket: others ignore MSG_ERRQUEUE, and would give away a packet.

    Raises:
        OSError: What an ordinary receive will say, too.
    """
    try:
        quoted, ancdata, _, destination = sock.recvmsg(
            room, _ANCILLARY, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
        )
    except BlockingIOError:
        return None
    number = origin = type_ = code = info = more = 0
    offender = b""
    received_ns = software_ns = hardware_ns = 0
    for level, kind, data in ancdata:
        if (level, kind) in _LEVELS and len(data) >= _ERROR.size:
            number, origin, type_, code, _, info, more = _ERROR.unpack_from(data)
            offender = data[_ERROR.size :]
        elif (level, kind) == (socket.SOL_SOCKET, SocketOption.TIMESTAMPING):
            stamps = _STAMPS.unpack_from(data)
            software_ns, hardware_ns = _nanoseconds(*stamps[:2]), _nanoseconds(*stamps[4:])
        elif (level, kind) == (socket.SOL_SOCKET, SocketOption.TIMESTAMPNS):
            received_ns = _nanoseconds(*_TIMESPEC.unpack_from(data))
    return Entry(
        number, origin, type_, code, info, more, offender, destination, quoted,
        received_ns, software_ns, hardware_ns,
    )  # fmt: skip


def read_queued_error(sock: socket.socket) -> QueuedError | None:
    """The oldest entry that is an error, taken off the queue; None: the queue is empty."""
    while (entry := read_entry(sock, _ROOM)) is not None:
        if entry.origin:
            extensions_at, flags = _RFC4884.unpack(entry.data.to_bytes(4, sys.byteorder))
            return QueuedError(
                errno=entry.errno,
                from_icmp=entry.origin in (ORIGIN_ICMP, ORIGIN_ICMP6),
                type=entry.type,
                code=entry.code,
                info=entry.info,
                offender=_address(entry.offender),
                destination=entry.destination,
                quoted=entry.quoted,
                extensions_at=0 if flags & _INVALID else extensions_at,
                timestamp_ns=entry.received_ns,
            )
    return None


def _nanoseconds(seconds: int, nanoseconds: int) -> int:
    return seconds * 10**9 + nanoseconds


def _address(data: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    family = int.from_bytes(data[:2], sys.byteorder)
    if family == socket.AF_INET and len(data) >= _OFFENDER4.size:
        return ipaddress.IPv4Address(_OFFENDER4.unpack_from(data)[1])
    if family == socket.AF_INET6 and len(data) >= _OFFENDER6.size:
        return ipaddress.IPv6Address(_OFFENDER6.unpack_from(data)[2])
    return None
