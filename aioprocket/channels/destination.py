"""Where a packet may be sent: to addresses, never to names, which the loop would have to wait for.

The socket module looks a name up by itself, in the midst of ``sendto``, for as long as the name
servers take.
"""

import socket
from typing import Any

from ..errors import SpecError

__all__ = ("Destinations",)


class Destinations:
    """Checks the addresses of one inet socket. The last host that was good is not checked again."""

    __slots__ = ("_family", "_host")

    def __init__(self, family: int) -> None:
        self._family = family
        self._host: str | None = None

    def check(self, address: Any) -> None:
        """Let an address through that can be used at once.

        What is no address at all passes as well: of that the socket module says what is wrong.

        Raises:
            SpecError: Its host is a name.
        """
        if not isinstance(address, tuple) or not address or address[0] == self._host:
            return
        host = address[0]
        try:
            socket.inet_pton(self._family, host)
        except (OSError, ValueError, TypeError):
            if isinstance(host, str | bytes | bytearray):
                self._check_other_form(host)
        else:
            self._host = host

    def _check_other_form(self, host: str | bytes | bytearray) -> None:
        # What the socket module itself has a meaning for: any address, and all of them.
        if not host or (host == "<broadcast>" and self._family == socket.AF_INET):
            return
        # "127.1", "fe80::1%eth0", bytes. The flag keeps it from asking anybody.
        name = bytes(host) if isinstance(host, bytearray) else host
        try:
            socket.getaddrinfo(name, None, self._family, 0, 0, socket.AI_NUMERICHOST)
        except (OSError, ValueError):
            version = "IPv6" if self._family == socket.AF_INET6 else "IPv4"
            if _is_address(name):
                raise SpecError(
                    f"send to {host!r}: this is no {version} address, and the socket is one of "
                    f"{version}",
                    hint="a socket has one family: ip= or family= of open() says which",
                ) from None
            raise SpecError(
                f"send to {host!r}: this is no {version} address, and host names are not looked up "
                "here",
                hint="await loop.getaddrinfo(…) looks them up without blocking the loop",
            ) from None
        if isinstance(host, str):  # a bytearray could change
            self._host = host


def _is_address(host: str | bytes) -> bool:
    try:
        socket.getaddrinfo(host, None, 0, 0, 0, socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return False
    return True
