"""Packet sockets: every frame of one interface, or of all. Source: packet(7)."""

import socket
from typing import Any, Final

from .._system import interfaces, options
from .._system.descriptor import Opened, borrowed
from .._system.numbers import Membership
from .._system.packet_socket import bind_packet
from ..spec import PacketSpec
from .channel import Channel
from .explain import step_error
from .link import Link
from .port import SocketPort

__all__ = ("PacketChannel", "build_packet")

# LINKTYPE_… of pcap: what a frame starts with.
_ETHERNET: Final = 1
_RAW_IP: Final = 101
_IP_PROTOCOLS: Final = {0x0800, 0x86DD}  # ETH_P_IP, ETH_P_IPV6: linux/if_ether.h


class PacketChannel(Channel):
    """Frames with their link header (type raw), or what is behind it (type dgram)."""

    def __init__(self, port: SocketPort, **facts: Any) -> None:
        self._protocol: int = port.sock.getsockname()[1]
        super().__init__(port, **facts)

    @property
    def protocol(self) -> int:
        """The Ethernet protocol that is received, in host order; 3 is all of them."""
        return self._protocol

    @property
    def linktype(self) -> int | None:
        """LINKTYPE_ETHERNET, or LINKTYPE_RAW for IP without a header; else None."""
        sock = self._port.sock
        if sock is not None and sock.type == socket.SOCK_RAW:
            return _ETHERNET if self._link is None or self._link.ethernet else None
        return _RAW_IP if self._protocol in _IP_PROTOCOLS else None


def build_packet(opened: Opened, *, spec: PacketSpec, **facts: Any) -> PacketChannel:
    """Do what any holder of a packet socket may do: set it up, and bind it last of all.

    Before the bind the socket receives nothing, so no packet escapes what was set before.
    """
    with borrowed(opened.descriptor.fileno()) as sock:
        link = _link(sock, opened, spec)
        _set_up(sock, spec, link)
    port = SocketPort(socket.socket(fileno=opened.descriptor.detach()), size=spec.snaplen)
    return PacketChannel(port, link=link, spec=spec, **facts)


def _link(sock: socket.socket, opened: Opened, spec: PacketSpec) -> Link | None:
    if spec.interface is None:
        return None
    try:
        index = opened.ifindex or interfaces.interface_index(sock.fileno(), spec.interface)
    except OSError as error:
        raise step_error("find the interface of", "interface", spec, error) from error
    return Link(sock.fileno(), spec.interface, index)


def _set_up(sock: socket.socket, spec: PacketSpec, link: Link | None) -> None:
    try:
        options.enable_timestamps(sock)
        options.enable_auxdata(sock)
        if spec.qdisc_bypass:
            options.bypass_qdisc(sock)
        if link is not None and spec.promiscuous:
            options.add_membership(sock, link.index, Membership.PROMISCUOUS)
        if link is not None and spec.allmulti:
            options.add_membership(sock, link.index, Membership.ALLMULTI)
    except OSError as error:
        raise step_error("set up", "option", spec, error) from error
    try:
        bind_packet(sock, 0 if link is None else link.index, spec.protocol)
    except OSError as error:
        raise step_error("bind", "bind", spec, error) from error
