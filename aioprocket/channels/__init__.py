"""Using a descriptor: by awaiting, by callback, and what is special to each kind of it."""

from .._system.descriptor import Opened
from .adopt import adopt, build
from .channel import Channel
from .device import DeviceChannel
from .endpoint import create_transport
from .inet import IcmpChannel, InetChannel
from .metrics import prometheus
from .netlink import NetlinkChannel
from .packet import PacketChannel
from .protocol import RawProtocol
from .state import ChannelAttribute, Sent, Stamp, StampInfo, Stats
from .transport import RawTransport
from .tun import TunChannel

__all__ = (
    "Channel",
    "ChannelAttribute",
    "DeviceChannel",
    "IcmpChannel",
    "InetChannel",
    "NetlinkChannel",
    "Opened",
    "PacketChannel",
    "RawProtocol",
    "RawTransport",
    "Sent",
    "Stamp",
    "StampInfo",
    "Stats",
    "TunChannel",
    "adopt",
    "build",
    "create_transport",
    "prometheus",
)
