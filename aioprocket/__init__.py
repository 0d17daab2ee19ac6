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
from .spec import Fanout
from .tracer import (
    Answer,
    Hop,
    HopStatistics,
    PathWatch,
    Snapshot,
    Trace,
    mtr,
    traceroute,
)
from .wire.icmp_extensions import MplsLabel

__all__ = (
    "ActiveModeError",
    "AioprocketError",
    "Answer",
    "Batch",
    "BusyError",
    "Channel",
    "ChannelError",
    "ClosedError",
    "DeviceChannel",
    "Door",
    "Fanout",
    "FilterError",
    "Helper",
    "HelperDiedError",
    "HelperError",
    "HelperNotFoundError",
    "HelperProtocolError",
    "HelperTimeoutError",
    "Hop",
    "HopStatistics",
    "IcmpChannel",
    "InetChannel",
    "LinkDownError",
    "MplsLabel",
    "NetlinkChannel",
    "NotPermittedError",
    "OpenError",
    "Packet",
    "PacketChannel",
    "PathWatch",
    "RawProtocol",
    "RawTransport",
    "ReportedError",
    "ResolutionError",
    "Sent",
    "Snapshot",
    "SpecError",
    "Stamp",
    "StampInfo",
    "Stats",
    "Trace",
    "TunChannel",
    "WireError",
    "bpf",
    "create_endpoint",
    "helper_path",
    "mtr",
    "open",
    "open_device",
    "open_icmp",
    "open_packet",
    "open_tun",
    "prometheus",
    "traceroute",
)
