"""The kernel's routes and neighbours, by one socket that asks again and again.

It belongs to the namespace that it was opened in. Source: rtnetlink(7), linux/rtnetlink.h,
linux/neighbour.h, linux/fib_rules.h.
"""

import errno
import os
import socket
import struct
from typing import Final, Literal, NamedTuple

from .interfaces import interface_index
from .netlink import DUMP, HEADER, ask_by, attribute, attributes

__all__ = ("Fib", "Step")

_ROUTE: Final = struct.Struct("@BBBBBBBBI")  # struct rtmsg
_RULE: Final = struct.Struct("@BBBBBBBBI")  # struct fib_rule_hdr
_NEIGHBOUR: Final = struct.Struct("@BxxxiHBB")  # struct ndmsg
_INT: Final = struct.Struct("@i")
_U32: Final = struct.Struct("@I")

_RTM_GETROUTE: Final = 26
_RTM_GETNEIGH: Final = 30
_RTM_GETRULE: Final = 34
_RTA_DST: Final = 1
_RTA_SRC: Final = 2
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_PREFSRC: Final = 7
_RTA_METRICS: Final = 8
_RTA_MARK: Final = 16
_RTA_VIA: Final = 18
_RTAX_MTU: Final = 2
_FRA_DST: Final = 1
_NDA_DST: Final = 1
_NDA_LLADDR: Final = 2
# NUD_REACHABLE, NUD_NOARP, NUD_PERMANENT: the address is known, and nobody doubts it.
_CERTAIN: Final = 0x02 | 0x40 | 0x80
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_BITS: Final = {4: 32, 6: 128}

Kind = Literal["unicast", "local", "broadcast", "multicast"]
# RTN_…; what is refused comes with an errno, but for some of IPv6.
_KINDS: Final[dict[int, Kind]] = {
    1: "unicast", 2: "local", 3: "broadcast", 4: "local", 5: "multicast",
}  # fmt: skip
_REFUSALS: Final = {6: errno.EINVAL, 7: errno.EHOSTUNREACH, 8: errno.EACCES}


class Step(NamedTuple):
    """The first step of the way to an address.

    Attributes:
        kind: What the address is.
        ifindex: The interface that leads there.
        source: What a packet's source address would be; None: the kernel does not say.
        gateway: The router that it goes to, of either version; None: the address is on the link.
        mtu: That the route has; None: the interface's.
    """

    kind: Kind
    ifindex: int
    source: bytes | None
    gateway: bytes | None
    mtu: int | None


class Fib:
    """Asks the kernel by a socket of rtnetlink, which it owns from here on."""

    def __init__(self, route: socket.socket) -> None:
        self._route = route

    def close(self) -> None:
        """Close the socket."""
        self._route.close()

    def ifindex(self, name: str) -> int:
        """The index of an interface of this namespace.

        Raises:
            OSError: ``ENODEV``: there is none of that name.
        """
        return interface_index(self._route.fileno(), name)

    def step(
        self, target: bytes, *, ifindex: int = 0, source: bytes | None = None, mark: int = 0
    ) -> Step:
        """What the kernel would do with a packet.

        Args:
            target: Where it goes: 4 or 16 bytes.
            ifindex: The interface that it has to leave by; 0: any.
            source: Its source address, if that is given.
            mark: Of its socket.

        Raises:
            OSError: ``ENETUNREACH``, ``EHOSTUNREACH`` and so on: it would not be sent.
        """
        version: Literal[4, 6] = 4 if len(target) == 4 else 6
        bits = _BITS[version]
        source_bits = bits if source else 0
        body = _ROUTE.pack(_FAMILIES[version], bits, source_bits, 0, 0, 0, 0, 0, 0)
        body += attribute(_RTA_DST, target)
        if source:
            body += attribute(_RTA_SRC, source)
        if ifindex:
            body += attribute(_RTA_OIF, _INT.pack(ifindex))
        if mark:
            body += attribute(_RTA_MARK, _U32.pack(mark))
        (answer,) = ask_by(self._route, _RTM_GETROUTE, 0, body)
        kind = _ROUTE.unpack_from(answer, HEADER.size)[7]
        if kind not in _KINDS:
            number = _REFUSALS.get(kind, errno.ENETUNREACH)
            raise OSError(number, os.strerror(number))
        found = attributes(answer[HEADER.size + _ROUTE.size :])
        metrics = attributes(found.get(_RTA_METRICS, b""))
        via = found.get(_RTA_VIA, b"")[2:]  # behind its family: struct rtvia
        return Step(
            kind=_KINDS[kind],
            ifindex=_INT.unpack(found[_RTA_OIF])[0] if _RTA_OIF in found else 0,
            source=source or found.get(_RTA_PREFSRC),
            gateway=found.get(_RTA_GATEWAY) or via or None,
            mtu=_U32.unpack(metrics[_RTAX_MTU])[0] if _RTAX_MTU in metrics else None,
        )

    def borders(self, version: Literal[4, 6]) -> list[int]:
        """Where something else may hold: the numbers of addresses, in order, from 0 on.

        No route and no rule of any table tells two addresses apart that lie between two of them.
        """
        family, bits = _FAMILIES[version], _BITS[version]
        found = {0}
        for kind, destination in ((_RTM_GETROUTE, _RTA_DST), (_RTM_GETRULE, _FRA_DST)):
            body = (_ROUTE if kind == _RTM_GETROUTE else _RULE).pack(family, *bytes(8))
            for answer in ask_by(self._route, kind, DUMP, body):
                length = answer[HEADER.size + 1]
                address = attributes(answer[HEADER.size + _ROUTE.size :]).get(destination)
                if address is not None and answer[HEADER.size] == family:
                    first = int.from_bytes(address, "big")
                    found |= {first, first + (1 << (bits - length))}
        return sorted(found - {1 << bits})

    def neighbour(self, address: bytes, ifindex: int) -> bytes | None:
        """The hardware address of a neighbour, where the kernel knows it for certain."""
        family = _FAMILIES[4 if len(address) == 4 else 6]
        body = _NEIGHBOUR.pack(family, ifindex, 0, 0, 0) + attribute(_NDA_DST, address)
        try:
            (answer,) = ask_by(self._route, _RTM_GETNEIGH, 0, body)
        except OSError:  # ENOENT: it knows nothing
            return None
        _, _, state, _, _ = _NEIGHBOUR.unpack_from(answer, HEADER.size)
        found = attributes(answer[HEADER.size + _NEIGHBOUR.size :]).get(_NDA_LLADDR)
        return found if found is not None and state & _CERTAIN and len(found) == 6 else None
