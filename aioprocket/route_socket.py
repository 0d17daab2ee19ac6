"""A socket of rtnetlink: what the network is like in which other sockets are."""

import socket
from contextlib import suppress

from ._system import options
from ._system.descriptor import borrowed
from .helper import HelperLike, obtain_route

__all__ = ("open_route_socket",)


async def open_route_socket(
    namespace: str | None,
    helper: HelperLike,
    timeout: float = 5.0,
    *,
    beside: int | None = None,
) -> socket.socket:
    """One to ask for addresses, routes and neighbours, the caller's to close.

    Args:
        namespace: As `aioprocket.open`.
        helper: As `aioprocket.open`.
        timeout: Seconds for the helper's answer.
        beside: A socket that was opened with the same arguments. Where it is in this process's
            network, no helper is asked.

    Raises:
        NotPermittedError: It is another network, and no way there is permitted.
        And what `aioprocket.open` raises.
    """
    if beside is not None:
        own = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        if _is_same_network(own, beside):
            return own
        own.close()
    opened = await obtain_route(namespace, helper=helper, timeout=timeout)
    return socket.socket(fileno=opened.descriptor.detach())


def _is_same_network(one: socket.socket, other: int) -> bool:
    """Whether the kernel says so, which it does from Linux 5.14 on."""
    with suppress(OSError), borrowed(other) as sock:
        cookie = options.network_cookie(one)
        return bool(cookie) and cookie == options.network_cookie(sock)
    return False
