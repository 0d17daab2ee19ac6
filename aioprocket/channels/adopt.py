"""From a descriptor to the channel of its kind: those that a door opened, and foreign ones."""

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from .. import arguments
from .._system import interfaces, tun
from .._system.descriptor import Descriptor, Opened, borrowed
from .._system.numbers import TunFlag
from ..bounds import MAX_INT
from ..errors import SpecError
from ..spec import DeviceSpec, Latency, PacketSpec, SocketSpec, TunSpec
from .channel import Channel
from .device import DeviceChannel
from .inet import InetChannel, bound_link, build_inet
from .link import Link, TunLink
from .moderation import check_latency, widen_buffer
from .netlink import NetlinkChannel
from .offload import OffloadPort
from .packet import PacketChannel, build_packet
from .port import DevicePort, SocketPort
from .tun import TunChannel, build_tun
from .udp import UdpOffloadPort, is_udp, prepare

__all__ = ("adopt", "build")


def build(opened: Opened, *, read_packets: int = 64, icmp: bool = False) -> Channel:
    """Make the channel of what a door opened, and own its descriptor from then on.

    Args:
        opened: As `helper.obtain` delivers it.
        read_packets: Packets read at most per wakeup of an active channel.
        icmp: The caller wants ICMP messages, whatever kind of socket carries them.

    Raises:
        SpecError: ``read_packets`` is no whole number from 1; as for `OpenError`.
        OpenError: A step that is the receiver's failed; the descriptor is still ``opened``'s.
    """
    spec = opened.spec
    facts: dict[str, Any] = {
        "spec": spec,
        "origin": opened.origin,
        "helper_pid": opened.helper_pid,
        "read_packets": arguments.read_packets(read_packets),
    }
    match spec:
        case PacketSpec():
            return build_packet(opened, **facts)
        case SocketSpec(family=socket.AF_INET | socket.AF_INET6):
            return build_inet(opened, icmp=icmp, **facts)
        case TunSpec():
            return build_tun(opened, **facts)
        case DeviceSpec():
            return DeviceChannel(DevicePort(opened.descriptor), **facts)
    kind = NetlinkChannel if spec.family == socket.AF_NETLINK else Channel
    with borrowed(opened.descriptor.fileno()) as sock:
        widen_buffer(sock, spec.latency, spec.receive_buffer)
    sock = socket.socket(fileno=opened.descriptor.detach())
    return kind(SocketPort(sock), latency=spec.latency, **facts)


def adopt(
    fd_or_socket: int | socket.socket,
    *,
    offload: bool = False,
    read_packets: int = 64,
    latency: Latency = "low",
) -> Channel:
    """Find out what a foreign descriptor is, and own it from then on; see `Channel.from_fd`."""
    arguments.read_packets(read_packets)
    is_number = isinstance(fd_or_socket, int) and not isinstance(fd_or_socket, bool)
    if not is_number and not isinstance(fd_or_socket, socket.socket):
        raise TypeError(f"from_fd takes a descriptor or a socket, not {fd_or_socket!r}")
    fd = fd_or_socket if isinstance(fd_or_socket, int) else fd_or_socket.fileno()
    if not -1 <= fd <= MAX_INT:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    os.set_inheritable(fd, False)  # EBADF here, where nothing was taken yet
    channel = _socket_channel(fd, read_packets, offload, latency)
    if channel is None:
        check_latency(latency, None)
        _check_no_offload(fd, offload)
        channel = _device_channel(fd, read_packets)
    if not isinstance(fd_or_socket, int):
        fd_or_socket.detach()
    return channel


def _check_no_offload(fd: int, offload: bool) -> None:
    if offload:
        raise SpecError(
            f"descriptor {fd} is no UDP socket, which alone has offload",
            hint="a tun or tap device has it from where it was opened; leave out offload=True",
        )


def _socket_channel(fd: int, read_packets: int, offload: bool, latency: Latency) -> Channel | None:
    try:
        with borrowed(fd) as sock:
            check_latency(latency, sock)
            _check_no_offload(fd, offload and not is_udp(sock))
            kind, link = _kind_of_socket(sock)
            if offload:
                prepare(sock, "an adopted UDP socket")
    except OSError as error:
        if error.errno == errno.ENOTSOCK:
            return None
        raise
    make = UdpOffloadPort if offload else SocketPort
    port = make(socket.socket(fileno=fd))
    port.count_drops_from_here()
    return kind(port, link=link, read_packets=read_packets, latency=latency)


def _kind_of_socket(sock: socket.socket) -> tuple[Callable[..., Channel], Link | None]:
    if sock.family == socket.AF_PACKET:
        ifname = sock.getsockname()[0]
        if not ifname:
            return PacketChannel, None
        index = interfaces.interface_index(sock.fileno(), ifname)
        return PacketChannel, Link(sock.fileno(), ifname, index)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return InetChannel, bound_link(sock)
    return (NetlinkChannel if sock.family == socket.AF_NETLINK else Channel), None


def _device_channel(fd: int, read_packets: int) -> Channel:
    try:
        flags = tun.device_flags(fd)
        mode = "tap" if TunFlag.TAP in flags else "tun"
        name = tun.device_name(fd)
    except OSError:
        return DeviceChannel(DevicePort(Descriptor(fd)), read_packets=read_packets)
    index = next((index for index, here in socket.if_nameindex() if here == name), 0)
    link = TunLink(fd, name, index, mtu=None)
    if TunFlag.VNET_HDR in flags:
        size = tun.header_size(fd)
        port: DevicePort = OffloadPort(Descriptor(fd), header=size, tags=mode == "tap")
    else:
        port = DevicePort(Descriptor(fd), closes_slowly=True, tags=mode == "tap")
    return TunChannel(port, name=name, mode=mode, link=link, read_packets=read_packets)
