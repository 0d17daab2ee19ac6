"""Getting the packet socket, and the ring, that pings by the link go by."""

import errno
import os
from typing import Final, Literal

from ..._system import options
from ..._system.fib import Fib
from ..._system.ring import FrameGeometry, make_frames
from ...doors import open_packet
from ...errors import AioprocketError, OpenError, errno_text
from ...route_socket import open_route_socket
from ..settings import Settings
from .filter import link_filter
from .lane import LinkLane

__all__ = ("frame_size", "open_link")

_RING: Final = 4 << 20  # bytes
_SMALLEST: Final = 512
_LARGEST: Final = 32 << 10  # a block of the ring holds whole frames
# Around what a probe carries, in an error that quotes it: what the kernel says of a frame, link
# header, two headers of IP and ICMP, and extensions (RFC 4884).
_AROUND: Final = 320


def frame_size(size: int) -> int:
    """Bytes of a frame that a reply with ``size`` bytes behind its ICMP header fits into."""
    found = _SMALLEST
    while found < min(size + _AROUND, _LARGEST):
        found *= 2
    return found


async def open_link(
    version: Literal[4, 6], settings: Settings, frame: int, timeout: float
) -> LinkLane:
    """A lane by the link, whose ring has frames of so many bytes.

    Raises:
        What `open_packet` raises. OpenError, too: there is no memory for the ring.
    """
    identifier = int.from_bytes(os.urandom(2), "big")
    channel = await open_packet(
        settings.interface,
        filter=link_filter(version, identifier),
        ring=False,
        latency="low",
        namespace=settings.namespace,
        mark=settings.mark,
        helper=settings.helper,
        timeout=timeout,
    )
    sock = channel.to_socket()
    try:
        options.ignore_outgoing(sock)
        geometry = FrameGeometry(frame, max(8, (settings.receive_buffer or _RING) // frame))
        geometry = _whole_blocks(geometry)
        make_frames(sock, geometry)
        route = await open_route_socket(
            settings.namespace, settings.helper, timeout, beside=sock.fileno()
        )
        try:
            return LinkLane(sock, version, identifier, settings, geometry, Fib(route))
        except BaseException:
            route.close()
            raise
    except AioprocketError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        number = error.errno or errno.EIO
        raise OpenError(
            f"set up a packet socket for pings by IPv{version}: {errno_text(number)}",
            errno=number,
            step="ring",
            hint="receive_buffer= is the size of its ring, memory that cannot be swapped"
            if number == errno.ENOMEM
            else "",
        ) from error
    except BaseException:
        sock.close()
        raise


def _whole_blocks(geometry: FrameGeometry) -> FrameGeometry:
    blocks = max(1, geometry.size // _LARGEST)
    return FrameGeometry(geometry.frame_size, blocks * (_LARGEST // geometry.frame_size))
