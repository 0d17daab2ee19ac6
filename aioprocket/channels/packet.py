"""Packet sockets: every frame of one interface, or of all. Source: packet(7)."""

import errno
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final, TypeAlias

from .._system import interfaces, options
from .._system.descriptor import Opened
from .._system.numbers import Membership
from .._system.packet_socket import bind_packet
from .._system.ring import (
    FrameGeometry,
    Geometry,
    fanout_group,
    frame_geometry,
    join_fanout,
    make_frames,
    make_ring,
    ring_geometry,
)
from ..errors import OpenError, errno_text
from ..packet import Batch, Packet
from ..spec import Fanout, PacketSpec, describe
from .channel import Channel
from .explain import step_error
from .link import Link
from .moderation import widen_buffer
from .port import MAX_PACKET, SocketPort
from .ring import FramePort, RingPort, cut_by_filter
from .spill import Spill

__all__ = ("PacketChannel", "build_packet")

# LINKTYPE_… of pcap: what a frame starts with.
_ETHERNET: Final = 1
_RAW_IP: Final = 101
_IP_PROTOCOLS: Final = {0x0800, 0x86DD}  # ETH_P_IP, ETH_P_IPV6: linux/if_ether.h

_Geometry: TypeAlias = Geometry | FrameGeometry


class PacketChannel(Channel):
    """Frames with their link header (type raw), or what is behind it (type dgram)."""

    _kind = "packet"

    def __init__(
        self, port: SocketPort, *, geometry: _Geometry | None = None, **facts: Any
    ) -> None:
        self._protocol: int = port.sock.getsockname()[1]
        self._geometry = geometry
        super().__init__(port, **facts)
        self._spill: Spill | None = None
        if isinstance(port, RingPort):
            self._spill = port.spill(self._machine, self._readiness, self._reader)

    def __aiter__(self) -> AsyncIterator[Packet]:  # type: ignore[override]
        self._enter_loop()
        return super().__aiter__()

    def batches(self, max: int | None = None) -> AsyncIterator[Batch]:
        """As those of any channel; of a ring, block by block."""
        self._enter_loop()
        return super().batches(max)

    def receive_nowait(self) -> Packet:
        """As that of any channel."""
        try:
            return super().receive_nowait()
        except BlockingIOError:
            self._enter_loop()
            raise

    def _begin_turn(self) -> int:
        self._enter_loop()
        return super()._begin_turn()

    def _enter_loop(self) -> None:
        if self._spill is not None:
            self._spill.start()

    def _end(self) -> None:
        if self._spill is not None:
            self._spill.close()
        super()._end()

    @property
    def ring_size(self) -> int:
        """Bytes of memory that the ring takes; 0 without one."""
        return 0 if self._geometry is None else self._geometry.size

    @property
    def fanout(self) -> Fanout | None:
        """The group that shares the packets out, with its number."""
        asked: Fanout | None = getattr(self._spec, "fanout", None)
        if asked is None:
            return None
        return replace(asked, group=self._ask(fanout_group))

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
    geometry = _geometry(spec)
    sock = socket.socket(fileno=opened.descriptor.fileno())
    port: SocketPort | None = None
    try:
        link = _link(sock, opened, spec)
        _set_up(sock, spec, link)
        port = _port(sock, spec, geometry)
        _bind(sock, spec, link)
        if spec.fanout is not None:
            _join(port, spec, spec.fanout)
    except BaseException:
        if isinstance(port, RingPort | FramePort):
            port.unmap()
        sock.detach()
        raise
    opened.descriptor.detach()
    return PacketChannel(
        port, geometry=geometry, link=link, spec=spec, latency=spec.latency, **facts
    )


def _geometry(spec: PacketSpec) -> _Geometry | None:
    # Of protocol 0 it receives nothing (packet(7)): a ring would only take memory, and 15 ms.
    if not spec.ring or not spec.protocol:
        return None
    # The kernel hands over no block sooner than after 1 ms, and every frame at once.
    if spec.latency == "low":
        return frame_geometry(spec.snaplen, spec.ring_size)
    return ring_geometry(spec.latency, spec.snaplen, spec.ring_size)


def _port(sock: socket.socket, spec: PacketSpec, geometry: _Geometry | None) -> SocketPort:
    if geometry is None:
        widen_buffer(sock, spec.latency, spec.receive_buffer)
        return SocketPort(sock, size=spec.snaplen)
    try:
        if spec.snaplen < MAX_PACKET and not options.filter_is_locked(sock):
            cut = cut_by_filter(spec.filter, spec.snaplen)
            options.attach_filter(sock, cut or ())
        if isinstance(geometry, FrameGeometry):
            if spec.ring_size is not None:  # of packets that are larger than a frame
                options.widen_receive_buffer(sock, spec.ring_size)
            make_frames(sock, geometry)
            return FramePort(sock, geometry, snaplen=spec.snaplen)
        make_ring(sock, geometry)
        return RingPort(sock, geometry, snaplen=spec.snaplen)
    except OSError as error:
        raise _ring_error(error, spec, geometry) from error


def _ring_error(error: OSError, spec: PacketSpec, geometry: _Geometry) -> OpenError:
    number = error.errno or errno.EIO
    hint = ""
    if number == errno.ENOMEM:
        hint = (
            "a ring is memory that cannot be swapped, and counts for RLIMIT_AS: lower "
            "receive_buffer=, its size in bytes, or snaplen=, which bounds it from below; or say "
            "ring=False"
        )
    return OpenError(
        f"make a ring of {_parts(geometry)} for {describe(spec)}: {errno_text(number)}",
        errno=number,
        step="ring",
        hint=hint,
    )


def _parts(geometry: _Geometry) -> str:
    if isinstance(geometry, FrameGeometry):
        return f"{geometry.frames} frames of {geometry.frame_size} bytes"
    return f"{geometry.blocks} blocks of {geometry.block_size} bytes"


def _join(port: SocketPort, spec: PacketSpec, fanout: Fanout) -> None:
    try:
        join_fanout(port.sock, fanout)
        # Until then it received what is the others' as well.
        if isinstance(port, RingPort | FramePort):
            port.begin_anew()
        elif not options.filter_is_locked(port.sock):
            options.replace_filter(port.sock, spec.filter)
    except OSError as error:
        raise step_error(f"join fanout group {fanout.group} with", "fanout", spec, error) from error


def _link(sock: socket.socket, opened: Opened, spec: PacketSpec) -> Link | None:
    name, index = spec.interface, opened.ifindex
    if name is None and not index:
        return None
    try:
        if name is None:  # the policy grants this one alone, and its filter lets no other in
            name = interfaces.interface_name(sock.fileno(), index)
        index = index or interfaces.interface_index(sock.fileno(), name)
    except OSError as error:
        raise step_error("find the interface of", "interface", spec, error) from error
    return Link(sock.fileno(), name, index)


def _set_up(sock: socket.socket, spec: PacketSpec, link: Link | None) -> None:
    try:
        if spec.protocol:
            # While one socket asks for times, the kernel reads a clock for each packet of the host.
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


def _bind(sock: socket.socket, spec: PacketSpec, link: Link | None) -> None:
    try:
        bind_packet(sock, 0 if link is None else link.index, spec.protocol)
    except OSError as error:
        raise step_error("bind", "bind", spec, error) from error
