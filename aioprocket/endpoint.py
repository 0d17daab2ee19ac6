"""From a channel, or a door to one, to a transport that calls a protocol."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from . import channels
from .channels import Channel, RawTransport
from .opening import Door

__all__ = ("create_endpoint",)

_P = TypeVar("_P")


async def create_endpoint(
    factory: Callable[[], _P],
    channel: Channel | Door[Any],
    *,
    active: bool | int | Literal["once"] = True,
) -> tuple[RawTransport, _P]:
    """Give a channel's packets to a protocol: ``transport, protocol = await …``. asyncio only.

    Args:
        factory: Makes the protocol: any `asyncio.DatagramProtocol`. The first of
            ``packets_received``, ``packet_received``, ``datagram_received`` that it overrides
            is called.
        channel: Open already, or a door. The transport owns it from here on.
        active: True; ``"once"``; the number of packets until ``passive()``; or False. A number of
            0 or less is one that is used up: ``passive()`` tells of it at once.

    Raises:
        BusyError: A receive waits on the channel.
        RuntimeError: Not under asyncio; under trio there is ``channel.serve``.
    """
    if not isinstance(channel, Channel | Door):
        raise TypeError(f"create_endpoint takes a channel or a door, not {channel!r}")
    ours = isinstance(channel, Door)
    opened: Channel = await channel if isinstance(channel, Door) else channel
    try:
        return await channels.create_transport(factory, opened, active=active)
    except BaseException:
        if ours:
            opened.close()
        raise
