"""One link: the channel to it, who we are there, and the questions that are out."""

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple, TypeVar

import anyio

from .. import doors
from .._system import interfaces, namespace, routes
from ..channels import PacketChannel
from ..errors import OpenError, SpecError, errno_text
from ..helper import HelperLike
from ..packet import Packet
from ..readiness import checkpoint
from ..spec import IpAddress, IpInterface
from ..wire.ethernet import mac_text
from .neighbour import Neighbour
from .questions import ANSWERS, Questions
from .sweep import Sweep

__all__ = ("Link", "Place", "open_link")

_T = TypeVar("_T")
_ETHERNET: Final = 1  # ARPHRD_ETHER: linux/if_arp.h
_BURST: Final = 64  # questions between two looks at what has come
_AT_ONCE: Final = 256  # answers taken before other tasks get their turn: a flood has no end


class Place(NamedTuple):
    """Which interface of which namespace, and how to get a socket there.

    ``interface`` None: that which leads to ``toward``.
    """

    interface: str | None
    toward: IpAddress
    namespace: str | None
    helper: HelperLike
    on_link: bool  # it has to be a neighbour


class Link:
    """Asks and hears; it owns its channel."""

    def __init__(self, channel: PacketChannel, addresses: list[IpInterface]) -> None:
        assert channel.interface is not None
        assert channel.hwaddr is not None
        self.interface: str = channel.interface
        self.addresses = addresses
        self.strays = 0  # answers to nothing that is still asked, or not credible
        self._channel = channel
        identifier = int.from_bytes(os.urandom(2), "big")
        self._questions = Questions(mac_text(channel.hwaddr), addresses, identifier)

    async def advance(self, sweep: Sweep[IpAddress]) -> list[tuple[Neighbour, IpAddress]]:
        """Ask who is to be asked now, and wait for an answer or the time to ask the next.

        Returns:
            Who has answered, with the target that was asked for.

        Raises:
            LinkDownError: The interface is down, or gone.
            ChannelError: What else the kernel said.
        """
        await checkpoint()
        # What has come is looked at first: it may answer what would be given up now.
        heard = self._said(islice(self._waiting(), _AT_ONCE), sweep)
        if heard:
            return heard
        for _ in range(_BURST):
            target = sweep.ask(time.monotonic())
            if target is None:
                break
            for frame in self._questions.frames(target):
                await self._channel.send(frame)
        moment = sweep.wakes_at()
        wait = 0.0 if moment is None else max(0.0, moment - time.monotonic())
        packets: list[Packet] = []
        with anyio.move_on_after(wait):
            packets = await self._channel.receive_batch()
        return self._said(packets, sweep)

    def _waiting(self) -> Iterator[Packet]:
        with suppress(BlockingIOError):
            while True:
                yield self._channel.receive_nowait()

    def _said(
        self, packets: Iterable[Packet], sweep: Sweep[IpAddress]
    ) -> list[tuple[Neighbour, IpAddress]]:
        return [heard for packet in packets if (heard := self._heard(packet, sweep)) is not None]

    def _heard(self, packet: Packet, sweep: Sweep[IpAddress]) -> tuple[Neighbour, IpAddress] | None:
        said = self._questions.parse(bytes(packet))
        if said is None:
            return None
        sent = sweep.asked_at(said.asked)
        if sent is None or not said.is_credible:
            self.strays += 1
            return None
        # The packet waited here for so long before it was read.
        age = max(0.0, (time.time_ns() - packet.timestamp_ns) / 1e9)
        elapsed = time.monotonic() - sent
        found = Neighbour(
            ip=said.ip,
            hwaddr=said.hwaddr,
            interface=self.interface,
            rtt=elapsed - age if age <= elapsed else elapsed,
        )
        return found, said.asked

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.aclose()

    def close(self) -> None:
        """Close the channel, which takes the kernel some 20 ms."""
        self._channel.close()


async def open_link(place: Place) -> Link:
    """Open the link of an interface.

    Raises:
        SpecError: The interface is none that has hardware addresses, or the address is behind a
            router.
        OpenError: There is no such interface, or no way to the address.
        And what `aioprocket.open_packet` raises.
    """
    name = _by_route(place) if place.interface is None else place.interface
    channel = await doors.open_packet(
        name,
        filter=ANSWERS,
        ring=False,
        latency="low",
        namespace=place.namespace,
        helper=place.helper,
    )
    try:
        if interfaces.hardware_type(channel.fileno(), name) != _ETHERNET:
            raise SpecError(f"{name} is no Ethernet: there are no hardware addresses to ask for")
        addresses = _inside(
            place.namespace, lambda: routes.interface_networks(socket.if_nametoindex(name))
        )
        return Link(channel, addresses)
    except BaseException:
        channel.close()
        raise


def _by_route(place: Place) -> str:
    def ask() -> tuple[routes.Route, str]:
        route = routes.route_to(place.toward)
        return route, socket.if_indextoname(route.ifindex)

    try:
        route, name = _inside(place.namespace, ask)
    except OSError as error:
        number = error.errno or 0
        raise OpenError(
            f"find the interface that leads to {place.toward}: {errno_text(number)}",
            errno=number,
            step="interface",
            hint="name an interface of this network",
        ) from error
    if route.gateway is not None and place.on_link:
        raise SpecError(
            f"{place.toward} is no neighbour: the way leads by {route.gateway} on {name}",
            hint="interface= asks there all the same",
        )
    return name


def _inside(of: str | None, function: Callable[[], _T]) -> _T:
    if of is None:
        return function()
    entered = namespace.open_namespace(of)
    try:
        return namespace.run_inside(entered.fileno(), function)
    finally:
        entered.close()
