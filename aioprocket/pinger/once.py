"""Ping one host, once."""

from typing import Literal

from ..helper import HelperLike
from ..spec import IpAddress
from .echo import PingResult
from .pinger import Pinger
from .targets import Host

__all__ = ("ping",)


async def ping(
    host: Host,
    *,
    count: int = 4,
    interval: float = 1.0,
    timeout: float = 1.0,
    size: int = 56,
    ttl: int | None = None,
    family: Literal[4, 6] | None = None,
    addresses: Literal["first", "happy"] = "first",
    tos: int | None = None,
    df: bool | None = None,
    pattern: bytes | None = None,
    source: str | IpAddress | None = None,
    interface: str | None = None,
    namespace: str | None = None,
    mark: int | None = None,
    type: Literal["auto", "dgram", "raw"] = "auto",
    broadcast: bool = False,
    helper: HelperLike = None,
    jitter: float = 0.0,
    deadline: float | None = None,
) -> PingResult:
    """Send ``count`` probes to one host, by a socket for them alone.

    The arguments are those of `Pinger` and `Pinger.ping`. Loss is data, and no exception.

    Raises:
        SpecError: The arguments cannot be; nothing was opened.
        ResolutionError: The host has no such address; nothing was sent.
        And what `aioprocket.open_icmp` raises.
    """
    pinger = Pinger(
        type=type,
        family=family,
        addresses=addresses,
        source=source,
        interface=interface,
        namespace=namespace,
        mark=mark,
        ttl=ttl,
        tos=tos,
        df=df,
        size=size,
        pattern=pattern,
        broadcast=broadcast,
        helper=helper,
    )
    async with pinger:
        return await pinger.ping(
            host,
            count=count,
            interval=interval,
            timeout=timeout,
            jitter=jitter,
            deadline=deadline,
        )
