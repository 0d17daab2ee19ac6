"""TUN and TAP: the network's end is an interface, ours is this channel."""

from dataclasses import replace
from typing import Any, Final

from .._system import tun
from .._system.descriptor import Descriptor, Opened
from .._system.statistics import LinkDrops
from ..spec import IpInterface, TunSpec, describe
from .channel import Channel
from .explain import step_error
from .link import Link, TunLink
from .offload import OffloadPort
from .port import DevicePort

__all__ = ("TunChannel", "build_tun")

# LINKTYPE_… of pcap.
_ETHERNET: Final = 1
_RAW_IP: Final = 101


class TunChannel(Channel):
    """IP packets (tun) or Ethernet frames (tap).

    What the network sends out of the interface is received here; what is sent here, the interface
    receives.
    """

    _kind = "tun"

    def __init__(self, port: DevicePort, *, name: str, mode: str, **facts: Any) -> None:
        self._name = name
        self._mode = mode
        self._offload = isinstance(port, OffloadPort)
        self._queues: list[TunChannel] = [self]
        self._device = port
        super().__init__(port, **facts)
        if self._link is not None:
            port.drops = _drops(self._link)

    def _place(self) -> str:
        # The spec has the name that was asked for: none, or a pattern.
        if isinstance(self._spec, TunSpec):
            return describe(replace(self._spec, name=self._name))
        return super()._place()

    @property
    def name(self) -> str:
        """The device's name; where none was asked for, the kernel's choice."""
        return self._name

    @property
    def mode(self) -> str:
        """``"tun"`` or ``"tap"``."""
        return self._mode

    @property
    def offload(self) -> bool:
        """Whether packets here may be larger than those on the wire; see `open_tun`."""
        return self._offload

    @property
    def addresses(self) -> tuple[IpInterface, ...]:
        """The addresses that the interface was opened with."""
        return self._spec.addresses if isinstance(self._spec, TunSpec) else ()

    @property
    def queues(self) -> tuple["TunChannel", ...]:
        """This channel and the other queues of its device; each must be read."""
        return tuple(self._queues)

    def add_queue(self, queue: "TunChannel") -> None:
        """Take over another queue of the same device: it is closed with this channel.

        Raises:
            TypeError: It is none.
        """
        if not isinstance(queue, TunChannel):
            raise TypeError(f"a queue is a TunChannel, not {queue!r}")
        self._queues.append(queue)
        queue._device.drops = None  # the interface counts for all of them

    @property
    def linktype(self) -> int:
        """LINKTYPE_RAW (tun) or LINKTYPE_ETHERNET (tap)."""
        return _ETHERNET if self._mode == "tap" else _RAW_IP

    def _ends_with_this(self) -> tuple[Channel, ...]:
        # The interface goes with the last of its queues, unless it is persistent.
        return (*self._queues[1:], self)


def _drops(link: Link) -> LinkDrops | None:
    if not isinstance(link, TunLink) or not link.here:
        return None
    try:
        return LinkDrops(link.index)
    except OSError:  # some sandboxes have no netlink
        return None


def build_tun(opened: Opened, *, spec: TunSpec, **facts: Any) -> TunChannel:
    """Make the channel of a device that is complete already."""
    link = TunLink(opened.descriptor.fileno(), opened.name, opened.ifindex, mtu=spec.mtu)
    facts |= {"link": link, "spec": spec}
    port = _port_of(opened.descriptor, spec)
    return TunChannel(port, name=opened.name, mode=spec.mode, **facts)


def _port_of(descriptor: Descriptor, spec: TunSpec) -> DevicePort:
    """A device's port, and the device told which packets are wanted by it."""
    fd, tap = descriptor.fileno(), spec.mode == "tap"
    try:
        # Also where none are: a device that persists has it from who had it last.
        tun.set_offload(fd, everything=spec.offload)
        if spec.offload:
            tun.set_header_size(fd, tun.HEADER_SIZE)
    except OSError as error:
        raise step_error("set up", "tun", spec, error) from error
    if spec.offload:
        return OffloadPort(descriptor, header=tun.HEADER_SIZE, tags=tap)
    return DevicePort(descriptor, closes_slowly=True, tags=tap)
