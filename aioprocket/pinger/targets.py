"""From what a caller names to addresses: names are looked up, networks are counted through."""

import ipaddress
import socket
from collections.abc import AsyncIterable, Iterable
from typing import Literal, NamedTuple, TypeAlias

from ..errors import ResolutionError, SpecError
from ..resolve import resolve_host
from ..spec import IpAddress
from .settings import Settings

__all__ = (
    "Host",
    "Hosts",
    "Network",
    "Target",
    "check",
    "check_version",
    "first_target",
    "is_for_many",
    "literal",
)

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


def literal(host: Host) -> Target | None:
    """The target that an address is; None: ``host`` is a name."""
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
        address = host
    scope = getattr(address, "scope_id", None)
    return Target(str(host), address.packed, _scope(str(host), scope) if scope else 0)


def _scope(host: str, name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise SpecError(f"{host}: there is no interface {name!r}") from None


async def first_target(host: Host, settings: Settings) -> Target:
    """The address of a host that a pinger with these settings asks: the resolver's first choice.

    Raises:
        ResolutionError: The name is not known, or has no address of the version.
        SpecError: A broadcast or multicast address, without the flag for it.
    """
    target = literal(host)
    if target is None:
        found = (await resolve_host(host, settings.version))[0]
        target = Target(str(host), found.packed)
    check(target, settings)
    return target


def check(target: Target, settings: Settings) -> None:
    """Refuse what cannot be asked by a pinger with these settings.

    Raises:
        ResolutionError: An address of the other version.
        SpecError: A broadcast or multicast address, without the flag for it.
    """
    check_version(target, settings)
    if not settings.broadcast and is_for_many(target.packed):
        raise SpecError(
            f"{target.host or target.address} is an address of many hosts",
            hint="broadcast=True, or -b, asks all of them",
        )


def check_version(target: Target, settings: Settings) -> None:
    """Refuse an address of the version that a pinger does not ask.

    Raises:
        ResolutionError: It is one.
    """
    if settings.version not in (None, target.version):
        host = target.host or str(target.address)
        raise ResolutionError(
            f"{host} is an address of IPv{target.version}, not of IPv{settings.version}", host=host
        )


def is_for_many(packed: bytes) -> bool:
    """Whether it is a multicast address, or the broadcast address of every network."""
    if len(packed) == 4:
        return packed[0] >> 4 == 14 or packed == b"\xff\xff\xff\xff"
    return packed[0] == 0xFF
