"""Asking the kernel for the way to an address, in the network that a pinger's probes leave from."""

from collections.abc import Sequence

from .._system.fib import Fib
from ..errors import AioprocketError, ResolutionError
from ..route_socket import open_route_socket
from ..spec import IpAddress
from .settings import Settings

__all__ = ("first_with_route",)


async def first_with_route(
    host: str, addresses: Sequence[IpAddress], settings: Settings
) -> IpAddress:
    """The first address that a packet of these settings could leave to; else the first of all.

    Nothing is sent: a route is asked for.

    Raises:
        ResolutionError: The network cannot be asked.
    """
    if len(addresses) == 1:
        return addresses[0]
    try:
        fib = Fib(await open_route_socket(settings.namespace, settings.helper))
    except AioprocketError as error:
        raise ResolutionError(
            f"{host}: ask for the way to its addresses: {error}",
            host=host,
            hint='addresses="first" takes the address that the resolver prefers',
        ) from error
    try:
        return next((each for each in addresses if _has_route(fib, each, settings)), addresses[0])
    finally:
        fib.close()


def _has_route(fib: Fib, address: IpAddress, settings: Settings) -> bool:
    try:
        fib.step(
            address.packed,
            ifindex=_ifindex(fib, address, settings),
            source=None if settings.source is None else settings.source.packed,
            mark=settings.mark or 0,
        )
    except OSError:
        return False
    return True


def _ifindex(fib: Fib, address: IpAddress, settings: Settings) -> int:
    name = getattr(address, "scope_id", None) or settings.interface
    if not name:
        return 0
    return int(name) if name.isdecimal() else fib.ifindex(name)
