"""Raw sockets, packet capture, low ports and TUN/TAP for asyncio, without Python as root.

Doors (`open`, `open_packet`, `open_icmp`, `open_tun`, `open_device`) give channels; a channel is
read by awaiting it, or gives its packets to a protocol (`create_endpoint`). A `Helper` is one
session with the privileged program that opens many descriptors. `__version__` is that of the
package that is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    open,
    open_device,
    open_icmp,
    open_packet,
    open_tun,
)
from .endpoint import create_endpoint
from .errors import (
    ActiveModeError,
    AioprocketError,
    BusyError,
    CaptureError,
    ChannelError,
    ClosedError,
    FilterError,
    HelperDiedError,
    HelperError,
    HelperNotFoundError,
    HelperProtocolError,
    HelperTimeoutError,
    LinkDownError,
    MissingLibraryError,
    NetworkUnavailableError,
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

__all__ = (
    "ActiveModeError",
    "AioprocketError",
    "Answer",
    "Batch",
    "BusyError",
    "CaptureError",
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
    "Hop",
    "HopStatistics",
    "HostTime",
    "HostWindow",
    "IcmpChannel",
    "InetChannel",
    "LinkDownError",
    "MissingLibraryError",
    "Monitor",
    "MplsLabel",
    "MtuLimit",
    "Neighbour",
    "NetlinkChannel",
    "NetworkUnavailableError",
    "NotPermittedError",
    "OpenError",
    "Packet",
    "PacketChannel",
    "PathMtu",
    "PathWatch",
    "PingResult",
    "Pinger",
    "PingerStats",
    "RawProtocol",
    "RawTransport",
    "ReportedError",
    "ResolutionError",
    "Scan",
    "Sent",
    "Snapshot",
    "SpecError",
    "Stamp",
    "StampInfo",
    "Stats",
    "Trace",
    "TunChannel",
    "WireError",
    "__version__",
    "address_mask",
    "arp",
    "bpf",
    "create_endpoint",
    "dissect",
    "helper_path",
    "icmp_timestamp",
    "mtr",
    "ndp",
    "open",
    "open_device",
    "open_icmp",
    "open_packet",
    "open_tun",
    "path_mtu",
    "pcapng",
    "ping",
    "prometheus",
    "scan",
    "testing",
    "traceroute",
    "vendor",
)

if TYPE_CHECKING:
    __version__: str
    from . import dissect, pcapng, testing
    from .neighbours import (
        HostTime,
        Neighbour,
        address_mask,
        arp,
        icmp_timestamp,
        ndp,
        vendor,
    )
    from .neighbours.scan import Scan, scan
    from .pinger import Echo, EchoError, HostWindow, Monitor, Pinger, PingerStats, PingResult, ping
    from .tracer import (
        Answer,
        Hop,
        HopStatistics,
        MtuLimit,
        PathMtu,
        PathWatch,
        Snapshot,
        Trace,
        mtr,
        traceroute,
    )
    from .tracer.path_mtu import path_mtu
    from .wire.icmp_extensions import MplsLabel
else:
    # The tools are loaded when the first name of theirs is asked for: together they take longer
    # than all that a program with one socket needs.
    _LATER = {
        "HostTime": "neighbours",
        "Neighbour": "neighbours",
        "Scan": "neighbours",
        "address_mask": "neighbours",
        "arp": "neighbours",
        "icmp_timestamp": "neighbours",
        "ndp": "neighbours",
        "scan": "neighbours",
        "vendor": "neighbours",
        "Echo": "pinger",
        "EchoError": "pinger",
        "HostWindow": "pinger",
        "Monitor": "pinger",
        "Pinger": "pinger",
        "PingerStats": "pinger",
        "PingResult": "pinger",
        "ping": "pinger",
        "Answer": "tracer",
        "Hop": "tracer",
        "HopStatistics": "tracer",
        "MtuLimit": "tracer",
        "PathMtu": "tracer",
        "PathWatch": "tracer",
        "Snapshot": "tracer",
        "Trace": "tracer",
        "mtr": "tracer",
        "path_mtu": "tracer",
        "traceroute": "tracer",
        "MplsLabel": "wire.icmp_extensions",
    }

    def __getattr__(name: str) -> Any:
        if name in ("dissect", "pcapng", "testing"):
            return import_module(f".{name}", __name__)  # which binds it here
        if name == "__version__":
            # Loaded here alone: it takes longer than all else that is loaded when it is wanted.
            value = globals()[name] = import_module("importlib.metadata").version(__name__)
            return value
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        value = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
