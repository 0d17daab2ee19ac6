"""Socket options that the socket module has no words for: filters, buffers, memberships, stamps.

Each takes a socket object; `descriptor.borrowed` makes one around a bare descriptor. A sequence of
calls whose order matters says so, for the kernel does not.
"""

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..spec import Instruction
from ._native import settle
from .numbers import (
    IP_RECVERR,
    IP_RECVTTL,
    IPV6_RECVERR,
    MAX_INSTRUCTIONS,
    RET,
    SOL_PACKET,
    Membership,
    PacketOption,
    SocketOption,
    Timestamping,
    UdpOption,
)
from .statistics import queued_bytes

__all__ = (
    "add_membership",
    "ask_for_segmentation",
    "attach_filter",
    "attached_filter",
    "bind_to_ifindex",
    "bound_ifindex",
    "bypass_qdisc",
    "coalesce",
    "detach_filter",
    "drain",
    "drop_all",
    "drop_membership",
    "enable_auxdata",
    "enable_drop_counter",
    "enable_receive_errors",
    "enable_timestamps",
    "enable_ttl",
    "filter_is_locked",
    "ignore_outgoing",
    "lock_filter",
    "network_cookie",
    "put_back_filter",
    "replace_filter",
    "report_transmit_timestamps",
    "set_receive_buffer",
    "set_send_buffer",
    "timestamps_are_enabled",
    "widen_receive_buffer",
)

_libc = ctypes.CDLL(None, use_errno=True)

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter, linux/filter.h
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog, linux/filter.h
_NUMBER = struct.Struct("@i")
_MEMBERSHIP = struct.Struct("@iHH8s")  # struct packet_mreq, linux/if_packet.h
_USUAL_BUFFER = 212_992  # SK_RMEM_MAX, net/core/sock.c: rmem_default, unless it was changed
_DROP_ALL: Sequence[Instruction] = ((RET, 0, 0, 0),)


def attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Put a classic BPF program in the place of the one attached, if any.

    What is queued already was not filtered by it, and stays readable: see `replace_filter`.

    Raises:
        OSError: ``EINVAL``: the kernel's checker refused the program, or it is longer than
            BPF_MAXINSNS; ``EPERM``: the filter is locked.

    Source: socket(7), SO_ATTACH_FILTER.
    """
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    memory = ctypes.create_string_buffer(code, len(code))
    fprog = _PROGRAM.pack(len(program), ctypes.addressof(memory))
    sock.setsockopt(socket.SOL_SOCKET, SocketOption.ATTACH_FILTER, fprog)


def detach_filter(sock: socket.socket) -> None:
    """Take the filter off, if there is one.

    Raises:
        OSError: ``EPERM``: the filter is locked.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, SocketOption.DETACH_FILTER, 0)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def lock_filter(sock: socket.socket) -> None:
    """Nobody can change or detach the filter from here on, root included. Cannot be undone."""
    sock.setsockopt(socket.SOL_SOCKET, SocketOption.LOCK_FILTER, 1)


def filter_is_locked(sock: socket.SocketType) -> bool:
    """Whether `lock_filter` was called on this socket, by whoever opened it."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, SocketOption.LOCK_FILTER))


def drop_all(sock: socket.socket) -> None:
    """Attach a filter that lets nothing in. Sending is not touched by it."""
    attach_filter(sock, _DROP_ALL)


def drain(sock: socket.socket) -> None:
    """Read and throw away what came until now; a filter must keep more from coming (`drop_all`).

    It waits some 15 ms for what is on its way to the queue. A pending error of the socket (an ICMP
    error, a link that went down) is consumed likewise.
    """
    # One byte of room takes a whole packet off the queue. Not none: CPython then makes no call.
    room = bytearray(1)
    failed = False
    settle()
    while True:
        try:
            length = sock.recv_into(room, 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            # Reading clears the error (socket(7), SO_ERROR). One that comes twice stays.
            if failed:
                raise
            failed = True
        else:
            failed = False
            if not length and _is_at_its_end(sock):
                return


def _is_at_its_end(sock: socket.socket) -> bool:
    """Whether it gives nothing but empty packets, for ever: its reading half is shut down."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    if not poll.poll(0):
        return False
    # Of UDP, FIONREAD is of the first datagram alone; of UNIX sockets, memory is the sender's.
    waiting = fcntl.ioctl(sock.fileno(), termios.FIONREAD, _NUMBER.pack(0))
    return not _NUMBER.unpack(waiting)[0] and not queued_bytes(sock)


def attached_filter(sock: socket.socket) -> Sequence[Instruction] | None:
    """The program that is attached; None for none.

    Raises:
        PermissionError: ``EACCES``: one is that is no classic BPF; the kernel does not tell it.

    Source: sk_get_filter() in net/core/filter.c, which counts in instructions.
    """
    length = ctypes.c_uint(MAX_INSTRUCTIONS)
    code = ctypes.create_string_buffer(_INSTRUCTION.size * MAX_INSTRUCTIONS)
    option = int(SocketOption.ATTACH_FILTER)  # SO_GET_FILTER is the same number
    place = socket.SOL_SOCKET, option, code, ctypes.byref(length)
    if _libc.getsockopt(sock.fileno(), *place) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    found = code.raw[: _INSTRUCTION.size * length.value]
    return tuple(_INSTRUCTION.iter_unpack(found)) or None


def put_back_filter(sock: socket.socket, program: Sequence[Instruction] | None) -> None:
    """Attach what `attached_filter` found, as far as the kernel lets us; nothing is read."""
    with suppress(OSError):  # EPERM: locked
        if program is None:
            detach_filter(sock)
        else:
            attach_filter(sock, program)


def replace_filter(
    sock: socket.socket,
    program: Sequence[Instruction] | None,
    *,
    forget: Callable[[], None] | None = None,
) -> None:
    """Swap filters so that nothing from before the new one can be read after it.

    Everything queued is thrown away: it passed the old filter, if any.

    A ``program`` of None takes the filter off. ``forget`` throws away what waits elsewhere than in
    the socket's queue: in a ring.

    Raises:
        OSError: As `attach_filter`, and of the queue. The socket drops all then.
    """
    drop_all(sock)
    drain(sock)
    if forget is not None:
        forget()
    if program is None:
        detach_filter(sock)
    else:
        attach_filter(sock, program)


def set_receive_buffer(sock: socket.socket, size: int) -> None:
    """Let the kernel hold ``size`` bytes of payload, whatever net.core.rmem_max says.

    Raises:
        PermissionError: ``EPERM``: above the limit, and CAP_NET_ADMIN is missing.
    """
    _set_buffer(sock, size, SocketOption.RCVBUFFORCE, socket.SO_RCVBUF)


def widen_receive_buffer(sock: socket.socket, size: int) -> None:
    """Let a buffer of the usual size hold ``size`` bytes, or as many as net.core.rmem_max allows.

    One that is larger than usual was set by somebody who knew why.
    """
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= _USUAL_BUFFER:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def set_send_buffer(sock: socket.socket, size: int) -> None:
    """As `set_receive_buffer`, for what is to be sent and net.core.wmem_max."""
    _set_buffer(sock, size, SocketOption.SNDBUFFORCE, socket.SO_SNDBUF)


def _set_buffer(sock: socket.socket, size: int, force: SocketOption, plain: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size)
        # The kernel clamps without an error, and doubles what it takes (socket(7)).
        if sock.getsockopt(socket.SOL_SOCKET, plain) < 2 * size:
            raise


def network_cookie(sock: socket.socket) -> bytes:
    """The kernel's number for the network namespace of a socket; none before Linux 5.14.

    Raises:
        OSError: The socket is of a family that has none.
    """
    try:
        return sock.getsockopt(socket.SOL_SOCKET, SocketOption.NETNS_COOKIE, 8)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
        return b""


def bind_to_ifindex(sock: socket.socket, ifindex: int) -> None:
    """SO_BINDTOIFINDEX: unlike SO_BINDTODEVICE it cannot be misled by a name that moves."""
    sock.setsockopt(socket.SOL_SOCKET, SocketOption.BINDTOIFINDEX, ifindex)


def bound_ifindex(sock: socket.SocketType) -> int:
    """The interface that the socket is confined to; 0: none."""
    return sock.getsockopt(socket.SOL_SOCKET, SocketOption.BINDTOIFINDEX)


def enable_timestamps(sock: socket.socket) -> None:
    """Kernel timestamps in nanoseconds of the realtime clock, as SCM_TIMESTAMPNS."""
    sock.setsockopt(socket.SOL_SOCKET, SocketOption.TIMESTAMPNS, 1)


def timestamps_are_enabled(sock: socket.socket) -> bool:
    """Whether somebody has called `enable_timestamps`."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, SocketOption.TIMESTAMPNS))


def report_transmit_timestamps(sock: socket.socket) -> None:
    """Put timestamps of packets that ask for one on the error queue, and number these packets.

    No packet asks by this alone: each does by a control message. Nothing is set that is set
    already, since the kernel would begin to count anew.

    Source: Documentation/networking/timestamping.rst of Linux, 1.3.2 and 1.3.3.
    """
    level, option = socket.SOL_SOCKET, SocketOption.TIMESTAMPING
    before = Timestamping(sock.getsockopt(level, option))
    wanted = before | (
        Timestamping.SOFTWARE
        | Timestamping.RAW_HARDWARE
        | Timestamping.OPT_ID
        | Timestamping.OPT_TSONLY
    )
    if wanted == before & ~Timestamping.OPT_RX_FILTER:
        return
    try:
        # Else every packet received carries a second timestamp from then on.
        sock.setsockopt(level, option, wanted | Timestamping.OPT_RX_FILTER)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        sock.setsockopt(level, option, wanted)


def enable_ttl(sock: socket.socket) -> None:
    """Each packet of IPv4 brings its time to live, as IP_TTL: ip(7)."""
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)


def enable_drop_counter(sock: socket.socket) -> None:
    """Each packet brings the count of those dropped before it, as SO_RXQ_OVFL."""
    sock.setsockopt(socket.SOL_SOCKET, SocketOption.RXQ_OVFL, 1)


def enable_auxdata(sock: socket.socket) -> None:
    """Each packet brings its original length and VLAN tag, as PACKET_AUXDATA: packet(7)."""
    sock.setsockopt(SOL_PACKET, PacketOption.AUXDATA, 1)


def ignore_outgoing(sock: socket.socket) -> None:
    """A packet socket no longer sees what this host sends: packet(7), Linux 4.20."""
    sock.setsockopt(SOL_PACKET, PacketOption.IGNORE_OUTGOING, 1)


def bypass_qdisc(sock: socket.socket) -> None:
    """What a packet socket sends goes to the driver at once: packet(7), PACKET_QDISC_BYPASS."""
    sock.setsockopt(SOL_PACKET, PacketOption.QDISC_BYPASS, 1)


def coalesce(sock: socket.socket, wanted: bool) -> None:
    """Whether a UDP socket may receive several datagrams in one, with UDP_GRO beside it.

    What waits in it already stays as it is, but says its UDP_GRO only while this is on.

    Raises:
        OSError: ``ENOPROTOOPT``: Linux before 5.0, or no UDP socket.

    Source: udp(7); Documentation/networking/segmentation-offloads.rst of Linux.
    """
    sock.setsockopt(socket.IPPROTO_UDP, UdpOption.GRO, wanted)


def ask_for_segmentation(sock: socket.socket) -> None:
    """Nothing is changed by it, but a kernel without UDP_SEGMENT refuses.

    Raises:
        OSError: ``ENOPROTOOPT``: Linux before 4.18, or no UDP socket.
    """
    sock.setsockopt(socket.IPPROTO_UDP, UdpOption.SEGMENT, 0)


def enable_receive_errors(sock: socket.socket, family: int) -> None:
    """Queue ICMP errors on the error queue (MSG_ERRQUEUE): ip(7), ipv6(7)."""
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def add_membership(sock: socket.socket, ifindex: int, membership: Membership) -> None:
    """PROMISCUOUS or ALLMULTI on an interface, counted by the kernel, until the socket closes."""
    _membership(sock, PacketOption.ADD_MEMBERSHIP, ifindex, membership)


def drop_membership(sock: socket.socket, ifindex: int, membership: Membership) -> None:
    """Take back one `add_membership`."""
    _membership(sock, PacketOption.DROP_MEMBERSHIP, ifindex, membership)


def _membership(
    sock: socket.socket, option: PacketOption, ifindex: int, membership: Membership
) -> None:
    request = _MEMBERSHIP.pack(ifindex, membership, 0, bytes(8))
    sock.setsockopt(SOL_PACKET, option, request)
