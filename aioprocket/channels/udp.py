"""Input and output on a UDP socket, several datagrams in one as far as the kernel goes.

What takes most of the time of a datagram is its way through the kernel. With UDP_SEGMENT
consecutive datagrams of one size to one address go it together, and are cut behind it: by the
device, or just before it. With UDP_GRO those of one sender come together, as the device or the
sending socket has them. Nobody but the kernel and the native module sees any of this.

A filter would be asked about the first datagram alone, and what it cuts off would be cut off all of
them: while there is one, they come one by one.
"""

import errno
import socket
from typing import Final

from .._system import options
from .._system._native import Backlog, Receiver, Sender, settle
from ..bpf import Program
from ..errors import OpenError, errno_text
from .packetwise import PacketwisePort

__all__ = ("UdpOffloadPort", "is_udp", "prepare")

_SMALLEST: Final = 512  # bytes that the kernel's struct sk_buff takes with its data, at least


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

    def become_plain(self) -> None:
        """Each datagram comes alone to whoever has the socket next; what waits is thrown away."""
        if not self._coalesces:
            return
        self._coalesce(False)
        settle()
        room = bytearray(1)
        # In a flood it is never empty. Of what waits, nothing takes less memory than this.
        for _ in range(self.queued() // _SMALLEST + 1):
            try:
                self.sock.recv_into(room)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error, told once
                continue


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
