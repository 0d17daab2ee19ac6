"""Options of the sockets that pings go by, which the socket module has no words for."""

import errno
import socket
from contextlib import suppress
from typing import Final, Literal

from .._system import options
from ..errors import OpenError, errno_text
from .filter import echo_filter
from .settings import Settings

__all__ = ("set_up",)

# linux/in.h, linux/in6.h
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_DONT: Final = 0
_PMTUDISC_PROBE: Final = 3  # DF, and no look at what routers said before
_IP_RECVTTL: Final = 12


def set_up(
    sock: socket.socket,
    version: Literal[4, 6],
    identifier: int,
    settings: Settings,
    receive_buffer: int,
) -> None:
    """Prepare a socket that is open, and bound if it is to be.

    Raises:
        OpenError: The kernel refused an option.
    """
    try:
        if sock.type == socket.SOCK_RAW:
            # What came before is judged as what comes after: nothing needs to be thrown away.
            options.attach_filter(sock, echo_filter(version, identifier))
            if version == 4:
                sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 0)  # it is in the IP header
        else:
            options.enable_receive_errors(sock, sock.family)
            with suppress(OSError):  # a smaller one makes for a smaller window
                options.set_receive_buffer(sock, receive_buffer)
        # Where there are none, times go from the clock.
        with suppress(OSError):
            options.report_transmit_timestamps(sock)
        if settings.broadcast:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for level, option, value in _options(version, settings):
            sock.setsockopt(level, option, value)
    except OSError as error:
        number = error.errno or errno.EIO
        raise OpenError(
            f"set up a socket for pings by IPv{version}: {errno_text(number)}",
            errno=number,
            step="option",
        ) from error


def _options(version: Literal[4, 6], settings: Settings) -> list[tuple[int, int, int]]:
    found = []
    inet, inet6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
    if settings.ttl is not None:
        found += (
            [(inet, socket.IP_TTL, settings.ttl), (inet, socket.IP_MULTICAST_TTL, settings.ttl)]
            if version == 4
            else [
                (inet6, socket.IPV6_UNICAST_HOPS, settings.ttl),
                (inet6, socket.IPV6_MULTICAST_HOPS, settings.ttl),
            ]
        )
    if settings.tos is not None:
        tos = (inet, socket.IP_TOS) if version == 4 else (inet6, socket.IPV6_TCLASS)
        found.append((*tos, settings.tos))
    if settings.df is not None:
        discover = (inet, _IP_MTU_DISCOVER) if version == 4 else (inet6, _IPV6_MTU_DISCOVER)
        found.append((*discover, _PMTUDISC_PROBE if settings.df else _PMTUDISC_DONT))
    return found
