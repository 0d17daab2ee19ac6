"""Echoes and sums for programs: JSON lines, CSV, and the text format of Prometheus."""

import csv
import json
from collections.abc import Sequence
from typing import Any, Final, TextIO

import aioprocket

from .tally import Tally

__all__ = ("COLUMNS", "CsvRows", "JsonLines", "Metrics", "echo_record")

COLUMNS: Final = (
    "host", "address", "sequence", "rtt", "sent_ns", "received_ns", "ttl", "size", "duplicates",
    "error", "router", "mtu", "clock",
)  # fmt: skip


def echo_record(host: str, echo: aioprocket.Echo) -> dict[str, Any]:
    """One echo with simple values; ``rtt`` is in seconds, None where no reply came."""
    error = echo.error
    return {
        "host": host,
        "address": str(echo.address),
        "sequence": echo.sequence,
        "rtt": echo.rtt,
        "sent_ns": echo.sent_ns,
        "received_ns": echo.received_ns,
        "ttl": echo.ttl,
        "size": echo.size,
        "duplicates": echo.duplicates,
        "error": None if error is None else error.kind,
        "router": None if error is None or error.router is None else str(error.router),
        "mtu": None if error is None else error.mtu,
        "clock": echo.clock,
    }


class JsonLines:
    """An object per line: each echo, and at the end each host's sums."""

    def __init__(self, out: TextIO, *, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet

    def echo(self, tally: Tally, echo: aioprocket.Echo) -> None:
        """Write one."""
        if not self._quiet:
            self._write({"event": "echo", **echo_record(tally.host, echo)})

    def end(self, tallies: Sequence[Tally]) -> None:
        """Write the sums."""
        for tally in tallies:
            self._write({"event": "summary", **tally.summary()._asdict()})

    def _write(self, record: dict[str, Any]) -> None:
        self._out.write(json.dumps(record, separators=(",", ":")) + "\n")
        self._out.flush()


class CsvRows:
    """A row for each echo, below a row of names."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._rows = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        self._rows.writeheader()

    def echo(self, tally: Tally, echo: aioprocket.Echo) -> None:
        """Write one."""
        self._rows.writerow(echo_record(tally.host, echo))
        self._out.flush()

    def end(self, tallies: Sequence[Tally]) -> None:
        """There are no sums in a table of echoes."""


class Metrics:
    """The sums, once, as Prometheus reads them from a file or a gateway.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def echo(self, tally: Tally, echo: aioprocket.Echo) -> None:
        """Nothing: sums alone are shown."""

    def end(self, tallies: Sequence[Tally]) -> None:
        """Write the sums."""
        hosts = [(_labels(tally), tally.summary()) for tally in tallies]
        for name, kind, words, field in _METRICS:
            self._out.write(f"# HELP {name} {words}\n# TYPE {name} {kind}\n")
            for labels, summary in hosts:
                value = getattr(summary, field)
                if value is not None:
                    self._out.write(f"{name}{{{labels}}} {value}\n")
        self._out.flush()


_METRICS: Final = (
    ("aioprocket_ping_sent_total", "counter", "Probes sent.", "sent"),
    ("aioprocket_ping_received_total", "counter", "Replies, each probe's first.", "received"),
    ("aioprocket_ping_duplicates_total", "counter", "Further replies.", "duplicates"),
    ("aioprocket_ping_loss_ratio", "gauge", "Part of the probes without a reply.", "loss"),
    ("aioprocket_ping_unawaited_total", "counter", "Probes not waited for.", "unawaited"),
    ("aioprocket_ping_rtt_min_seconds", "gauge", "Shortest round trip.", "min"),
    ("aioprocket_ping_rtt_avg_seconds", "gauge", "Mean round trip.", "avg"),
    ("aioprocket_ping_rtt_median_seconds", "gauge", "Median round trip.", "median"),
    ("aioprocket_ping_rtt_max_seconds", "gauge", "Longest round trip.", "max"),
    ("aioprocket_ping_rtt_stddev_seconds", "gauge", "Deviation of round trips.", "stddev"),
    ("aioprocket_ping_jitter_seconds", "gauge", "Mean change between replies.", "jitter"),
)


def _labels(tally: Tally) -> str:
    host = tally.host.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'host="{host}",address="{tally.address}"'
