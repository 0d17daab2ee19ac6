"""A network on a TUN device, whose hosts answer as they are told to: none, twice, late, wrongly.

It answers from the test's own process and loop, so that a test knows what came and when.
"""

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import anyio

from .. import arguments, bounds, doors
from ..channels import TunChannel
from ..errors import ClosedError, SpecError
from ..helper import HelperLike
from ..spec import IpAddress
from .echo_request import EchoRequest

__all__ = ("Answer", "Responder")

# Networks for benchmarks and documentation (RFC 2544, RFC 3849).
_NETWORKS: Final = ("198.18.0.1/16", "2001:db8:77::1/64")
_PATIENCE: Final = 0.01  # seconds for a packet to arrive
_UNTIL: Final = 30.0  # seconds for the device to work


class Responder:
    """A network in which every address answers pings: ``async with Responder(…) as responder``.

    It is a TUN device in the network that its helper opens in. Who is there asks by it; each
    request is answered from this process. The device goes with the block, and what was still to be
    answered with it. What chance decides, it decides by ``seed`` and in the order of arrival: a
    test that is run again has the same losses.

    Args:
        answer: What is done with a request, in place of all that the next three say: a coroutine
            function of this responder and the request, of which any number run at once. What it
            raises ends the block.
        loss: Of how many requests none is answered: from 0 to 1.
        delay: Seconds until an answer; or the least and the most, in between which each has its
            own: later ones overtake earlier ones.
        duplicates: Of how many answers there is a second: from 0 to 1.
        seed: Of what is by chance.
        addresses: Of the device, with the length of their prefix. Every other address of these
            networks is one of a host that answers.
        helper: As for `open_tun`: that of a `Host` opens there. None: in this process's network,
            if it may, or by the helper that is installed.

    Attributes:
        requests: How many each host has got.

    Raises:
        SpecError: An argument cannot be used.
    """

    def __init__(
        self,
        answer: "Answer | None" = None,
        *,
        loss: float = 0.0,
        delay: float | tuple[float, float] = 0.0,
        duplicates: float = 0.0,
        seed: int = 0,
        addresses: Iterable[str] = _NETWORKS,
        helper: HelperLike = None,
    ) -> None:
        self.requests: Counter[IpAddress] = Counter()
        self._answer = answer
        self._loss = _fraction("loss", loss)
        self._duplicates = _fraction("duplicates", duplicates)
        least, most = delay if isinstance(delay, tuple) else (delay, delay)
        self._delay = tuple(bounds.seconds("delay", each, zero=True) for each in (least, most))
        self._chance = random.Random(seed)
        self._addresses = arguments.networks(addresses)
        self._helper = helper
        self._channel: TunChannel | None = None
        self._stack = AsyncExitStack()

    @property
    def channel(self) -> TunChannel:
        """The device.

        Raises:
            ClosedError: The block was not entered.
        """
        if self._channel is None:
            raise ClosedError("this Responder is not open: async with Responder(…) as responder")
        return self._channel

    async def send(self, packet: bytes) -> None:
        """Give the network a packet, from the IP header on."""
        await self.channel.send(packet)

    async def __aenter__(self) -> Self:
        """Open the device, and wait until packets pass by it both ways.

        Raises:
            What `open_tun` raises.
            TimeoutError: The device took packets and none arrived, for half a minute.
        """
        async with AsyncExitStack() as stack:
            door = doors.open_tun(addresses=self._addresses, helper=self._helper)
            self._channel = await stack.enter_async_context(door)
            for own in self._addresses:
                await self._settle(own.ip)
            self._group = await stack.enter_async_context(anyio.create_task_group())
            self._group.start_soon(self._serve)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._group.cancel_scope.cancel()
        # The block's own error is not of the group's: it would arrive in an ExceptionGroup.
        ours = error if isinstance(error, anyio.get_cancelled_exc_class()) else None
        await self._stack.__aexit__(type(ours) if ours else None, ours, traceback)

    async def _settle(self, own: IpAddress) -> None:
        """Until packets to an address of the device arrive, as those that answers are do.

        The kernel makes the route to an IPv6 address after the address (addrconf_dad_completed() in
        net/ipv6/addrconf.c), and throws away what comes in between.
        """
        door = doors.open(0, protocol="udp", ip=own, helper=self._helper)
        received = False
        with anyio.fail_after(_UNTIL):
            async with door as probe:
                while not received:
                    await probe.sendto(b"?", probe.address)
                    with anyio.move_on_after(_PATIENCE):
                        await probe.receive()
                        received = True

    async def _serve(self) -> None:
        async for packet in self.channel:
            request = EchoRequest.of(packet.data)
            if request is None:
                continue
            self.requests[request.target] += 1
            if self._answer is not None:
                self._group.start_soon(self._answer, self, request)
                continue
            # Here, for tasks may begin in any order.
            lost, doubled, when = (self._chance.random() for _ in range(3))
            if lost >= self._loss:
                replies = 2 if doubled < self._duplicates else 1
                self._group.start_soon(self._reply, request, when, replies)

    async def _reply(self, request: EchoRequest, when: float, replies: int) -> None:
        least, most = self._delay
        if most:
            await anyio.sleep(least + when * (most - least))
        for _ in range(replies):
            await self.send(request.reply())


Answer: TypeAlias = Callable[[Responder, EchoRequest], Coroutine[Any, Any, None]]


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise SpecError(f"{name} {value!r} goes from 0 to 1")
    return value
