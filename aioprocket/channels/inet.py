"""Sockets of the internet protocols: TCP and UDP on low ports, raw IP, and ICMP."""

import os
import socket
from collections.abc import Sequence
from typing import Any, Final

from .._system import interfaces, options
from .._system.descriptor import Opened, borrowed
from ..bpf import Icmp6Filter, Program
from ..spec import Instruction, SocketSpec, describe
from .channel import Channel
from .explain import step_error
from .link import Link
from .moderation import widen_buffer
from .port import IcmpPort, SocketPort
from .udp import UdpOffloadPort, prepare

__all__ = ("IcmpChannel", "InetChannel", "bound_link", "build_inet")

_ICMP6_FILTER: Final = 1  # linux/icmpv6.h
_PASS_ALL: Final = bytes(32)
_IPV4: Final = 228  # LINKTYPE_IPV4 of pcap


class InetChannel(Channel):
    """Datagrams of UDP, packets of a raw IP protocol, or a TCP socket on its way to a server.

    From a raw IPv4 socket each packet comes with its IP header, from a raw IPv6 socket without:
    raw(7), ipv6(7).

    With ``offload=True`` UDP datagrams go through the kernel several at once (UDP_SEGMENT,
    UDP_GRO: Linux 5.0), and what is on the wire is the same. Packets of a batch, and replies of one
    turn, go together where they follow each other, have the same length, but for the last, which
    may be shorter, and the same address. What comes together is taken apart: each datagram is a
    `Packet`, but they share the time of the first. Those that the kernel has no room for count as
    one in ``stats().rx_dropped``, for it counts what it had in one: as many were dropped at least.
    More may be read than was asked for, which `Stats.rx_held` says; at a `detach` that is in
    `undelivered`, with what waits in the kernel, and in a flood some of it is dropped, and counted
    so. While there is a filter, each datagram comes alone, for the kernel would ask it about the
    first one only. ``recvmsg`` takes no flags such as MSG_PEEK. A packet that is sent for its
    timestamp goes alone.
    """

    _kind = "inet"

    def __init__(self, port: SocketPort, **facts: Any) -> None:
        super().__init__(port, **facts)
        self._offload = isinstance(port, UdpOffloadPort)
        if isinstance(port, UdpOffloadPort):
            port.keep_rest_in(self._machine.backlog)
        connected = self._ask(socket.socket.getpeername) is not None
        self._outlet.addressed = not connected and not port.stream

    @property
    def offload(self) -> bool:
        """Whether datagrams go through the kernel several at once."""
        return self._offload

    @property
    def linktype(self) -> int | None:
        """LINKTYPE_IPV4 of a raw socket of IPv4; else None, as no header is received."""
        sock = self._port.sock
        headed = sock is not None and (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_RAW)
        return _IPV4 if headed else None


class IcmpChannel(InetChannel):
    """ICMP or ICMPv6 messages: each starts with the ICMP header, whatever the socket.

    The time to live (hop limit) of each arrives in ``ancdata``.
    """

    _kind = "icmp"

    def __init__(self, port: SocketPort, **facts: Any) -> None:
        super().__init__(port, **facts)
        # A ping socket's "port" is the identifier that the kernel writes into each request.
        ping = port.sock.type == socket.SOCK_DGRAM
        self._identifier: int = (
            port.sock.getsockname()[1] if ping else int.from_bytes(os.urandom(2), "big")
        )

    @property
    def linktype(self) -> None:
        """None: a message starts with the header of ICMP."""
        return None

    @property
    def identifier(self) -> int:
        """The identifier for echo requests. A ping socket writes it itself and sees no other's.

        On a raw socket it is a random number, and replies to everybody else arrive as well.
        """
        return self._identifier

    def _swap(self, sock: socket.socket, program: Program | None) -> None:
        # The wider of both first: what the new filter wants must not be missed in between.
        _set_types(sock, None)
        super()._swap(sock, program)
        _set_types(sock, program)

    def _put_back(self, sock: socket.socket, before: Sequence[Instruction] | None) -> None:
        super()._put_back(sock, before)
        _set_types(sock, self._filter)


def build_inet(opened: Opened, *, spec: SocketSpec, icmp: bool, **facts: Any) -> InetChannel:
    """Make the channel of an inet socket that is bound, filtered and limited already."""
    with borrowed(opened.descriptor.fileno()) as sock:
        if spec.offload:
            prepare(sock, describe(spec), filtered=spec.filter is not None)
        try:
            if sock.type != socket.SOCK_STREAM:
                options.enable_timestamps(sock)
            widen_buffer(sock, spec.latency, spec.receive_buffer)
            if spec.broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if icmp:
                _set_up_icmp(sock)
                _set_types(sock, spec.filter)
        except OSError as error:
            raise step_error("set up", "option", spec, error) from error
        link = bound_link(sock)
    sock = socket.socket(fileno=opened.descriptor.detach())
    facts |= {"link": link, "spec": spec, "latency": spec.latency}
    if spec.offload:
        return InetChannel(UdpOffloadPort(sock, filtered=spec.filter is not None), **facts)
    if not icmp:
        return InetChannel(SocketPort(sock), **facts)
    headed = sock.family == socket.AF_INET and sock.type == socket.SOCK_RAW
    return IcmpChannel(IcmpPort(sock) if headed else SocketPort(sock), **facts)


def _set_up_icmp(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    elif sock.type == socket.SOCK_DGRAM:  # a raw socket's packets have it in their IP header
        options.enable_ttl(sock)
    if sock.type == socket.SOCK_DGRAM and sock.getsockname()[1] == 0:
        # Without it the kernel chooses the identifier at the first send.
        sock.bind((sock.getsockname()[0], 0))


def _set_types(sock: socket.socket, program: tuple[Instruction, ...] | None) -> None:
    """Have the kernel sort out types before it copies a message. The program alone decides."""
    if (sock.type, sock.proto) == (socket.SOCK_RAW, socket.IPPROTO_ICMPV6):
        passing = program.option if isinstance(program, Icmp6Filter) else _PASS_ALL
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, passing)


def bound_link(sock: socket.socket) -> Link | None:
    """The interface that an inet socket is confined to."""
    index = options.bound_ifindex(sock)
    if not index:
        return None
    try:
        name = interfaces.interface_name(sock.fileno(), index)
    except OSError:  # removed since
        return None
    return Link(sock.fileno(), name, index)
