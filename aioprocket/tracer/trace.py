"""A trace as a program sees it: hops, one after the other, each as soon as it is known."""

from typing import Literal

from ..helper import HelperLike
from ..readiness import checkpoint
from ..spec import IpAddress
from .flow import Method
from .hop import Hop
from .journey import Journey
from .path import Path
from .request import Flavour, TraceRequest

__all__ = ("Trace", "traceroute")


def traceroute(
    host: str | IpAddress,
    *,
    method: Method | None = None,
    family: Literal[4, 6] | None = None,
    max_hops: int = 30,
    first_hop: int = 1,
    probes: int = 3,
    timeout: float = 1.0,
    parallel: int | None = None,
    port: int | None = None,
    size: int | None = None,
    interface: str | None = None,
    source: str | IpAddress | None = None,
    namespace: str | None = None,
    mark: int | None = None,
    helper: HelperLike = None,
    type: Flavour = "auto",
) -> "Trace":
    """Follow the way to a host: ``async for hop in aioprocket.traceroute(host)``.

    Nothing is looked up, opened or sent before the first hop is asked for. All probes of a trace
    are one flow, so that routers that share load by flows send each the same way; but TCP without
    privilege takes a port for each.

    Args:
        host: A name or an address; of a name's addresses, the first.
        method: ``"icmp"``: echo requests. ``"udp"``: datagrams to a port that nobody serves.
            ``"tcp"``: SYN segments; no connection is made. None: ICMP, or UDP where this process
            may not.
        family: 4 or 6; None: as the resolver prefers.
        max_hops: Where to give up: 1 to 255.
        first_hop: Where to begin.
        probes: How many for each hop.
        timeout: Seconds that an answer may take.
        parallel: How many probes are out at a time; 1: one after the other. None: 48, and 18 of
            UDP, since hosts limit how many errors they send.
        port: Of the destination: 33434 for UDP, 80 for TCP.
        size: Bytes of a whole packet, IP header included: 60, and 80 of IPv6. Not of TCP.
        interface: Send by this interface.
        source: Send from this address.
        namespace: As `aioprocket.open`.
        mark: As `aioprocket.open`.
        helper: As `aioprocket.open`. One that is named, and refuses the raw ICMP socket, is not
            passed over: it may be in another network, from which the way is another.
        type: ``"raw"``: answers by a raw ICMP socket. ``"dgram"``: by the kernel's error
            queue, without privilege or helper; ICMP then takes a ping socket. ``"auto"``: raw if
            it is permitted.

    Raises:
        SpecError: At the call: an argument cannot be.
        ResolutionError: With the first hop, and so are the rest: the host has no address.
        NotPermittedError: No way to send such probes is permitted.
        ChannelError: This machine does not send them: no route.
        And what `aioprocket.open` raises.
    """
    return Trace(
        TraceRequest(
            host=host, method=method, family=family, max_hops=max_hops, first_hop=first_hop,
            probes=probes, timeout=timeout, parallel=parallel, port=port, size=size,
            interface=interface, source=source, namespace=namespace, mark=mark, helper=helper,
            type=type,
        )
    )  # fmt: skip


class Trace(Journey[Path]):
    """An iterator over hops; each is given once, in the order of the way, to one task.

    It sends and receives while a hop is asked for. The sockets are closed after the last hop, by
    `close`, at the end of an ``async with``, and when nobody holds the trace any more.
    """

    async def __anext__(self) -> Hop:
        if self._ended:
            raise StopAsyncIteration
        with self._until_closed():
            walk, path = await self._start()
            await checkpoint()
            while True:
                walk.gather()
                hop = path.pop()
                if hop is not None:
                    return hop
                if path.done:
                    break
                await walk.advance()
        self.close()
        raise StopAsyncIteration

    def _plan(self, method: Method) -> Path:
        request = self._request
        return Path(
            first_hop=request.first_hop,
            max_hops=request.max_hops,
            probes=request.probes,
            parallel=request.parallel_of(method),
            timeout=request.timeout,
        )
