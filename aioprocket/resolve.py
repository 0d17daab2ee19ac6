"""The addresses of a host, by its name or as they are written, without blocking the loop."""

import ipaddress
import re
import shlex
import socket
from typing import Any, Final, Literal

import anyio

from .errors import ResolutionError, SpecError
from .spec import IpAddress

__all__ = ("check_host", "check_link", "resolve_host")

_FAMILIES = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}
_DIGITS_AND_DOTS: Final = re.compile(r"[0-9.]+")
_LONG: Final = 80  # more of a name is not said again


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
    _check_name(str(host))
    try:
        found = await anyio.getaddrinfo(
            str(host), None, family=_FAMILIES[family], type=socket.SOCK_DGRAM
        )
    except (OSError, UnicodeError) as error:
        raise ResolutionError(
            f"{_shown(str(host))}: {_reason(error)}",
            host=str(host),
            hint=_hint(str(host), error),
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


def check_link(address: IpAddress, interface: str | None) -> None:
    """Refuse a link-local address of IPv6 that does not say of which link, or of one that is not.

    Args:
        address: Any.
        interface: By which packets to it leave, if that is said elsewhere.

    Raises:
        SpecError: The same address may be on each link.
    """
    if address.version == 4 or not address.is_link_local:
        return
    zone = address.scope_id
    if zone is None and interface is None:
        raise SpecError(
            f"{address} is an address of one link, and does not say of which",
            hint=f"with the interface: {address}%eth0",
        )
    if zone is not None and not zone.isdecimal():
        try:
            socket.if_nametoindex(zone)
        except OSError:
            raise SpecError(f"{address}: there is no interface {zone!r}") from None


def _as_address(host: str | IpAddress) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_name(host: str) -> None:
    """Refuse what no resolver need be asked for; loops differ in what they make of it."""
    if not host.strip():
        reason, hint = "is blank", "a name or an address is wanted"
    elif ":" in host or (_DIGITS_AND_DOTS.fullmatch(host) and not _is_number(host)):
        reason = "is no address"
        hint = "an address is like 192.0.2.1, 2001:db8::1 or, on one link, fe80::1%eth0"
    elif "/" in host:
        reason, hint = "is no host", "a sweep takes networks; here it is one name or address"
    else:
        return
    raise ResolutionError(f"{_shown(host)} {reason}", host=host, hint=hint)


def _is_number(host: str) -> bool:
    """Whether it is an address in one of the old forms, such as 127.1: inet(3)."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def _shown(host: str) -> str:
    if len(host) > _LONG:
        return f"{host[:_LONG]!r} and {len(host) - _LONG} characters more"
    return host if host.isprintable() and host and " " not in host else repr(host)


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return f"is no name of a host ({error})"


def _hint(host: str, error: Exception) -> str:
    if not isinstance(error, socket.gaierror) or len(host) > _LONG:
        return "names have up to 63 characters between two dots, and 253 together"
    if error.errno == socket.EAI_AGAIN:
        return "the resolver does not answer: /etc/resolv.conf says which servers are asked"
    if error.errno == socket.EAI_NONAME:
        return f"the same resolver is asked by: getent ahosts {shlex.quote(host)}"
    return ""
