"""Getting the socket that pings of one version of IP go by."""

import socket
from typing import Final, Literal

from .. import arguments
from ..channels import IcmpChannel
from ..doors import open_icmp
from ..errors import NotPermittedError
from ..helper import is_named, obtain_directly
from ..opening import build_channel, open_channel
from .settings import Settings
from .socket_options import set_up

__all__ = ("open_socket",)

# Room for the replies to a window of probes, and for what a stall of the loop lets gather.
_RECEIVE_BUFFER: Final = 4 << 20
_UNUSED: Final = 64  # packets read per wakeup of a channel, which this does not stay


async def open_socket(
    version: Literal[4, 6], settings: Settings, timeout: float
) -> tuple[socket.socket, int]:
    """A socket, and the identifier of the requests that it sends.

    Raises:
        What `open_icmp` raises.
    """
    wanted = settings.receive_buffer or _RECEIVE_BUFFER
    channel = await _open(version, settings, timeout, wanted)
    identifier = channel.identifier
    sock = channel.to_socket()
    try:
        set_up(sock, version, identifier, settings, wanted)
    except BaseException:
        sock.close()
        raise
    return sock, identifier


async def _open(
    version: Literal[4, 6], settings: Settings, timeout: float, receive_buffer: int
) -> IcmpChannel:
    named = is_named(settings.helper)
    if settings.type == "dgram" or (settings.type == "auto" and not named):
        spec = arguments.icmp(
            family=version,
            type="dgram",
            ip=settings.source,
            interface=settings.interface,
            filter=None,
            lock_filter=False,
            namespace=settings.namespace,
            mark=settings.mark,
            priority=None,
            receive_buffer=None,
            send_buffer=None,
        )
        if named:
            return await open_channel(spec, IcmpChannel, settings.helper, timeout, _UNUSED)
        try:
            return build_channel(await obtain_directly(spec), IcmpChannel, _UNUSED)
        except NotPermittedError:
            if settings.type == "dgram":
                raise
    try:
        return await _open_raw(version, settings, timeout, receive_buffer)
    except NotPermittedError:
        if settings.receive_buffer is not None:
            raise
    # A policy may allow a socket and not so large a buffer.
    return await _open_raw(version, settings, timeout, None)


async def _open_raw(
    version: Literal[4, 6], settings: Settings, timeout: float, receive_buffer: int | None
) -> IcmpChannel:
    return await open_icmp(
        version,
        type="raw",
        ip=settings.source,
        interface=settings.interface,
        namespace=settings.namespace,
        mark=settings.mark,
        receive_buffer=receive_buffer,
        helper=settings.helper,
        timeout=timeout,
    )
