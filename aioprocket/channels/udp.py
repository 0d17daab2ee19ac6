"""Input and output on a UDP socket, several datagrams in one as far as the kernel goes.

What takes most of the time of a datagram is its way through the kernel. With UDP_SEGMENT
consecutive datagrams of one size to one address go it together, and are cut behind it: by the
device, or just before it. With UDP_GRO those of one sender come together, as the device or the
sending socket has them. Nobody but the kernel and the native module sees any of this.

A filter would be asked about the first datagram alone, and what it cuts off would be cut off all of
them: while there is one, they come one by one.
"""

import errno
import select
import socket
from typing import Final

from .._system import options
from .._system._native import Backlog, Receiver, Sender, settle
from ..bpf import Program
from ..errors import OpenError, errno_text
from ..packet import Packet
from .packetwise import PacketwisePort

__all__ = ("UdpOffloadPort", "is_udp", "prepare")

_SMALLEST: Final = 512  # bytes that the kernel's struct sk_buff takes with its data, at least
_AT_ONCE: Final = 64
_ATTEMPTS: Final = 4  # to find the queue empty; each takes `settle` some 15 ms


def is_udp(sock: socket.socket) -> bool:
    """Whether it is a socket of UDP, and not of a kind that looks like it."""
    return (
        sock.family in (socket.AF_INET, socket.AF_INET6)
        and sock.type == socket.SOCK_DGRAM
        and sock.proto == socket.IPPROTO_UDP
    )


class UdpOffloadPort(PacketwisePort):
    """A socket for which `prepare` was called. ``filtered``: a filter is attached to it."""

    _noun = "a socket with offload"
    _no_flags = "the kernel's next message may be several datagrams, of which this is the first"

    def __init__(self, sock: socket.socket, *, filtered: bool = False) -> None:
        super().__init__(sock)
        self._coalesces = not filtered
        self._receiver = Receiver(sock.fileno())
        self.counters = self._receiver
        self.receive = self._receiver.receive
        self.dispatch = self._receiver.dispatch
        self.sender = Sender(sock.fileno(), segments=True)
        options.coalesce(sock, self._coalesces)

    def keep_rest_in(self, backlog: Backlog) -> None:
        """Where datagrams wait that came with those that were asked for."""
        self._receiver.rest = backlog

    def replace_filter(self, program: Program | None) -> None:
        """As of any socket; a filter sees each datagram."""
        if program is not None:
            self._coalesce(False)
        super().replace_filter(program)
        if program is None:
            self._coalesce(True)

    def _coalesce(self, wanted: bool) -> None:
        options.coalesce(self.sock, wanted)
        self._coalesces = wanted

    def take_waiting(self) -> list[Packet]:
        """What may have come in one: to whoever has the socket next each datagram comes alone.

        The kernel says how long those in one are only while it coalesces, so something may come in
        one meanwhile. In a flood, what is left after several attempts is dropped, and counted so.
        """
        if not self._coalesces:
            return []
        found = self._take_rest()  # it is older
        for _ in range(_ATTEMPTS):
            found += self._take_all()
            self._coalesce(False)
            settle()
            if not self._is_readable():
                return found
            options.coalesce(self.sock, True)
        self._coalesce(False)
        settle()
        self._drops.dropped += self._discard()
        return found

    def _take_all(self) -> list[Packet]:
        found: list[Packet] = []
        for _ in range(self._most_waiting()):
            try:
                packets = self._receiver.receive(_AT_ONCE)
            except OSError:  # an ICMP error, told once
                continue
            if not packets:
                break
            found += packets + self._take_rest()
        return found

    def _take_rest(self) -> list[Packet]:
        rest = self._receiver.rest
        return [] if rest is None else rest.take(len(rest))

    def _discard(self) -> int:
        room = bytearray(1)
        count = 0
        for _ in range(self._most_waiting()):
            try:
                self.sock.recv_into(room)
                count += 1
            except BlockingIOError:
                break
            except OSError:
                continue
        return count

    def _most_waiting(self) -> int:
        """Messages, not less than there are, for in a flood a queue is never empty."""
        return self.queued() // _SMALLEST + 1

    def _is_readable(self) -> bool:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(0))


def prepare(sock: socket.socket, what: str, *, filtered: bool = False) -> None:
    """See that the kernel gives a UDP socket datagrams in one, and takes them so.

    Not even for a moment where it is ``filtered``: what came then would stay as it is.

    Raises:
        OpenError: The kernel is too old for it.
    """
    try:
        options.ask_for_segmentation(sock)
        options.coalesce(sock, not filtered)
    except OSError as error:
        number = error.errno or errno.EIO
        raise OpenError(
            f"switch on offload of {what}: {errno_text(number)}",
            errno=number,
            step="option",
            hint="UDP_SEGMENT and UDP_GRO came with Linux 4.18 and 5.0; leave out offload=True",
        ) from error
