"""Sending by awaiting: the half of a channel that writes."""

from collections.abc import Coroutine, Iterable
from typing import Any

from anyio.abc import UnreliableObjectSendStream

from ..packet import Packet
from .outlet import Outlet, no_room
from .port import Address, AncillaryData, Data
from .stamping import Stamper
from .state import Sent, Stamp, StampSource

__all__ = ("Sending",)


class Sending(UnreliableObjectSendStream[Packet]):
    """What can be sent. Any number of tasks may; a send that waits is overtaken by none.

    A cancelled send was either not taken by the kernel at all, or has returned.
    """

    _outlet: Outlet
    _stamper: Stamper

    async def send(self, item: Data) -> None:
        """Send one packet to where the channel is bound or connected; wait while there is no room.

        A `Packet` that carries an address goes there, on a socket for datagrams that is not
        connected; on an interface or a device its address means nothing. Of a frame the VLAN tag
        is put back, which the kernel took out: it leaves as `Packet.tagged` has it.

        Raises:
            LinkDownError: The interface is down or gone.
            ClosedError: The channel is closed.
            ChannelError: ``EMSGSIZE``: larger than the MTU; ``ENOBUFS``: the interface's queue
                stayed full for an eighth of a second; and what else send(2) says.
        """
        await self._outlet.send(item)

    async def sendto(self, data: Data, addr: Address) -> None:
        """Send one packet to an address as the socket module writes it.

        Raises:
            SpecError: The address is a host's name: nothing is looked up here.
            What `send` raises.
        """
        await self._outlet.send(data, addr)

    def send_batch(
        self, items: Iterable[Data | tuple[Data, Address | None]]
    ) -> Coroutine[Any, Any, Sent]:
        """Send packets, or pairs of a packet and its address, in order, by few system calls.

        It waits while there is no room, and lets other tasks have their turn every 2 ms.
        Lists and other iterables are read as far as they are sent. What was taken before a
        cancellation, or before an item that is none, is in ``stats().tx_packets``.

        Returns:
            How many the kernel took: all, or those before the first that failed; ``error`` of the
            number is why that one did.

        Raises:
            SpecError: An address is a host's name.
            What `send` raises, of the first packet.
        """
        return self._outlet.send_batch(items)

    async def send_stamped(
        self,
        data: Data,
        addr: Address | None = None,
        *,
        source: StampSource = "software",
        timeout: float = 1.0,
    ) -> Stamp:
        """Send one packet, and return when it left, by the kernel's or the device's clock.

        One packet of a channel asks at a time; further calls wait for their turn. All other sends
        go on meanwhile. On Linux before 6.12, packets that are received after the first such call
        carry a second timestamp, in ``ancdata``.

        Args:
            data: As `send`.
            addr: As `sendto`; None as `send`.
            source: Which moment: see `Stamp`. Nothing falls back to another: a device whose
                hardware timestamps root has not switched on gives none.
            timeout: Seconds to wait for the timestamp, once the packet was taken.

        Raises:
            SpecError: A device, a stream, or a family without timestamps: they are of packet and
                internet sockets. Or the timeout is no number of seconds above 0.
            TimeoutError: The packet was taken, but no timestamp came: it is still queued, was
                dropped, or the driver gives none. A `ChannelError`, too.
            What `send` raises.

        Source: Documentation/networking/timestamping.rst of Linux.
        """
        return await self._stamper.send(data, addr, source, timeout)

    async def send_batch_stamped(
        self,
        items: Iterable[Data | tuple[Data, Address | None]],
        *,
        source: StampSource = "software",
        timeout: float = 1.0,
    ) -> tuple[Sent, list[Stamp | None]]:
        """Send packets in order, each by a system call, and return when each left.

        On Linux from 6.13 on, up to 64 packets wait for their timestamps at once; before, the next
        packet is sent when the last one's timestamp has come. Otherwise as `send_stamped`.

        Args:
            items: As `send_batch`.
            source: As `send_stamped`.
            timeout: Seconds to wait for timestamps, after each 64 packets and after the last.

        Returns:
            How many packets the kernel took, as `send_batch`, and for each of them its timestamp,
            or None: it did not come in time. The kernel needs room in the receive buffer for it.

        Raises:
            SpecError: As `send_stamped`.
            What `send_batch` raises.
        """
        return await self._stamper.send_batch(items, source, timeout)

    def send_nowait(self, data: Data, addr: Address | None = None) -> None:
        """Send one packet now or not at all.

        Raises:
            BlockingIOError: There is no room in the socket's buffer.
            ChannelError: ``ENOBUFS``: there is none in the interface's queue.
            And what `send` raises.
        """
        try:
            self._outlet.put(data, addr)
        except OSError as error:
            self._outlet.tx_refused += no_room(error)
            raise

    async def sendmsg(
        self,
        buffers: Iterable[Data],
        ancdata: AncillaryData = (),
        flags: int = 0,
        address: Address | None = None,
    ) -> int:
        """Send one packet with ancillary data, as `socket.socket.sendmsg`. Sockets only.

        Of a frame whose first buffer is a `Packet` the VLAN tag is put back, as `send` does.

        Raises:
            What `send` raises.
        """
        return await self._outlet.send_message(list(buffers), ancdata, flags, address)
