"""Which interface, source address and next hop lead to a target: as the kernel says.

It is asked once for all addresses that no route and no rule tells apart, and again after a second:
what is kept is in proportion to the routes, never to the targets.
"""

import errno
import socket
import time
from bisect import bisect_right
from typing import Final, Literal, NamedTuple

from ..._system import interfaces
from ..._system.fib import Fib, Step
from ..._system.numbers import InterfaceFlag
from ...errors import SpecError
from ..settings import Settings

__all__ = ("Hop", "Refusal", "Ways")

_ETHERNET: Final = 1  # ARPHRD_ETHER: linux/if_arp.h
_BROADCAST: Final = b"\xff" * 6
_LIFE: Final = 1.0  # seconds
# What reading the routes took, so many times, is how long they count at least.
_PRICE: Final = 50
_PROTOCOLS: Final = {4: b"\x08\x00", 16: b"\x86\xdd"}  # by the length of an address
_NO_QUESTIONS: Final = InterfaceFlag.NOARP | InterfaceFlag.LOOPBACK


class Refusal(Exception):
    """A target that no frame is sent to: why, as an `EchoError` has it."""

    def __init__(self, kind: str | None, number: int = 0) -> None:
        super().__init__(kind, number)
        self.kind = kind  # None: what the errno means
        self.errno = number


class Hop(NamedTuple):
    """The next hop of the targets from ``first`` to ``last``.

    Attributes:
        first: Of the targets.
        last: Of them.
        scope: That they have.
        ifindex: The interface.
        name: Of the interface.
        source: Where probes come from.
        own: The interface's hardware address.
        mtu: Bytes behind the link header.
        address: Of the next hop.
        hwaddr: Of the next hop, where nobody has to be asked.
        until: When this is old, by `time.monotonic`.
    """

    first: bytes
    last: bytes
    scope: int
    ifindex: int
    name: str
    source: bytes
    own: bytes
    mtu: int
    address: bytes
    hwaddr: bytes | None
    until: float

    def link(self, hwaddr: bytes) -> bytes:
        """The Ethernet header of frames to the next hop."""
        return hwaddr + self.own + _PROTOCOLS[len(self.first)]


class Ways:
    """Finds the next hop.

    Args:
        sock: A packet socket: whose interfaces these are.
        version: Of IP.
        settings: What the pinger was asked for.
        fib: Asks the kernel; owned from here on.
        largest: Bytes of a packet that the ring has room for.
    """

    def __init__(
        self,
        sock: socket.socket,
        version: Literal[4, 6],
        settings: Settings,
        fib: Fib,
        largest: int,
    ) -> None:
        self.fib = fib
        self._fd = sock.fileno()
        self._version: Literal[4, 6] = version
        self._bytes = 4 if version == 4 else 16
        self._settings = settings
        self._source = None if settings.source is None else settings.source.packed
        self._largest = largest
        self._borders: list[int] = []
        self._borders_until = 0.0

    def close(self) -> None:
        """Nothing is asked any more."""
        self.fib.close()

    def forget(self) -> None:
        """What was known may be wrong."""
        self._borders_until = 0.0

    def find(self, target: bytes, scope: int) -> Hop:
        """The next hop to a target, and which others have the same.

        Raises:
            Refusal: There is none, or the target is none to be asked.
            SpecError: The way leads by an interface without Ethernet frames.
        """
        now = time.monotonic()
        try:
            first, last = self._range(int.from_bytes(target, "big"), now)
            step = self.fib.step(
                target,
                ifindex=scope or self._bound(),
                source=self._source,
                mark=self._settings.mark or 0,
            )
        except OSError as error:
            raise Refusal(None, error.errno or errno.ENETUNREACH) from None
        if step.kind == "local":
            raise Refusal("own-address")
        if step.kind == "broadcast" and not self._settings.broadcast:
            raise Refusal(None, errno.EACCES)
        if step.source is None:
            raise Refusal(None, errno.EADDRNOTAVAIL)
        name, own, mtu, hwaddr = self._interface(step, target)
        on_link = step.gateway is None
        return Hop(
            first=target if on_link else first,
            last=target if on_link else last,
            scope=scope,
            ifindex=step.ifindex,
            name=name,
            source=step.source,
            own=own,
            mtu=min(mtu, step.mtu or mtu, self._largest),
            address=step.gateway or target,
            hwaddr=hwaddr,
            until=now + _LIFE,
        )

    def _range(self, number: int, now: float) -> tuple[bytes, bytes]:
        if now >= self._borders_until:
            self._borders = self.fib.borders(self._version)
            took = time.monotonic() - now
            self._borders_until = now + max(_LIFE, _PRICE * took)
        at = bisect_right(self._borders, number)
        beyond = self._borders[at] if at < len(self._borders) else 1 << 8 * self._bytes
        return (
            self._borders[at - 1].to_bytes(self._bytes, "big"),
            (beyond - 1).to_bytes(self._bytes, "big"),
        )

    def _bound(self) -> int:
        name = self._settings.interface
        return 0 if name is None else interfaces.interface_index(self._fd, name)

    def _interface(self, step: Step, target: bytes) -> tuple[str, bytes, int, bytes | None]:
        """Its name, address and MTU, and the next hop's address where nobody has to be asked."""
        try:
            name = interfaces.interface_name(self._fd, step.ifindex)
            kind = interfaces.hardware_type(self._fd, name)
            flags = interfaces.interface_flags(self._fd, name)
            own = interfaces.hardware_address(self._fd, name)
            mtu = interfaces.mtu(self._fd, name)
        except OSError as error:  # it went away meanwhile
            raise Refusal(None, error.errno or errno.ENODEV) from None
        if kind != _ETHERNET:
            where = socket.inet_ntop(
                socket.AF_INET if self._version == 4 else socket.AF_INET6, target
            )
            raise SpecError(
                f"the way to {where} leads by {name}, which has no Ethernet frames",
                hint='path="ip" asks there, too',
            )
        if step.gateway is not None and len(step.gateway) != self._bytes:
            raise SpecError(
                f"a router of another version of IP leads on from {name}",
                hint='path="ip" asks there, too',
            )
        if InterfaceFlag.UP not in flags:
            raise Refusal(None, errno.ENETDOWN)
        return name, own, mtu, self._known(step, target, own, bool(flags & _NO_QUESTIONS))

    def _known(self, step: Step, target: bytes, own: bytes, silent: bool) -> bytes | None:
        if step.kind == "broadcast":
            return _BROADCAST
        if step.kind == "multicast" or (self._version == 6 and target[0] == 0xFF):
            if self._version == 6:
                return b"\x33\x33" + target[12:]  # RFC 2464, section 7
            low = int.from_bytes(target, "big") & 0x7FFFFF  # RFC 1112, section 6.4
            return b"\x01\x00\x5e" + low.to_bytes(3, "big")
        return own if silent else None
