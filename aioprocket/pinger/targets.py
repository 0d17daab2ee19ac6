"""From what a caller names to addresses: names are looked up, networks are counted through."""

import ipaddress
import socket
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from ..errors import ResolutionError, SpecError
from ..resolve import check_host, check_link, resolve_host
from ..spec import IpAddress
from .echo import Echo, EchoError
from .routes import first_with_route
from .settings import Settings

__all__ = (
    "UNRESOLVED",
    "Host",
    "Hosts",
    "Network",
    "Target",
    "Unresolved",
    "addresses_of",
    "check",
    "check_version",
    "is_for_many",
    "literal",
    "one_target",
    "targets_of",
)

# What a name is told by that is one of several hosts, and has no address.
UNRESOLVED: Final = EchoError(kind="unresolved")
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Host: TypeAlias = str | IpAddress
Hosts: TypeAlias = Network | Iterable[Host | Network] | AsyncIterable[Host]


class Target(NamedTuple):
    """An address to ask.

    Attributes:
        host: As it was named; empty: by its address.
        packed: 4 or 16 bytes.
        scope: The interface's index of a link-local address of IPv6.
    """

    host: str
    packed: bytes
    scope: int = 0

    @property
    def version(self) -> Literal[4, 6]:
        """Of IP."""
        return 4 if len(self.packed) == 4 else 6

    @property
    def address(self) -> IpAddress:
        """As an object."""
        return ipaddress.ip_address(self.packed)


class Unresolved:
    """A name without an address, among other hosts: it has an echo, and gets no probe.

    Args:
        host: The name.
        version: Of IP, of the address that it does not have.
    """

    def __init__(self, host: str, version: Literal[4, 6]) -> None:
        self.target = Target(host, bytes(4 if version == 4 else 16))

    def echo(self) -> Echo:
        """Its end, which is there at once."""
        return Echo(self.target.host, self.target.packed, 0, error=UNRESOLVED)


def literal(host: Host) -> Target | None:
    """The target that an address is; None: ``host`` is a name.

    Raises:
        SpecError: ``host`` is neither; or an address names an interface that is not there.
    """
    if isinstance(host, str):
        try:
            return Target(host, socket.inet_pton(socket.AF_INET, host))
        except (OSError, ValueError):
            pass
        try:
            address: IpAddress = ipaddress.IPv6Address(host)
        except ValueError:
            return None
    else:
        address = ipaddress.ip_address(check_host(host))
    scope = getattr(address, "scope_id", None)
    return Target(str(host), address.packed, _scope(str(host), scope) if scope else 0)


def _scope(host: str, name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise SpecError(f"{host}: there is no interface {name!r}") from None


async def one_target(host: Host, settings: Settings) -> Target:
    """The one address of a host that a pinger with these settings asks.

    Raises:
        What `targets_of` raises. SpecError, too: it would ask all of a name's.
    """
    if settings.addresses == "all" and literal(host) is None:
        raise SpecError(
            f"{host}: addresses='all' of a name are not one host",
            hint="sweep and monitor ask each of them, and so does a ping to each of resolve(host)",
        )
    return (await targets_of(host, settings))[0]


async def targets_of(host: Host, settings: Settings) -> list[Target]:
    """The addresses of a host that a pinger with these settings asks: one, or all of a name's.

    Raises:
        ResolutionError: The name is not known, or has no address of the version.
        SpecError: A broadcast or multicast address, without the flag for it.
    """
    target = literal(host)
    if target is not None:
        found = [target]
    else:
        found = [_named(str(host), address) for address in await addresses_of(host, settings)]
    for each in found:
        check(each, settings)
    return found


async def addresses_of(host: Host, settings: Settings) -> Sequence[IpAddress]:
    """As `targets_of`, but nothing is refused for being an address of many hosts.

    Raises:
        ResolutionError: The name is not known, or has no address of the version.
    """
    addresses = await resolve_host(host, settings.version)
    match settings.addresses:
        case "all":
            return addresses
        case "happy":
            return (await first_with_route(str(host), addresses, settings),)
        case "first":
            return addresses[:1]


def _named(name: str, address: IpAddress) -> Target:
    scope = getattr(address, "scope_id", None)
    return Target(name, address.packed, _scope(name, scope) if scope else 0)


def check(target: Target, settings: Settings) -> None:
    """Refuse what cannot be asked by a pinger with these settings.

    Raises:
        ResolutionError: An address of the other version.
        SpecError: A broadcast or multicast address, without the flag for it; or one of a link,
            and neither says of which.
    """
    check_version(target.host or target.address, target.version, settings)
    if not target.scope:
        check_link(target.address, settings.interface)
    if not settings.broadcast and is_for_many(target.packed):
        raise SpecError(
            f"{target.host or target.address} is an address of many hosts",
            hint="broadcast=True, or -b, asks all of them",
        )


def check_version(host: Host | Network, version: int, settings: Settings) -> None:
    """Refuse an address of a version of IP that a pinger with these settings does not ask.

    Raises:
        ResolutionError: It is of the other version.
    """
    if settings.version in (None, version):
        return
    what = "a network" if isinstance(host, Network) else "an address"
    raise ResolutionError(
        f"{host} is {what} of IPv{version}, not of IPv{settings.version}", host=str(host)
    )


def is_for_many(packed: bytes) -> bool:
    """Whether it is a multicast address, or the broadcast address of every network."""
    if len(packed) == 4:
        return packed[0] >> 4 == 14 or packed == b"\xff\xff\xff\xff"
    return packed[0] == 0xFF
