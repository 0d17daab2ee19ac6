"""A path watched for as long as somebody wants to know: what mtr(8) shows."""

import time
from typing import Final, Literal

from ..bounds import seconds, whole
from ..helper import HelperLike
from ..readiness import checkpoint
from ..spec import IpAddress
from .flow import Method
from .journey import Journey
from .request import Flavour, TraceRequest
from .watch import Snapshot, Watch

__all__ = ("PathWatch", "mtr")

_MANY: Final = 2**31


def mtr(
    host: str | IpAddress,
    *,
    interval: float = 1.0,
    rounds: int | None = None,
    method: Method | None = None,
    family: Literal[4, 6] | None = None,
    max_hops: int = 30,
    first_hop: int = 1,
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
) -> "PathWatch":
    """Watch the way to a host: ``async for snapshot in aioprocket.mtr(host)``.

    Each round sends one probe for each hop; each snapshot has all hops with what is known since the
    beginning. Nothing is looked up, opened or sent before the first is asked for.

    Args:
        host: As `traceroute`.
        interval: Seconds from round to round, and so from snapshot to snapshot.
        rounds: How many; the last snapshot then comes when the last answer is in, or given up.
            None: for ever.
        timeout: Seconds that an answer may take. It may be longer than the interval.
        method: As `traceroute`, and so are the rest.

    Raises:
        What `traceroute` raises.
    """
    seconds("interval", interval)
    if rounds is not None:
        whole("rounds", rounds, 1, _MANY)
    request = TraceRequest(
        host=host, method=method, family=family, max_hops=max_hops, first_hop=first_hop, probes=1,
        timeout=timeout, parallel=parallel, port=port, size=size, interface=interface,
        source=source, namespace=namespace, mark=mark, helper=helper, type=type,
    )  # fmt: skip
    return PathWatch(request, interval, rounds)


class PathWatch(Journey[Watch]):
    """An iterator over snapshots, for one task.

    It sends and receives while a snapshot is asked for. The sockets are closed after the last one,
    by `close`, at the end of an ``async with``, and when nobody holds the watch any more.
    """

    def __init__(self, request: TraceRequest, interval: float, rounds: int | None) -> None:
        super().__init__(request)
        self._interval = interval
        self._rounds = rounds

    async def __anext__(self) -> Snapshot:
        if self._ended:
            raise StopAsyncIteration
        with self._until_closed():
            walk, watch = await self._start()
            await checkpoint()
            while True:
                walk.gather()
                snapshot = watch.tick(time.monotonic())
                if snapshot is not None:
                    break
                await walk.advance()
        if watch.done:
            self.close()
        return snapshot

    def _plan(self, method: Method) -> Watch:
        request = self._request
        return Watch(
            first_hop=request.first_hop,
            max_hops=request.max_hops,
            parallel=request.parallel_of(method),
            timeout=request.timeout,
            interval=self._interval,
            rounds=self._rounds,
        )
