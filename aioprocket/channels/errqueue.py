"""The error queue of a socket: what became of packets that were sent.

The network's answers to them, and the moments at which they left, if those were asked for.

It fills with IP_RECVERR, IPV6_RECVERR or SO_TIMESTAMPING set. A descriptor whose queue is not
empty is in EPOLLERR until somebody reads the queue, which would turn every wait into a spin.

Source: ip(7), struct sock_extended_err and struct scm_timestamping in linux/errqueue.h.
"""

import errno
import socket
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from .._system.numbers import (
    IP_RECVERR,
    IPV6_RECVERR,
    SOL_PACKET,
    PacketOption,
    SocketOption,
)
from ..errors import ReportedError, errno_text

__all__ = ("SENT", "TransmitStamp", "read_error_queue")

_EXTENDED_ERROR = struct.Struct("=IBBBBII")
# SO_EE_ORIGIN_…: the others are notifications.
_ORIGINS: Final = {1: "the local stack", 2: "ICMP", 3: "ICMPv6"}
_TIMESTAMPING: Final = 4  # SO_EE_ORIGIN_TIMESTAMPING
_LEVELS: Final = {
    (socket.IPPROTO_IP, IP_RECVERR),
    (socket.IPPROTO_IPV6, IPV6_RECVERR),
    (SOL_PACKET, PacketOption.TX_TIMESTAMP),
}
_RECEIVED: Final = struct.Struct("@2q" if struct.calcsize("@l") == 8 else "@2l")
_STAMPS: Final = struct.Struct("@6q" if struct.calcsize("@l") == 8 else "@6l")
SENT: Final = 0  # SCM_TSTAMP_SND
# Other families ignore MSG_ERRQUEUE: asked for the queue, they would give away a packet.
_FAMILIES: Final = {socket.AF_INET, socket.AF_INET6, socket.AF_PACKET}
_ANCILLARY: Final = 512  # the error and its offender's address take 44 bytes at most


class _RefusedError(ReportedError, ConnectionRefusedError): ...


class _ForbiddenError(ReportedError, PermissionError): ...


_KINDS: Final[dict[int, type[ReportedError]]] = {
    errno.ECONNREFUSED: _RefusedError,
    errno.EACCES: _ForbiddenError,
}


class TransmitStamp(NamedTuple):
    """When a packet got somewhere on its way out.

    Attributes:
        number: Which packet, as the kernel counts those that asked.
        place: `SENT`: it was given to the network, or one of the stages before that.
        software_ns: By the realtime clock; 0: not known.
        hardware_ns: By the clock of the network card; 0: not known.
    """

    number: int
    place: int
    software_ns: int
    hardware_ns: int


def read_error_queue(
    sock: socket.socket, on_stamp: Callable[[TransmitStamp], None]
) -> list[OSError]:
    """Empty the queue.

    Args:
        sock: Of any family.
        on_stamp: Called with each timestamp in it.

    Returns:
        The errors in it, oldest first.
    """
    errors: list[OSError] = []
    while sock.family in _FAMILIES:
        try:
            _, ancdata, _, address = sock.recvmsg(
                0, _ANCILLARY, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
            )
        except OSError:
            # EAGAIN: it is empty. Anything else, an ordinary receive will say, too.
            break
        stamps = (0, 0, 0, 0, 0, 0)
        received = (0, 0)
        report = (0, 0, 0, 0, 0, 0, 0)
        for level, kind, data in ancdata:
            if (level, kind) in _LEVELS and len(data) >= _EXTENDED_ERROR.size:
                report = _EXTENDED_ERROR.unpack_from(data)
            elif (level, kind) == (socket.SOL_SOCKET, SocketOption.TIMESTAMPING):
                stamps = _STAMPS.unpack_from(data)
            elif (level, kind) == (socket.SOL_SOCKET, SocketOption.TIMESTAMPNS):
                received = _RECEIVED.unpack_from(data)
        number, origin, *_, info, counted = report
        if origin in _ORIGINS and number not in (0, errno.ENOMSG):
            errors.append(_error(number, _ORIGINS[origin], address, _nanoseconds(received)))
        elif origin == _TIMESTAMPING:
            software, hardware = (_nanoseconds(stamps[at : at + 2]) for at in (0, 4))
            on_stamp(TransmitStamp(counted, info, software, hardware))
    return errors


def _nanoseconds(timespec: tuple[int, ...]) -> int:
    return timespec[0] * 10**9 + timespec[1]


def _error(number: int, origin: str, address: object, timestamp_ns: int) -> OSError:
    return _KINDS.get(number, ReportedError)(
        f"{origin} about a packet to {address}: {errno_text(number)}",
        errno=number,
        timestamp_ns=timestamp_ns,
        reporter=origin,
        addr=address,
    )
