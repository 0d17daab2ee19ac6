"""A whole link: who is there?"""

import ipaddress
from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, Literal, Self

from ..bounds import positive
from ..errors import ClosedError, SpecError
from ..helper import HelperLike
from ..readiness import checkpoint
from ..spec import IpAddress
from .ask import check_patience
from .link import Link, Place, open_link
from .neighbour import Neighbour
from .questions import ALL_NODES
from .roll import Roll
from .sweep import Sweep

__all__ = ("Scan", "scan")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_ANYWHERE: Final = ipaddress.IPv4Address("192.0.2.1")  # RFC 5737: the default route leads to it
_MANY: Final = 1 << 16  # addresses that are asked for one by one


def scan(
    interface: str | None = None,
    network: str | _Network | None = None,
    *,
    family: Literal[4, 6] | None = None,
    rate: float = 500.0,
    timeout: float = 1.0,
    retries: int = 1,
    namespace: str | None = None,
    helper: HelperLike = None,
) -> "Scan":
    """Look for all hosts on a link: ``async for neighbour in aioprocket.scan("eth0")``.

    IPv4 hosts are asked for one by one, by ARP. IPv6 hosts answer an echo request to all of them,
    but some are configured not to; addresses of an IPv6 network are asked for one by one.

    Args:
        interface: Where; None: where the way to the network leads, or the default route.
        network: Whose addresses to ask for, 65,536 at most; None: the interface's own IPv4
            networks, and all hosts with IPv6. This machine's own addresses are not listed.
        family: 4 or 6: only these hosts; None: both.
        rate: Questions for each second.
        timeout: Seconds to wait for an answer.
        retries: Questions after the first, to whoever does not answer.
        namespace: As `aioprocket.open`.
        helper: As `aioprocket.open`.

    Raises:
        SpecError: At the call: an argument cannot be. With the first host: the interface's network
            is too large, or it has no hardware addresses.
        And what `aioprocket.arp` raises, with the first host.
    """
    wanted = None if network is None else _network(network, family)
    if family not in (None, 4, 6):
        raise SpecError(f"family {family!r} is not 4, 6 or None")
    positive("rate", rate, "questions per second")
    check_patience(timeout, retries)
    toward = _ANYWHERE if wanted is None else wanted[0]
    return Scan(
        Place(interface, toward, namespace, helper, on_link=wanted is not None),
        wanted,
        family,
        rate,
        timeout,
        retries,
    )


def _network(network: Any, family: int | None) -> _Network:
    try:
        found = ipaddress.ip_network(str(network), strict=False)
    except ValueError as error:
        raise SpecError(f"{network!r} is no network, as 192.0.2.0/24 is one") from error
    if family not in (None, found.version):
        raise SpecError(f"{network} is a network of IPv{found.version}, not of IPv{family}")
    if found.num_addresses > _MANY:
        raise SpecError(f"{network} has {found.num_addresses} addresses: at most {_MANY}")
    return found


class Scan:
    """An iterator over the hosts of a link as they answer, for one task.

    It asks and hears while a host is asked for. The socket is closed after the last one, by
    `aclose`, at the end of an ``async with``, and when nobody holds the scan any more.

    Attributes:
        total: Hosts that are asked for; None: not known yet. All hosts with IPv6 are one.
        interface: Where; None: not known yet.
    """

    def __init__(
        self,
        place: Place,
        network: _Network | None,
        family: Literal[4, 6] | None,
        rate: float,
        timeout: float,
        retries: int,
    ) -> None:
        self._place = place
        self._network = network
        self._family = family
        self._pace = rate, timeout, retries
        self._link: Link | None = None
        self._sweep: Sweep[IpAddress] | None = None
        self._heard: deque[Neighbour] = deque()
        self._roll = Roll()
        self._ended = False
        self.total: int | None = None
        self.interface = place.interface

    @property
    def sent(self) -> int:
        """Questions until now, those that were asked again included."""
        return 0 if self._sweep is None else self._sweep.sent

    @property
    def strays(self) -> int:
        """Answers to nothing that was asked: late, twice, or forged; they are not told.

        Of an address eight hosts are believed; of a host 64 addresses that were not asked for one
        by one; and 65,536 of all hosts. None is believed to be at the hardware address of a group.
        """
        return self._roll.refused + (0 if self._link is None else self._link.strays)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Neighbour:
        if self._heard:
            await checkpoint()
            return self._heard.popleft()
        if self._ended:
            raise StopAsyncIteration
        try:
            link, sweep = await self._start()
            while not sweep.done:
                for neighbour, target in await link.advance(sweep):
                    asked = target != ALL_NODES
                    if asked:
                        sweep.answered(target)
                    if self._roll.add(neighbour.ip, neighbour.hwaddr, asked=asked):
                        self._heard.append(neighbour)
                if self._heard:
                    return self._heard.popleft()
        except Exception:
            await self.aclose()
            raise
        await self.aclose()
        raise StopAsyncIteration

    async def _start(self) -> tuple[Link, Sweep[IpAddress]]:
        if self._link is None or self._sweep is None:
            link = await open_link(self._place)
            try:
                if self._ended:
                    raise ClosedError(f"scan of {link.interface}: closed")
                targets, self.total = self._targets(link)
            except BaseException:
                link.close()
                raise
            rate, timeout, retries = self._pace
            self._sweep = Sweep(targets, rate=rate, timeout=timeout, retries=retries)
            self._link = link
            self.interface = link.interface
        return self._link, self._sweep

    def _targets(self, link: Link) -> tuple[Iterator[IpAddress], int]:
        """Whom to ask, and how many they are."""
        own = {address.ip for address in link.addresses}
        if self._network is not None:
            networks: list[_Network] = [self._network]
        elif self._family == 6:
            networks = []
        else:
            found = {a.network: None for a in link.addresses if a.version == 4}
            networks = [network for network in found if network.num_addresses > 1]
        for network in networks:
            _network(network, None)
        everybody: list[IpAddress] = []
        if self._network is None and self._family != 4:
            everybody = [ALL_NODES] if any(a.version == 6 for a in link.addresses) else []
        if not networks and not everybody:
            raise SpecError(
                f"{link.interface} has no address whose network could be scanned",
                hint="say which network: network=",
            )
        hosts = (ip for network in networks for ip in network.hosts() if ip not in own)
        count = sum(_hosts(network, own) for network in networks)
        return chain(everybody, hosts), count + len(everybody)

    async def aclose(self) -> None:
        """End the scan; who waits in it gets `ClosedError`. Idempotent."""
        self._ended = True
        if self._link is not None:
            await self._link.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # A loop that was left by break: there is nothing to wait for, so nothing to warn of.
        if not getattr(self, "_ended", True) and self._link is not None:
            self._link.close()


def _hosts(network: _Network, own: set[IpAddress]) -> int:
    """How many addresses of a network are a host's, and not ours."""
    edge = network.max_prefixlen - network.prefixlen
    # IPv4 keeps the first and the last for itself; IPv6 the first: ip_network().hosts().
    kept = 0 if edge <= 1 else 2 if network.version == 4 else 1
    hosts = network.num_addresses - kept
    return hosts - sum(1 for address in own if address in network)
