"""One entry of a socket's error queue, whole: what ICMP said, who said it, and about what.

Source: ip(7), IP_RECVERR and IP_RECVERR_RFC4884; struct sock_extended_err and struct
sock_ee_data_rfc4884 in linux/errqueue.h.
"""

import ipaddress
import socket
import struct
import sys
from typing import Any, Final, NamedTuple

from .numbers import IP_RECVERR, IPV6_RECVERR, SocketOption

__all__ = ("QueuedError", "read_queued_error", "report_errors")

_IP_RECVERR_RFC4884: Final = 26  # linux/in.h, Linux 5.9
_IPV6_RECVERR_RFC4884: Final = 31  # linux/in6.h, Linux 5.9
_ERROR: Final = struct.Struct("=IBBBBIHBx")  # its last field as struct sock_ee_data_rfc4884
_INVALID: Final = 1  # SO_EE_RFC4884_FLAG_INVALID
_OFFENDER4: Final = struct.Struct("=Hxx4s8x")  # struct sockaddr_in
_OFFENDER6: Final = struct.Struct("=HxxI16sI")  # struct sockaddr_in6
_TIMESPEC: Final = struct.Struct("@2q" if struct.calcsize("@l") == 8 else "@2l")
_LEVELS: Final = {(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)}
_ROOM: Final = 65535
_ANCILLARY: Final = 512
_FROM_ICMP: Final = (2, 3)  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6


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


def read_queued_error(sock: socket.socket) -> QueuedError | None:
    """The oldest entry that is an error, taken off the queue; None: the queue is empty."""
    while True:
        try:
            quoted, ancdata, _, destination = sock.recvmsg(
                _ROOM, _ANCILLARY, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            return None
        timestamp_ns = 0
        found: tuple[bytes, bytes] | None = None
        for level, kind, data in ancdata:
            if (level, kind) in _LEVELS and len(data) >= _ERROR.size:
                found = data[: _ERROR.size], data[_ERROR.size :]
            elif (level, kind) == (socket.SOL_SOCKET, SocketOption.TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack_from(data)
                timestamp_ns = seconds * 10**9 + nanoseconds
        if found is not None:
            errno, origin, type_, code, _, info, extensions_at, flags = _ERROR.unpack(found[0])
            return QueuedError(
                errno=errno,
                from_icmp=origin in _FROM_ICMP,
                type=type_,
                code=code,
                info=info,
                offender=_offender(found[1]),
                destination=destination,
                quoted=quoted,
                extensions_at=0 if flags & _INVALID else extensions_at,
                timestamp_ns=timestamp_ns,
            )


def _offender(data: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    family = int.from_bytes(data[:2], sys.byteorder)
    if family == socket.AF_INET and len(data) >= _OFFENDER4.size:
        return ipaddress.IPv4Address(_OFFENDER4.unpack_from(data)[1])
    if family == socket.AF_INET6 and len(data) >= _OFFENDER6.size:
        return ipaddress.IPv6Address(_OFFENDER6.unpack_from(data)[2])
    return None
