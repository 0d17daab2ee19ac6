"""The counters of all open channels, as text for Prometheus.

Source: Prometheus, "Exposition formats", text-based format 0.0.4.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol
from weakref import WeakValueDictionary

from ..names import protocol_name
from .state import Stats

__all__ = ("enlist", "prometheus")


class _Counted(Protocol):
    _kind: ClassVar[str]

    def stats(self) -> Stats: ...

    def fileno(self) -> int: ...

    def get_extra_info(self, name: str) -> Any: ...

    @property
    def interface(self) -> str | None: ...

    @property
    def family(self) -> int | None: ...

    @property
    def protocol(self) -> int | None: ...


class _Metric(NamedTuple):
    name: str
    kind: Literal["counter", "gauge"]
    help: str


# By the field of `Stats`, which says more.
_METRICS: Final = {
    "rx_packets": _Metric("rx_packets_total", "counter", "Packets read from the kernel."),
    "rx_bytes": _Metric("rx_bytes_total", "counter", "Bytes of packets read from the kernel."),
    "rx_dropped": _Metric(
        "rx_dropped_total",
        "counter",
        "Packets that the kernel had no room for, and of UDP those that a filter rejects.",
    ),
    "rx_truncated": _Metric(
        "rx_truncated_total", "counter", "Packets that were longer than the room for them."
    ),
    "rx_queued": _Metric(
        "rx_queued_bytes", "gauge", "Kernel memory that packets hold which were not read yet."
    ),
    "rx_held": _Metric(
        "rx_held_packets", "gauge", "Packets that were read and not delivered, or keep room."
    ),
    "tx_packets": _Metric("tx_packets_total", "counter", "Packets that the kernel took."),
    "tx_bytes": _Metric("tx_bytes_total", "counter", "Bytes of packets that the kernel took."),
    "tx_refused": _Metric(
        "tx_refused_total", "counter", "Packets that the kernel had no room for at first."
    ),
    "wakeups": _Metric(
        "wakeups_total", "counter", "How often the loop said that there is something to read."
    ),
    "errors": _Metric("errors_total", "counter", "Errors that did not end a receive."),
    "link_down": _Metric("link_down_total", "counter", "How often the link went down."),
    "rx_freezes": _Metric(
        "rx_freezes_total", "counter", "How often a ring stood still for want of a free block."
    ),
}

_NAMED: Final = (socket.AF_PACKET, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)

_PORTED: Final = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)

_numbers = count(1)
_channels: WeakValueDictionary[int, _Counted] = WeakValueDictionary()
_lock: Final = threading.Lock()  # a door may make its channel in a thread


def enlist(channel: _Counted) -> None:
    """Count a channel among those that `prometheus` tells of, as long as it lives."""
    with _lock:
        _channels[next(_numbers)] = channel


def prometheus() -> str:
    r"""Return the counters of all open channels of this process, for Prometheus to scrape.

    One sample per channel and field of `Stats`, ``aioprocket_rx_packets_total`` for one. Labels:
    ``channel`` (a number, never used again in a process), ``kind`` (``"packet" "inet" "icmp" "tun"
    "netlink" "device" "socket"``), ``interface``, ``protocol``, ``address`` (of IP, with TCP's or
    UDP's port) and ``namespace``, empty where there is none. A closed channel has none any more.

    Call it in the thread of the loop that the channels are used in. Serve it as ``text/plain;
    version=0.0.4; charset=utf-8``.
    """
    samples: dict[str, list[str]] = {field: [] for field in _METRICS}
    for labels, stats in _snapshots():
        for field, value in zip(stats._fields, stats, strict=True):
            samples[field].append(f"{{{labels}}} {value}\n")
    return "".join(_lines(samples))


def _snapshots() -> Iterator[tuple[str, Stats]]:
    with _lock:
        numbers = list(_channels)
    for number in numbers:
        channel = _channels.get(number)
        if channel is not None and channel.fileno() >= 0:
            pairs = {"channel": str(number)} | _labels(channel)
            text = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs.items())
            yield text, channel.stats()


def _labels(channel: _Counted) -> dict[str, str]:
    family = channel.family
    return {
        "kind": channel._kind,
        "interface": channel.interface or "",
        "protocol": protocol_name(channel.protocol or 0, family) if family in _NAMED else "",
        "address": _address(channel),
        "namespace": getattr(channel.get_extra_info("spec"), "namespace", None) or "",
    }


def _address(channel: _Counted) -> str:
    name = channel.get_extra_info("sockname")
    if name is None or channel.family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    host = f"[{name[0]}]" if ":" in name[0] else str(name[0])
    # Of a raw socket it is no port, and of a ping socket an identifier.
    return f"{host}:{name[1]}" if channel.protocol in _PORTED else host


def _lines(samples: Mapping[str, list[str]]) -> Iterator[str]:
    for field, metric in _METRICS.items():
        name = f"aioprocket_{metric.name}"
        yield f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n"
        for sample in samples[field]:
            yield name + sample


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
