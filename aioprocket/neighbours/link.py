"""One link: the channel to it, who we are there, and the questions that are out."""

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

import anyio

from .. import doors
from .._system import interfaces, routes
from ..channels import PacketChannel
from ..errors import NotPermittedError, OpenError, SpecError, errno_text
from ..helper import HelperLike
from ..packet import Packet
from ..readiness import checkpoint
from ..route_socket import open_route_socket
from ..spec import IpAddress, IpInterface
from ..wire.ethernet import mac_text
from .neighbour import Neighbour
from .questions import ANSWERS, Questions
from .sweep import Sweep

__all__ = ("Link", "Place", "open_link")

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
        NotPermittedError: The packet socket, or asking for the addresses in its network.
        And what `aioprocket.open_packet` raises.
    """
    route: socket.socket | None = None
    try:
        if place.interface is None:
            route = await _route_socket(place)
        name = place.interface if route is None else _by_route(route, place)
        assert name is not None
        channel = await doors.open_packet(
            name,
            filter=ANSWERS,
            ring=False,
            latency="low",
            namespace=place.namespace,
            helper=place.helper,
        )
        try:
            fd = channel.fileno()
            if interfaces.hardware_type(fd, name) != _ETHERNET:
                raise SpecError(
                    f"{name} is no Ethernet: there are no hardware addresses to ask for"
                )
            if route is None:
                route = await open_route_socket(place.namespace, place.helper, beside=fd)
            return Link(channel, _networks(route, fd, name))
        except BaseException:
            channel.close()
            raise
    finally:
        if route is not None:
            route.close()


async def _route_socket(place: Place) -> socket.socket:
    try:
        return await open_route_socket(place.namespace, place.helper)
    except NotPermittedError as error:
        if place.namespace is not None:
            raise
        hint = f"with interface= none is needed in this process's network; else {error.hint}"
        raise NotPermittedError(
            f"find the interface that leads to {place.toward}: {error}",
            errno=error.errno,
            step=error.step,
            hint=hint if error.hint else hint.partition(";")[0],
        ) from error


def _networks(route: socket.socket, fd: int, name: str) -> list[IpInterface]:
    """The addresses of an interface that the socket ``fd`` knows by this name."""
    try:
        return routes.interface_networks(route, interfaces.interface_index(fd, name))
    except OSError as error:
        raise _not_found(f"ask for the addresses of {name}", error) from error


def _by_route(route: socket.socket, place: Place) -> str:
    """The interface that leads there."""
    try:
        found = routes.route_to(route, place.toward)
        name = interfaces.interface_name(route.fileno(), found.ifindex)
    except OSError as error:
        raise _not_found(f"find the interface that leads to {place.toward}", error) from error
    if found.gateway is not None and place.on_link:
        raise SpecError(
            f"{place.toward} is no neighbour: the way leads by {found.gateway} on {name}",
            hint="interface= asks there all the same",
        )
    return name


def _not_found(what: str, error: OSError) -> OpenError:
    number = error.errno or 0
    return OpenError(
        f"{what}: {errno_text(number)}",
        errno=number,
        step="interface",
        hint="name an interface of this network",
    )
