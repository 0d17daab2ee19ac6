"""How large a packet may be on the way to a host, without being cut."""

import errno
import time
from dataclasses import dataclass
from typing import Final, Literal

from ..bounds import whole
from ..errors import ChannelError
from ..helper import HelperLike
from ..resolve import check_link, resolve_host
from ..spec import IpAddress
from ..wire.icmp import ErrorKind
from .arrival import Arrival
from .opening import open_prober
from .prober import Prober
from .request import Flavour, TraceRequest
from .search import LEAST, MtuSearch

__all__ = ("MtuLimit", "PathMtu", "path_mtu")

_MOST: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class MtuLimit:
    """A router that said what passes its next link: ``mtu`` bytes; None: it did not say."""

    address: IpAddress
    mtu: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMtu:
    """What was found.

    Attributes:
        mtu: The largest packet that arrived whole, in bytes with its IP header; None: the host
            answers not even the smallest.
        limits: The routers that said that a packet was too big, in the order of saying so.
        black_hole: Packets that are too big vanish in silence somewhere: TCP hangs on such a way.
        probes: How many packets were sent.
    """

    mtu: int | None
    limits: tuple[MtuLimit, ...]
    black_hole: bool
    probes: int


async def path_mtu(
    host: str | IpAddress,
    *,
    method: Literal["icmp", "udp"] | None = None,
    family: Literal[4, 6] | None = None,
    timeout: float = 1.0,
    retries: int = 1,
    most: int | None = None,
    port: int | None = None,
    interface: str | None = None,
    source: str | IpAddress | None = None,
    namespace: str | None = None,
    mark: int | None = None,
    helper: HelperLike = None,
    type: Flavour = "auto",
) -> PathMtu:
    """Find the path MTU by packets that must not be cut. What the kernel believes is not asked.

    Routers' words are taken as hints, and tried; where they are silent, it is found by halving.

    Args:
        host: As `traceroute`.
        method: ``"icmp"`` or ``"udp"``; None: as `traceroute`.
        timeout: Seconds that an answer may take.
        retries: How often a size that was lost is tried again.
        most: Where to begin, in bytes; None: the largest packet that there is, which the interface
            refuses at once.
        port: As `traceroute`, and so are the rest.

    Raises:
        What `traceroute` raises.
    """
    whole("retries", retries, 0, 100)
    if most is not None:
        whole("most", most, LEAST[6], _MOST)
    # Method tcp has no size, and is refused with one.
    request = TraceRequest(
        host=host, method=method, family=family, timeout=timeout, port=port, size=LEAST[6],
        interface=interface, source=source, namespace=namespace, mark=mark, helper=helper,
        type=type,
    )  # fmt: skip
    address = (await resolve_host(host, family))[0]
    check_link(address, interface)
    prober = await open_prober(request, address)
    try:
        prober.forbid_fragments()
        finder = _Finder(prober, timeout, retries)
        search = MtuSearch(LEAST[address.version], most or _MOST)
        return await finder.find(search)
    finally:
        prober.close()


class _Finder:
    def __init__(self, prober: Prober, timeout: float, retries: int) -> None:
        self._prober = prober
        self._timeout = timeout
        self._tries = retries + 1
        self._number = 0
        self._limits: dict[MtuLimit, None] = {}

    async def find(self, search: MtuSearch) -> PathMtu:
        while (size := search.size()) is not None:
            await self._try(search, size)
        return PathMtu(
            mtu=search.mtu,
            limits=tuple(self._limits),
            black_hole=search.black_hole,
            probes=self._number,
        )

    async def _try(self, search: MtuSearch, size: int) -> None:
        for _ in range(self._tries):
            try:
                self._number += 1
                self._prober.resize(size)
                await self._prober.send(self._number, 255)
            except ChannelError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                self._number -= 1
                search.too_big(size, None)
                return
            arrival = await self._answer()
            if arrival is None:
                continue
            said = arrival.error
            if said is not None and said.kind is ErrorKind.PACKET_TOO_BIG:
                self._limits[MtuLimit(address=arrival.address, mtu=said.mtu)] = None
                search.too_big(size, said.mtu)
                return
            if arrival.reached:
                search.arrived(size)
                return
        search.lost(size)

    async def _answer(self) -> Arrival | None:
        """The answer to the last probe."""
        ends = time.monotonic() + self._timeout
        while True:
            for arrival in self._prober.receive():
                # One that does not say to what: only one is out.
                if arrival.number in (self._number, None):
                    return arrival
            left = ends - time.monotonic()
            if left <= 0:
                return None
            await self._prober.wait(left)
