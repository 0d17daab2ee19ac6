"""The hosts of a sweep, a batch at a time."""

import ipaddress
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any, Final

import anyio

from ..errors import AioprocketError, ResolutionError, SpecError
from .feed import Feed
from .settings import Settings
from .targets import Hosts, Network, Target, Unresolved, check_version, literal, targets_of

__all__ = ("Source",)

_LOOKUPS: Final = 32  # at once
_NETWORKS: Final = (ipaddress.IPv4Network, ipaddress.IPv6Network)
_ADDRESSES: Final = (ipaddress.IPv4Address, ipaddress.IPv6Address)


class Source:
    """Items that a table of probes takes, or that `targets` has to be made of.

    Args:
        hosts: As `Pinger.sweep` takes them.
        settings: What the targets have to fit.

    Raises:
        SpecError: ``hosts`` is one host, or one of them has a slash and is no network.
        ResolutionError: It is a network of the other version of IP.
    """

    def __init__(self, hosts: Hosts, settings: Settings) -> None:
        self._settings = settings
        self._feed: Feed | None = None
        self._sequence: Sequence[Any] | None = None
        self._single = False
        self._named: Sequence[Any] = ()  # as far as it is known without asking an iterator
        # The last is asked first.
        self._iterators: list[Iterator[Any]] = []
        if isinstance(hosts, AsyncIterable):
            self._feed = Feed(hosts)
        elif isinstance(hosts, _NETWORKS):
            self._named = (hosts,)
            self.push_network(hosts)
        elif isinstance(hosts, str | bytes | _ADDRESSES[0] | _ADDRESSES[1]):
            raise SpecError(
                f"hosts {hosts!r} is one host, not an iterable of them",
                hint="say [host], or use ping()",
            )
        elif isinstance(hosts, list | tuple):
            if _have_networks(hosts):
                hosts = [_network_of(host) or host for host in hosts]
            self._sequence = self._named = hosts
            self._single = len(hosts) == 1
        elif isinstance(hosts, Iterable):
            self._iterators.append(iter(hosts))
        else:
            raise SpecError(f"hosts {hosts!r} is no iterable")

    def names(self, host: Any) -> bool:
        """Whether it is one of a list or tuple, by itself or as part of a network."""
        text = str(host)
        if any(str(each) == text for each in self._named):
            return True
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return any(isinstance(each, _NETWORKS) and address in each for each in self._named)

    def count(self) -> int:
        """Hosts, as far as is known without asking an iterator."""
        return sum(each.num_addresses if isinstance(each, _NETWORKS) else 1 for each in self._named)

    async def batch(self, count: int) -> list[Any] | None:
        """The next items, ``count`` at most; none: there are no more; None: not yet.

        Raises:
            ResolutionError: The only name of a list or tuple is not known, or an address is of the
                other version of IP; this is the first call then.
            SpecError: One of them is an address of many hosts.
        """
        if self._sequence is not None:
            sequence, self._sequence = self._sequence, None
            self._iterators.append(iter(await self._with_addresses(sequence)))
        while self._iterators:
            items = list(islice(self._iterators[-1], count))
            if items:
                return items
            self._iterators.pop()
        return [] if self._feed is None else self._feed.take(count)

    @property
    def has_more(self) -> bool:
        """Whether `batch` has something that was not there yet."""
        return self._feed is not None and self._feed.has_more

    def interrupting(self) -> AbstractContextManager[None]:
        """What is awaited within is over when `batch` has something that was not there yet."""
        assert self._feed is not None  # else it all was there
        return self._feed.interrupting()

    async def aclose(self) -> None:
        """Take no more from an asynchronous iterable. Idempotent."""
        if self._feed is not None:
            await self._feed.aclose()

    def push(self, items: list[Any]) -> None:
        """Give items back: they are the next ones."""
        self._iterators.append(iter(items))

    def push_network(self, network: Network) -> None:
        """All addresses of a network come next.

        Raises:
            ResolutionError: They are of the other version of IP.
        """
        check_version(network, network.version, self._settings)
        length = network.max_prefixlen // 8
        first = int(network.network_address)
        numbers = range(first, first + network.num_addresses)
        self._iterators.append(number.to_bytes(length, "big") for number in numbers)

    async def targets(self, items: list[Any]) -> list[Any] | None:
        """The items from the first on that a table does not take, with targets in its place.

        In place of a name that is one of several hosts, and not known, is an `Unresolved`.

        Returns:
            None: it was a network, and all of it is what comes next.

        Raises:
            ResolutionError: It is an address of the other version, or the only host.
            SpecError: It is no host.
        """
        first = _network_of(items[0]) or items[0]
        if isinstance(first, _NETWORKS):
            self.push(items[1:])
            self.push_network(first)
            return None
        if not isinstance(first, (str, *_ADDRESSES)):
            raise SpecError(f"{first!r} is no host")
        return [*await self._targets_of(first), *map(_simple, items[1:])]

    async def _targets_of(self, host: Any) -> Sequence[Target | Unresolved]:
        try:
            return await targets_of(host, self._settings)
        except ResolutionError:
            if self._single or literal(host) is not None:
                raise
            return [Unresolved(host, self._settings.version or 4)]

    async def each(self) -> AsyncGenerator[Target | Unresolved, None]:
        """Every host as a target.

        Raises:
            What `batch` and `targets` raise.
        """
        try:
            while (items := await self.batch(1)) != []:
                if items is None:
                    with self.interrupting():
                        await anyio.sleep_forever()
                    continue
                item = items[0]
                if isinstance(item, Target | Unresolved):
                    yield item
                elif isinstance(item, bytes):
                    yield Target("", item)
                elif (found := await self.targets(items)) is not None:
                    for target in found:
                        yield target
        finally:
            await self.aclose()

    async def _with_addresses(self, hosts: Sequence[Any]) -> Sequence[Any]:
        """The same, with the names looked up: nothing is sent before it is known what can be."""
        names = []
        for at, host in enumerate(hosts[:1] if _are_literals(hosts) else hosts):
            version = _version_of(host)
            if version is not None:
                check_version(host, version, self._settings)
            elif isinstance(host, str):
                names.append(at)
        if not names:
            return hosts
        found: dict[int, Sequence[Target | Unresolved]] = {}
        failures: list[AioprocketError] = []
        limit = anyio.CapacityLimiter(_LOOKUPS)
        async with anyio.create_task_group() as group:
            for at in names:
                group.start_soon(partial(self._look_up, found, at, hosts[at], limit, failures))
        if failures:
            raise failures[0]
        return [each for at, host in enumerate(hosts) for each in found.get(at, (host,))]

    async def _look_up(
        self,
        found: dict[int, Sequence[Target | Unresolved]],
        at: int,
        host: str,
        limit: anyio.CapacityLimiter,
        failures: list[AioprocketError],
    ) -> None:
        async with limit:
            if failures:
                return
            try:
                found[at] = await self._targets_of(host)
            except AioprocketError as error:
                failures.append(error)


def _network_of(host: Any) -> Network | None:
    """The network that a text with a slash is; None: something else.

    Raises:
        SpecError: It has a slash, and is no network.
    """
    if not isinstance(host, str) or "/" not in host:
        return None
    try:
        return ipaddress.ip_network(host, strict=False)
    except ValueError:
        raise SpecError(
            f"{host!r} is no network", hint="one is like 192.0.2.0/24 or 2001:db8::/120"
        ) from None


def _have_networks(hosts: Sequence[Any]) -> bool:
    """Whether there is a slash in any text: a look at all of them at once."""
    try:
        return "/" in "".join(hosts)
    except TypeError:
        return any(isinstance(host, str) and "/" in host for host in hosts)


def _are_literals(hosts: Sequence[Any]) -> bool:
    """Whether these can only be addresses of IPv4: a look at all of them at once."""
    try:
        return "".join(hosts).replace(".", "").isdigit()
    except TypeError:
        return False


def _version_of(host: Any) -> int | None:
    """The version of IP of an address or network; None: it is a name, or nothing of these."""
    if not isinstance(host, str):
        return getattr(host, "version", None)
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def _simple(item: Any) -> Any:
    """An address without a scope as the bytes that a table takes."""
    if isinstance(item, _ADDRESSES) and not getattr(item, "scope_id", None):
        return item.packed
    return item
