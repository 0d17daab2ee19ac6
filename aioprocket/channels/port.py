"""Input and output on one descriptor that never blocks: what a channel does with the kernel.

A port owns its descriptor. It waits for nothing, keeps no state but counters, and lets every
`OSError` through; what an error means is decided above.
"""

import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from .._system import options
from .._system._native import Batch, Delivery, Receiver, Ring, Sender
from .._system.descriptor import Descriptor
from .._system.statistics import LinkDrops, PacketStatistics, SocketDrops, queued_bytes
from ..bpf import Program
from ..errors import SpecError
from ..packet import Packet
from .destination import Destinations
from .reported import TransmitStamp, read_error_queue

__all__ = (
    "MAX_PACKET",
    "Address",
    "AncillaryData",
    "Data",
    "DevicePort",
    "IcmpPort",
    "Item",
    "Message",
    "Port",
    "SocketPort",
)

Data: TypeAlias = bytes | bytearray | memoryview | Packet
Address: TypeAlias = tuple[Any, ...] | str | bytes
# What a batch is made of. Without an address: to where the descriptor is bound or connected.
Item: TypeAlias = Data | tuple[Data, Address | None]
AncillaryData: TypeAlias = Sequence[tuple[int, int, bytes | bytearray | memoryview]]
# What recvmsg gives: data, ancillary data, flags, address.
Message: TypeAlias = tuple[bytes, list[tuple[int, int, bytes]], int, Any]

MAX_PACKET: Final = 65535
_BATCH: Final = 64  # packets: more in one list outgrow the allocator's reserve

_CONNECTIONS: Final = {socket.SOCK_STREAM, socket.SOCK_SEQPACKET}


class Port(ABC):
    """What can be done with any descriptor.

    Attributes:
        sock: The socket; None for a device.
        counters: What was received: ``packets``, ``bytes``, ``truncated``.
        sender: What was sent by `send_batch`: ``packets``, ``bytes``.
        receive: Up to so many packets; none where there is nothing now. `EOFError` where no more
            will ever come.
        dispatch: The same to a callback, packet by packet: `Receiver.dispatch`.
        counts_all: What is read by other ways than these two is in ``counters`` as well.
        timed: An active channel's turn of reading is bounded by time alone, and not by a number of
            packets.
        bare: An event loop that calls for errors as well may watch the descriptor itself.
        turn_ns: What a task that receives may take of the loop before others get their turn.
        send: Send to where the descriptor is bound or connected: how many bytes were taken.
        stream: There are no packets, only bytes: a read must take no more than its caller can.
        closes_slowly: close(2) takes the kernel tens of milliseconds.
        on_stamp: Told of each transmit timestamp that `errors` comes across.
    """

    sock: socket.socket | None
    counters: Receiver | Ring
    sender: Sender
    receive: Callable[[int], list[Packet]]
    dispatch: Callable[[Delivery, Callable[..., object], int, bool, int], None]
    send: Callable[[Data], int]
    stream: bool
    closes_slowly: bool
    timed: bool = False
    counts_all: bool = False
    bare: bool = False
    turn_ns: int = 500_000
    on_stamp: Callable[[TransmitStamp], None] = staticmethod(lambda stamp: None)

    @abstractmethod
    def fileno(self) -> int:
        """The descriptor; -1 when it was closed or detached."""

    @abstractmethod
    def close(self) -> None:
        """Close the descriptor. Idempotent."""

    @abstractmethod
    def detach(self) -> int:
        """Give the descriptor to the caller."""

    def take_waiting(self) -> list[Packet]:
        """What would be lost by `detach`, and is the caller's: called once, right before that."""
        return []

    def surrender(self) -> int:
        """As `detach`, to be closed by the caller: it may be good for nothing else."""
        return self.detach()

    def take(self, count: int | None) -> Batch | None:
        """Up to so many packets in one piece, or as many as one call gives; None for none."""
        packets = self.receive(_BATCH if count is None else count)
        return Batch(packets) if packets else None

    @abstractmethod
    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes as one read gives them."""

    @abstractmethod
    def read_into(self, room: memoryview) -> tuple[int, int]:
        """One packet into room for bytes: how much of it is there now, and how long it was."""

    @abstractmethod
    def check(self, address: Address) -> None:
        """Refuse an address that the event loop would wait for: `SpecError`."""

    def sendto(self, data: Data, address: Address) -> int:
        """Send to an address: how many bytes were taken."""
        raise _not_a_socket()

    def send_batch(
        self, items: tuple[Item, ...] | Batch, start: int, addressed: bool
    ) -> tuple[int, int]:
        """Send items from ``start`` on: how many were taken, and the errno that ended it.

        That is 0 where all were taken, or where the next is in a form that only `send` and
        `sendto` know. ``addressed``: a `Packet` goes to the address that it carries.
        """
        return self.sender.send(items, start, addressed), self.sender.failure

    def recvmsg(self, bufsize: int, ancbufsize: int, flags: int) -> Message:
        """One packet with its ancillary data; descriptors in it are close-on-exec."""
        raise _not_a_socket()

    def sendmsg(
        self, buffers: Iterable[Data], ancdata: AncillaryData, flags: int, address: Address | None
    ) -> int:
        """Send one packet with ancillary data: how many bytes were taken."""
        raise _not_a_socket()

    def errors(self) -> list[OSError]:
        """What the error queue holds, which is empty then."""
        return []

    def replace_filter(self, program: Program | None) -> None:
        """Swap filters, and throw away what passed the one from before."""
        raise _not_a_socket()

    def try_filter(self, program: Program) -> None:
        """Attach a filter beside what waits: what the kernel refuses changes nothing."""
        raise _not_a_socket()

    def dropped(self) -> int:
        """Packets that the kernel had no room for; after the end, as it said last."""
        return 0

    def freezes(self) -> int:
        """How often a ring stood still, as of the last `dropped`."""
        return 0

    def held(self) -> int:
        """Packets that were read and keep room that the kernel would use."""
        return 0

    def queued(self) -> int:
        """Bytes of kernel memory that waiting packets hold; known of sockets only."""
        return 0


def _not_a_socket() -> OSError:
    return OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))


class SocketPort(Port):
    """A socket of any family. ``size``: bytes kept of each packet."""

    sock: socket.socket

    def __init__(
        self, sock: socket.socket, *, size: int = MAX_PACKET, skip_ip_header: bool = False
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.counters = Receiver(sock.fileno(), size=size, skip_ip_header=skip_ip_header)
        frames = (sock.family, sock.type) == (socket.AF_PACKET, socket.SOCK_RAW)
        self.sender = Sender(sock.fileno(), tags=frames)
        self.receive = self.counters.receive
        self.dispatch = self.counters.dispatch
        self.stream = sock.type == socket.SOCK_STREAM
        self.send = sock.send
        self._pid = os.getpid()
        inet = sock.family in (socket.AF_INET, socket.AF_INET6)
        self._destinations = Destinations(sock.family) if inet else None
        packet = sock.family == socket.AF_PACKET
        self.closes_slowly = packet  # packet_release() waits for RCU: net/packet/af_packet.c
        self._drops = PacketStatistics() if packet else SocketDrops()

    def fileno(self) -> int:
        """The descriptor."""
        return self.sock.fileno()

    def close(self) -> None:
        """Count the drops for the last time, and close."""
        if self.sock.fileno() >= 0:
            self.dropped()
            self.sock.close()

    def detach(self) -> int:
        """Count the drops for the last time, and give the descriptor away."""
        self.dropped()
        return self.sock.detach()

    def read(self, size: int) -> bytes:
        """By recv(2); for streams."""
        return self.sock.recv(size)

    def read_into(self, room: memoryview) -> tuple[int, int]:
        """By recv(2) into the caller's memory, without a copy."""
        # With MSG_TRUNC the answer is the packet's own length, not what fitted in.
        length = self.sock.recv_into(room, 0, 0 if self.stream else socket.MSG_TRUNC)
        if length == 0 and len(room) and self.sock.type in _CONNECTIONS:
            raise EOFError
        return min(length, len(room)), length

    def check(self, address: Address) -> None:
        """For inet sockets, whose addresses the socket module would look up."""
        if self._destinations is not None:
            self._destinations.check(address)

    def sendto(self, data: Data, address: Address) -> int:
        """To an address, by one call."""
        self.check(address)
        try:
            return self.sock.sendto(data, address)
        except OverflowError as error:  # of a number in the address
            raise SpecError(f"send to {address!r}: {error}") from None

    def recvmsg(self, bufsize: int, ancbufsize: int, flags: int) -> Message:
        """With descriptors close-on-exec."""
        # Only a UNIX socket passes descriptors; a packet socket answers EINVAL to the flag.
        if self.sock.family == socket.AF_UNIX:
            flags |= socket.MSG_CMSG_CLOEXEC
        return self.sock.recvmsg(bufsize, ancbufsize, flags)

    def sendmsg(
        self, buffers: Iterable[Data], ancdata: AncillaryData, flags: int, address: Address | None
    ) -> int:
        """As the socket module does."""
        if address is not None:
            self.check(address)
        try:
            return self.sock.sendmsg(buffers, ancdata, flags, address)
        except OverflowError as error:  # of a number in the flags, the address or the data's head
            raise SpecError(f"sendmsg to {address!r}: {error}") from None

    def errors(self) -> list[OSError]:
        """Of the families that have an error queue."""
        return read_error_queue(self.sock, self.on_stamp)

    def dropped(self) -> int:
        """By the kernel's count."""
        # Reading PACKET_STATISTICS zeroes it: a forked child would take the drops from its parent.
        if self.sock.fileno() >= 0 and os.getpid() == self._pid:
            self._drops.update(self.sock)
        return self._drops.dropped

    def count_drops_from_here(self) -> None:
        """What was dropped before is not ours: the socket was somebody else's."""
        self.dropped()
        self._drops.dropped = 0

    def replace_filter(self, program: Program | None) -> None:
        """By `options.replace_filter`."""
        options.replace_filter(self.sock, program)

    def try_filter(self, program: Program) -> None:
        """By `options.attach_filter`."""
        options.attach_filter(self.sock, program)

    def freezes(self) -> int:
        """Of packet sockets."""
        return self._drops.freezes if isinstance(self._drops, PacketStatistics) else 0

    def queued(self) -> int:
        """With the kernel's overhead for each packet; 0 after the end."""
        return queued_bytes(self.sock) if self.sock.fileno() >= 0 else 0


class IcmpPort(SocketPort):
    """A raw IPv4 socket whose packets start behind their IP header, as those of the others do."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, skip_ip_header=True)
        self._tells_ttl = False

    def recvmsg(self, bufsize: int, ancbufsize: int, flags: int) -> Message:
        """With the IP header, and the time to live as the other reads tell it."""
        if not self._tells_ttl:
            options.enable_ttl(self.sock)
            self._tells_ttl = True
        return super().recvmsg(bufsize, ancbufsize, flags)

    def read_into(self, room: memoryview) -> tuple[int, int]:
        """Through a copy: the header's length is known only when it was read."""
        data = self.sock.recv(MAX_PACKET)
        payload = memoryview(data)[_header_length(data) :]
        held = min(len(room), len(payload))
        room[:held] = payload[:held]
        return held, len(payload)


def _header_length(data: bytes) -> int:
    # IHL counts words of four bytes: options make the header longer than 20 (RFC 791, 3.1).
    return (data[0] & 0x0F) * 4 if data else 0


class DevicePort(Port):
    """A character device, or anything else that is read and written by packets: tun, tap.

    Attributes:
        drops: The counter of what it has no room for, if there is one.
    """

    drops: LinkDrops | None = None

    def __init__(
        self, descriptor: Descriptor, *, closes_slowly: bool = False, tags: bool = False
    ) -> None:
        os.set_blocking(descriptor.fileno(), False)
        self._descriptor = descriptor
        self.sock = None
        self.stream = False
        self.closes_slowly = closes_slowly
        self.counters = Receiver(descriptor.fileno(), socket=False)
        self.sender = Sender(descriptor.fileno(), socket=False, tags=tags)
        self.receive = self.counters.receive
        self.dispatch = self.counters.dispatch
        self.send = self._write

    def take(self, count: int | None) -> Batch | None:
        """Without an object for each packet, where a packet is nothing but bytes."""
        return self.counters.take(_BATCH if count is None else count)

    def _write(self, data: Data) -> int:
        if type(data) is Packet and data.gso_size:
            raise SpecError(
                f"a packet of {len(data)} bytes that has yet to be cut to wire size: "
                "this device does not take it",
                hint="send its segments(), or open the device with offload=True",
            )
        return os.write(self.fileno(), data)

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor.fileno()

    def close(self) -> None:
        """Count the drops for the last time, and close."""
        self.dropped()
        self._descriptor.close()

    def detach(self) -> int:
        """Count the drops for the last time, and give it away."""
        self.dropped()
        return self._descriptor.detach()

    def dropped(self) -> int:
        """By the count of its interface."""
        if self.drops is None:
            return 0
        if self.fileno() >= 0:
            with suppress(OSError):  # ENODEV: removed, or moved to another namespace
                self.drops.update()
        return self.drops.dropped

    def check(self, address: Address) -> None:
        """A device knows no addresses, and `sendto` says so."""

    def read(self, size: int) -> bytes:
        """What one call gives."""
        return os.read(self.fileno(), size)

    def read_into(self, room: memoryview) -> tuple[int, int]:
        """By readv(2); what does not fit is lost."""
        # A tun device says no more than how much it gave: so it may give a byte too many. Of any
        # other device that byte would be the first of the next read.
        spill = [bytearray(1)] if self.closes_slowly else []
        length = os.readv(self.fileno(), [room, *spill])
        if length == 0:
            raise EOFError
        return min(length, len(room)), length
