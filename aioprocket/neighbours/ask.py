"""One address: which hardware address has it?"""

import ipaddress
from typing import Any, Literal

from ..bounds import seconds, whole
from ..errors import SpecError
from ..helper import HelperLike
from ..spec import IpAddress
from .link import Place, open_link
from .neighbour import Neighbour
from .sweep import Sweep

__all__ = ("arp", "as_address", "check_patience", "ndp")


async def arp(
    ip: str | ipaddress.IPv4Address,
    *,
    interface: str | None = None,
    timeout: float = 1.0,
    retries: int = 2,
    namespace: str | None = None,
    helper: HelperLike = None,
) -> Neighbour | None:
    """Ask a link who has an IPv4 address. The kernel's own table is neither asked nor changed.

    Args:
        ip: The address.
        interface: Where to ask; None: where the way to the address leads.
        timeout: Seconds to wait after each question.
        retries: Questions after the first.
        namespace: As `aioprocket.open`.
        helper: As `aioprocket.open`.

    Returns:
        None: nobody has answered.

    Raises:
        SpecError: What is asked cannot be; or the interface has no hardware addresses.
        OpenError: There is no such interface, or no way to the address.
        LinkDownError: The interface is down.
        And what `aioprocket.open_packet` raises.
    """
    return await _ask(as_address(ip, 4), interface, timeout, retries, namespace, helper)


async def ndp(
    ip: str | ipaddress.IPv6Address,
    *,
    interface: str | None = None,
    timeout: float = 1.0,
    retries: int = 2,
    namespace: str | None = None,
    helper: HelperLike = None,
) -> Neighbour | None:
    """Ask a link who has an IPv6 address, by neighbour discovery.

    Args:
        ip: The address; one of the link itself may name its interface: ``"fe80::1%eth0"``.
        interface: As `arp`, and so are the rest.

    Returns:
        None: nobody has answered.

    Raises:
        What `arp` raises. SpecError, too: the interface has no IPv6 address to ask from.
    """
    address = as_address(ip, 6)
    assert isinstance(address, ipaddress.IPv6Address)
    return await _ask(
        ipaddress.IPv6Address(address.packed),
        address.scope_id if interface is None else interface,
        timeout,
        retries,
        namespace,
        helper,
    )


async def _ask(
    address: IpAddress,
    interface: str | None,
    timeout: float,
    retries: int,
    namespace: str | None,
    helper: HelperLike,
) -> Neighbour | None:
    check_patience(timeout, retries)
    link = await open_link(Place(interface, address, namespace, helper, on_link=True))
    try:
        sweep = Sweep([address], rate=None, timeout=timeout, retries=retries)
        while not sweep.done:
            for neighbour, _ in await link.advance(sweep):
                return neighbour
        return None
    finally:
        await link.aclose()


def as_address(ip: Any, version: Literal[4, 6]) -> IpAddress:
    """An address of one host.

    Raises:
        SpecError: It is none, or of the other version, or a group's.
    """
    try:
        # Not of a number or of bytes, which it would take, too.
        address = ipaddress.ip_address(str(ip))
    except ValueError as error:
        raise SpecError(f"{ip!r} is no address", hint="names are not looked up here") from error
    if address.version != version:
        raise SpecError(f"{ip} is an address of IPv{address.version}, not of IPv{version}")
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise SpecError(f"{ip} is no address of one host on a link")
    return address


def check_patience(timeout: Any, retries: Any) -> None:
    """Check how long, and how often.

    Raises:
        SpecError: It cannot be.
    """
    seconds("timeout", timeout)
    whole("retries", retries, 0, 100)
