"""What a transport calls, and when."""

import asyncio
from typing import TYPE_CHECKING, Any

from ..packet import Batch, Packet

if TYPE_CHECKING:
    # To type checkers without a base, and with Any for what is passed: else each
    # `connection_made(self, transport: RawTransport)` and `error_received(self, exc: OSError)`
    # would be an incompatible override.
    _Base = object
else:
    _Base = asyncio.DatagramProtocol

__all__ = ("RawProtocol",)


class RawProtocol(_Base):
    """A base for protocols, with nothing in it: every method may be left out.

    The first of ``packets_received``, ``packet_received`` and ``datagram_received`` that a
    protocol overrides gets the packets. Any `asyncio.DatagramProtocol` will do as well.
    """

    def connection_made(self, transport: Any) -> None:
        """Before everything else, with the `RawTransport`."""

    def packets_received(self, batch: Batch) -> None:
        """Packets that came together: of a ring, a block of it."""

    def packet_received(self, packet: Packet) -> None:
        """One packet."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """One packet's bytes and its sender, as asyncio has it."""

    def error_received(self, exc: Any) -> None:
        """An `OSError`: news (link down, an ICMP error), or why a packet was not sent."""

    def passive(self) -> None:
        """The count of packets is used up: nothing more comes until `set_active`.

        Not told after the one packet of ``"once"``, whose delivery says it.
        """

    def pause_writing(self) -> None:
        """The write buffer is over its limit."""

    def resume_writing(self) -> None:
        """The write buffer has room again."""

    def connection_lost(self, exc: Any) -> None:
        """After everything else, once; None after a `close` or `abort`, else the exception."""
