"""The addresses of a host, by its name or as they are written, without blocking the loop."""

import ipaddress
import socket
from typing import Any, Literal

import anyio

from .errors import ResolutionError, SpecError
from .spec import IpAddress

__all__ = ("check_host", "resolve_host")

_FAMILIES = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


async def resolve_host(
    host: str | IpAddress, family: Literal[4, 6] | None = None
) -> tuple[IpAddress, ...]:
    """The addresses of ``host``, each once, in the order that the resolver prefers (RFC 6724).

    Args:
        host: A name, an address (with ``%interface`` where it is link-local), or an ``ipaddress``
            object. An address is not looked up.
        family: 4 or 6: only such addresses; None: both.

    Raises:
        ResolutionError: The name is not known, has no address of the family, or the resolver could
            not be asked; or ``host`` is an address of the other family.
        SpecError: ``host`` is neither text nor an address.
    """
    host = check_host(host)
    address = _as_address(host)
    if address is not None:
        if family not in (None, address.version):
            raise ResolutionError(
                f"{host} is an address of IPv{address.version}, not of IPv{family}",
                host=str(host),
            )
        return (address,)
    try:
        found = await anyio.getaddrinfo(
            str(host), None, family=_FAMILIES[family], type=socket.SOCK_DGRAM
        )
    except (OSError, UnicodeError) as error:
        raise ResolutionError(
            f"{host}: {_reason(error)}", host=str(host), hint=_hint(error)
        ) from error
    return tuple(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


def check_host(host: Any) -> str | IpAddress:
    """What can be a host: ``ipaddress`` takes numbers, too, and 1.5 for 1.0.0.5.

    Of an address with its network, which is an address to ``ipaddress``, the address.

    Raises:
        SpecError: ``host`` is neither text nor an address.
    """
    if isinstance(host, ipaddress.IPv4Interface | ipaddress.IPv6Interface):
        return ipaddress.ip_address(str(host).partition("/")[0])  # its `ip` is without the scope
    if isinstance(host, str | ipaddress.IPv4Address | ipaddress.IPv6Address):
        return host
    raise SpecError(f"host {host!r} is neither a name nor an address")


def _as_address(host: str | IpAddress) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return f"is no name of a host ({error})"


def _hint(error: Exception) -> str:
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return "the resolver does not answer: /etc/resolv.conf says which servers are asked"
    return ""
