"""A channel: one descriptor, with what is known about it.

Receiving is in `receiving`, sending in `sending`, how it ends in `ending`; here they become one
object with a state and an owner. What is special to a kind of descriptor is in the subclass of that
kind.
"""

import asyncio.trsock
import socket
import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from anyio.abc import SocketAttribute, UnreliableObjectStream

from .. import bpf
from .._system import options
from .._system.descriptor import Origin
from ..bounds import MAX_INT, whole
from ..errors import ClosedError, SpecError
from ..packet import Packet
from ..readiness import Readiness
from ..spec import Instruction, Latency, Spec, describe
from .ending import Ending
from .explain import channel_error
from .filtering import Filtering
from .intake import Intake
from .link import Link
from .metrics import enlist
from .moderation import moderator
from .outlet import Outlet
from .port import Port
from .receiving import Receiving
from .sending import Sending
from .stamping import Stamper, stamp_info
from .state import ChannelAttribute, StampInfo, Stats

__all__ = ("Channel",)


class Channel(Receiving, Sending, Filtering, Ending, UnreliableObjectStream[Packet]):
    """Packets in and out of one descriptor, on asyncio with any loop, and on trio.

    It owns the descriptor until `close`, `detach` or `to_socket`. After a fork the child may close
    its copy, which does not disturb the parent; it may receive with a loop of its own, too, unless
    a task waited at the fork: that is the reader for good, as one is whose loop was closed, and
    others get `BusyError`. A channel adopted from a copy of the descriptor has no such reader.
    """

    _kind: ClassVar[str] = "socket"

    def __init__(
        self,
        port: Port,
        *,
        link: Link | None = None,
        spec: Spec | None = None,
        origin: Origin = "adopted",
        helper_pid: int | None = None,
        read_packets: int = 64,
        latency: Latency = "low",
    ) -> None:
        self._link = link
        self._spec = spec
        self._origin = origin
        self._helper_pid = helper_pid
        told: tuple[Instruction, ...] | None = getattr(spec, "filter", None)
        self._filter = None if told is None else bpf.Program.of(told)
        # Packets that were read, and not delivered when the channel was closed.
        self._lost = 0
        # Set by a transport: it ends with its channel.
        self._on_close: Callable[[], None] | None = None
        place = self._place()
        intake = Intake(port, link, place)
        moderated = moderator(port, intake.machine.delivery, latency)
        readiness = Readiness(port.fileno(), moderated)
        super().__init__(port, intake, readiness, read_packets)
        self._outlet = Outlet(port, readiness, intake, link, place)
        self._stamper = Stamper(port, readiness, intake, self._outlet, place)
        enlist(self)

    @classmethod
    def from_fd(
        cls,
        fd_or_socket: int | socket.socket,
        *,
        offload: bool = False,
        read_packets: int = 64,
        latency: Literal["low", "balanced"] = "low",
    ) -> "Channel":
        """Adopt a descriptor that somebody else opened: systemd, another library.

        It becomes non-blocking and close-on-exec, and is the channel's from here on. A socket
        object is detached. Nothing is set, bound or filtered; what waits in it stays.

        Args:
            fd_or_socket: What is adopted.
            offload: Of a UDP socket, see `InetChannel`. A filter that it has is asked about the
                first of several datagrams only.
            read_packets: As `aioprocket.open`.
            latency: As `aioprocket.open`; its buffer stays as it is.

        Raises:
            OSError: ``EBADF``: it is not open. The descriptor is the caller's then.
            TypeError: Neither a number nor a socket.
            SpecError: ``read_packets`` is no whole number from 1, or ``latency`` or ``offload``
                means nothing here; as before.
            OpenError: The kernel has no offload of UDP; as before.
        """
        from .adopt import adopt  # the kinds are derived from this class

        return adopt(fd_or_socket, offload=offload, read_packets=read_packets, latency=latency)

    def _place(self) -> str:
        if self._spec is not None:
            return describe(self._spec)
        return f"an adopted descriptor{f' on {self._link.name}' if self._link else ''}"

    def _enter_loop(self) -> None:
        """It is the running event loop's from here on, or it may be for long."""

    # State

    @property
    def interface(self) -> str | None:
        """The interface that the channel is bound to; None: none, or all of them.

        Where the helper's policy grants packets of one interface alone, a channel that was to be of
        all is bound to that one.
        """
        return None if self._link is None else self._link.name

    @property
    def ifindex(self) -> int:
        """The index of `interface` in its namespace; 0 where there is none."""
        return 0 if self._link is None else self._link.index

    @property
    def hwaddr(self) -> bytes | None:
        """The link-layer address of `interface`: six bytes; None where it is in another network."""
        return None if self._link is None else self._link.hwaddr

    @property
    def mtu(self) -> int | None:
        """Of `interface`, in bytes, without the link header."""
        return None if self._link is None else self._link.mtu

    @property
    def name(self) -> str:
        """Of a tun or tap device; empty for all others."""
        return ""

    @property
    def address(self) -> Any:
        """What the socket is bound to, by getsockname(2); None for a device, and when closed."""
        return self._ask(socket.socket.getsockname)

    @property
    def family(self) -> int | None:
        """The socket's address family; None for a device."""
        return None if self._port.sock is None else self._port.sock.family

    @property
    def protocol(self) -> int | None:
        """The socket's protocol, of packet(7) in host order; None for a device."""
        return None if self._port.sock is None else self._port.sock.proto

    @property
    def linktype(self) -> int | None:
        """What a packet starts with, as a LINKTYPE_… number of pcap; None: no such thing."""
        return None

    @property
    def timestamping(self) -> StampInfo:
        """Which timestamps there are here, and by which clock.

        Raises:
            OSError: ``ENODEV``: the interface was removed.
            ClosedError: The channel is closed.
        """
        return stamp_info(self._port, self._link)

    def _ask(self, question: Callable[[socket.socket], Any]) -> Any:
        sock = self._port.sock
        if sock is None or sock.fileno() < 0:
            return None
        try:
            return question(sock)
        except OSError:  # ENOTCONN
            return None

    def stats(self) -> Stats:
        """Counters; see `Stats`. They stay readable after the end."""
        counters, intake, outlet = self._port.counters, self._intake, self._outlet
        return Stats(
            rx_packets=counters.packets + intake.extra_packets,
            rx_bytes=counters.bytes + intake.extra_bytes,
            rx_dropped=self._port.dropped(),
            rx_truncated=counters.truncated + intake.extra_truncated,
            rx_queued=self._port.queued(),
            rx_held=len(self._machine.backlog) + self._lost + self._port.held(),
            tx_packets=outlet.tx_packets,
            tx_bytes=outlet.tx_bytes,
            tx_refused=outlet.tx_refused,
            wakeups=intake.machine.delivery.wakeups,
            errors=intake.error_count,
            link_down=intake.times_link_down,
            rx_freezes=self._port.freezes(),
        )

    @property
    def on_drop(self) -> Callable[[int], object] | None:
        """A function that is called at the first drop, with what ``stats().rx_dropped`` is then.

        Of a UDP socket with a filter, what the filter rejects counts as well (`Stats`).
        Once: None from then on. Set anew, it waits for the next drop. While it is set, the kernel
        is asked each time a read has emptied the queue, or yields to other tasks: one more system
        call. A channel that nobody reads tells nothing. What it raises, the receive raises, which
        has taken no packet; with a transport, the loop's exception handler gets it.
        """
        return self._intake.on_drop

    @on_drop.setter
    def on_drop(self, callback: Callable[[int], object] | None) -> None:
        self._intake.on_drop = callback

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As asyncio's transports.

        Known names: ``socket sockname peername fd spec interface ifindex hwaddr mtu linktype origin
        helper_pid``. The origin says who gave the descriptor: ``"direct"`` (this process), or
        ``"helper" "sudo" "broker" "adopted"``.
        """
        found: Mapping[str, Callable[[], Any]] = {
            "socket": lambda: self._ask(asyncio.trsock.TransportSocket),
            "sockname": lambda: self.address,
            "peername": lambda: self._ask(socket.socket.getpeername),
            "fd": self.fileno,
            "spec": lambda: self._spec,
            "interface": lambda: self.interface,
            "ifindex": lambda: self.ifindex or None,
            "hwaddr": lambda: self.hwaddr,
            "mtu": lambda: self.mtu,
            "linktype": lambda: self.linktype,
            "origin": lambda: self._origin,
            "helper_pid": lambda: self._helper_pid,
        }
        value = found[name]() if name in found else None
        return default if value is None else value

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """For anyio's typed look-up: `anyio.abc.SocketAttribute` and `ChannelAttribute`."""
        found: dict[Any, Callable[[], Any]] = {ChannelAttribute.stats: self.stats}
        sock = self._port.sock
        if sock is not None:
            found[SocketAttribute.raw_socket] = lambda: sock
            found[SocketAttribute.family] = lambda: sock.family
            found[SocketAttribute.local_address] = lambda: self.address
            found[ChannelAttribute.protocol] = lambda: self.protocol
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                found[SocketAttribute.local_port] = lambda: self.address[1]
        if self._link is not None:
            found[ChannelAttribute.interface] = lambda: self.interface
            found[ChannelAttribute.ifindex] = lambda: self.ifindex
            found[ChannelAttribute.hwaddr] = lambda: self.hwaddr
            found[ChannelAttribute.mtu] = lambda: self.mtu
        return found

    # What can be done with the descriptor

    def listen(self, backlog: int = 128) -> None:
        """Listen for connections; `to_socket` then gives what accepts them.

        Raises:
            SpecError: ``backlog`` is no whole number from 0, or this is a device.
            ChannelError: ``EOPNOTSUPP``: not a socket for connections.
        """
        whole("backlog", backlog, 0, MAX_INT)
        sock = self._socket("listen")
        try:
            sock.listen(backlog)
        except OSError as error:
            raise channel_error(error, "listen", self._place()) from error

    def _socket(self, call: str) -> socket.socket:
        if self._closed:
            raise ClosedError(f"{call} on {self._place()}: the channel is closed")
        if self._port.sock is None:
            raise SpecError(f"{call} is for sockets, and {self._place()} is none")
        return self._port.sock

    def fileno(self) -> int:
        """The descriptor, still the channel's; -1 when it was closed or detached."""
        return self._port.fileno()

    def _end(self) -> None:
        self._closed = True
        self._machine.set(False)
        self._settle(0)
        # Before the descriptor goes: the loop must not find the number's next owner under it.
        self._readiness.close()
        if self._link is not None:
            self._link.unplug()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    async def __aenter__(self) -> Self:
        self._enter_loop()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"fd={self.fileno()} active={self._machine.active}"
        if self._ask(options.filter_is_locked):
            state += " filter=locked"
        return f"<{type(self).__name__} {self._place()} {state}>"

    def __del__(self) -> None:
        # No _closed: the constructor failed, and the descriptor is still its opener's. A transport
        # that ends with its channel says so itself.
        if not getattr(self, "_closed", True) and self._on_close is None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()
