"""A path watched for as long as somebody wants to know: what mtr(8) shows."""

import time
from typing import Any, Final, Literal, Self

from ..bounds import seconds, whole
from ..helper import HelperLike
from ..readiness import checkpoint
from ..resolve import resolve_host
from ..spec import IpAddress
from .flow import Method
from .opening import open_prober
from .request import Flavour, TraceRequest
from .walk import Walk
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


class PathWatch:
    """An iterator over snapshots, for one task.

    It sends and receives while a snapshot is asked for. The sockets are closed after the last one,
    by `close`, at the end of an ``async with``, and when nobody holds the watch any more.
    """

    def __init__(self, request: TraceRequest, interval: float, rounds: int | None) -> None:
        self._request = request
        self._interval = interval
        self._rounds = rounds
        self._walk: Walk | None = None
        self._watch: Watch | None = None
        self._ended = False
        self._address: IpAddress | None = None

    @property
    def address(self) -> IpAddress | None:
        """Where the probes go; None before the first snapshot was asked for."""
        return self._address

    @property
    def method(self) -> Method | None:
        """What is sent; None: not decided yet."""
        return self._request.method if self._walk is None else self._walk.prober.method

    @property
    def type(self) -> Literal["raw", "dgram"] | None:
        """By which socket answers come; None: not opened yet."""
        return None if self._walk is None else self._walk.prober.type

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Snapshot:
        if self._ended:
            raise StopAsyncIteration
        try:
            walk, watch = await self._start()
            await checkpoint()
            while True:
                walk.gather()
                snapshot = watch.tick(time.monotonic())
                if snapshot is not None:
                    break
                await walk.advance()
        except Exception:
            self.close()
            raise
        if watch.done:
            self.close()
        return snapshot

    async def _start(self) -> tuple[Walk, Watch]:
        if self._walk is None or self._watch is None:
            request = self._request
            self._address = (await resolve_host(request.host, request.family))[0]
            prober = await open_prober(request, self._address)
            self._watch = Watch(
                first_hop=request.first_hop,
                max_hops=request.max_hops,
                parallel=request.parallel_of(prober.method),
                timeout=request.timeout,
                interval=self._interval,
                rounds=self._rounds,
            )
            self._walk = Walk(prober, self._watch)
        return self._walk, self._watch

    def close(self) -> None:
        """End the watch. Idempotent."""
        self._ended = True
        if self._walk is not None:
            self._walk.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: Any) -> None:
        self.close()

    def __del__(self) -> None:
        # A loop that was left by break: there is nothing to wait for, so nothing to warn of.
        if not getattr(self, "_ended", True):
            self.close()
