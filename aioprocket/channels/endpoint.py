"""Giving a channel to a transport and a protocol."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from ..errors import BusyError, SpecError
from .channel import Channel
from .dispatch import Dispatch
from .modes import Mode
from .transport import RawTransport

__all__ = ("create_transport",)

_P = TypeVar("_P")

_NO_LIMIT: Final = 1 << 30  # packets: more than a block has


async def create_transport(
    factory: Callable[[], _P], channel: Channel, *, active: Mode = True
) -> tuple[RawTransport, _P]:
    """Give a channel to a transport, and its packets to the protocol that ``factory`` makes.

    Raises:
        BusyError: A receive waits, or the channel has a transport; it is still the caller's.
        SpecError: The channel is a stream.
        RuntimeError: No asyncio loop is running.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a transport needs a running asyncio loop; "
            "on trio, 'await channel.serve(handler)' does the same"
        ) from None
    if channel._port.stream:
        raise SpecError(
            "a transport carries packets, and this channel is a stream",
            hint="asyncio.start_server(sock=channel.to_socket()) and its like take streams",
        )
    if channel._on_close is not None:
        raise BusyError(f"a transport for {channel._place()}: it has one already")
    protocol = factory()
    budget = _NO_LIMIT if channel._port.timed else channel._read_packets
    dispatch = Dispatch(loop, channel._machine, protocol, budget)
    ended = channel._set_mode(active)  # from here on nobody else can receive
    channel._enter_loop()
    transport = RawTransport(loop, channel, dispatch)
    started = loop.create_future()
    loop.call_soon(transport._start, ended, started)
    try:
        await started
    except BaseException:
        transport.abort()
        raise
    return transport, protocol
