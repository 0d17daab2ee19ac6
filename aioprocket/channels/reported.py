"""What a socket's error queue says: errors as exceptions, and the moments at which packets left."""

import errno
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from .._system.error_queue import (
    ORIGIN_ICMP,
    ORIGIN_ICMP6,
    ORIGIN_LOCAL,
    ORIGIN_TIMESTAMPING,
    Entry,
    read_entry,
)
from ..errors import ReportedError, errno_text

__all__ = ("SENT", "TransmitStamp", "read_error_queue")

# The others are notifications.
_ORIGINS: Final = {ORIGIN_LOCAL: "the local stack", ORIGIN_ICMP: "ICMP", ORIGIN_ICMP6: "ICMPv6"}
SENT: Final = 0  # SCM_TSTAMP_SND, linux/errqueue.h
_FAMILIES: Final = {socket.AF_INET, socket.AF_INET6, socket.AF_PACKET}  # see `read_entry`


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
            entry = read_entry(sock)
        except OSError:
            break  # an ordinary receive will say it, too
        if entry is None:
            break
        if entry.origin in _ORIGINS and entry.errno not in (0, errno.ENOMSG):
            errors.append(_error(entry))
        elif entry.origin == ORIGIN_TIMESTAMPING:
            on_stamp(TransmitStamp(entry.data, entry.info, entry.software_ns, entry.hardware_ns))
    return errors


def _error(entry: Entry) -> OSError:
    reporter, number = _ORIGINS[entry.origin], entry.errno
    return _KINDS.get(number, ReportedError)(
        f"{reporter} about a packet to {entry.destination}: {errno_text(number)}",
        errno=number,
        timestamp_ns=entry.received_ns,
        reporter=reporter,
        addr=entry.destination,
    )
