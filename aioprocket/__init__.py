"""Raw sockets, packet capture, low ports and TUN/TAP for asyncio, without Python as root.

Doors (`open`, `open_packet`, `open_icmp`, `open_tun`, `open_device`) give channels; a channel is
read by awaiting it, or gives its packets to a protocol (`create_endpoint`). A `Helper` is one
session with the privileged program that opens many descriptors.
"""

from . import bpf
from .channels import (
    Channel,
    DeviceChannel,
    IcmpChannel,
    InetChannel,
    NetlinkChannel,
    PacketChannel,
    RawProtocol,
    RawTransport,
    Sent,
    Stamp,
    StampInfo,
    Stats,
    TunChannel,
    prometheus,
)
from .doors import (
    create_endpoint,
    open,
    open_device,
    open_icmp,
    open_packet,
    open_tun,
)
from .errors import (
    ActiveModeError,
    AioprocketError,
    BusyError,
    ChannelError,
    ClosedError,
    FilterError,
    HelperDiedError,
    HelperError,
    HelperNotFoundError,
    HelperProtocolError,
    HelperTimeoutError,
    LinkDownError,
    NotPermittedError,
    OpenError,
    ReportedError,
    ResolutionError,
    SpecError,
    WireError,
)
from .helper import Helper, helper_path
from .opening import Door
from .packet import Batch, Packet
from .pinger import Echo, EchoError, HostWindow, Monitor, Pinger, PingerStats, PingResult, ping
from .spec import Fanout

__all__ = (
    "ActiveModeError",
    "AioprocketError",
    "Batch",
    "BusyError",
    "Channel",
    "ChannelError",
    "ClosedError",
    "DeviceChannel",
    "Door",
    "Echo",
    "EchoError",
    "Fanout",
    "FilterError",
    "Helper",
    "HelperDiedError",
    "HelperError",
    "HelperNotFoundError",
    "HelperProtocolError",
    "HelperTimeoutError",
    "HostWindow",
    "IcmpChannel",
    "InetChannel",
    "LinkDownError",
    "Monitor",
    "NetlinkChannel",
    "NotPermittedError",
    "OpenError",
    "Packet",
    "PacketChannel",
    "PingResult",
    "Pinger",
    "PingerStats",
    "RawProtocol",
    "RawTransport",
    "ReportedError",
    "ResolutionError",
    "Sent",
    "SpecError",
    "Stamp",
    "StampInfo",
    "Stats",
    "TunChannel",
    "WireError",
    "bpf",
    "create_endpoint",
    "helper_path",
    "open",
    "open_device",
    "open_icmp",
    "open_packet",
    "open_tun",
    "ping",
    "prometheus",
)
