"""A packet as text: its line, its bytes in hexadecimal, what scapy makes of it; or as JSON."""

import json
import time
from collections.abc import Callable
from typing import Any, Final

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

import aioprocket

from ...dissect import Summary, endpoint
from ...dissect.result import printable
from .source import Origin

__all__ = ("Detail", "JsonLines", "Paint", "TextLines", "hexdump")

_DIRECTIONS: Final = {
    "in": "in   ", "out": "out  ", "broadcast": "bcast", "multicast": "mcast", "otherhost": "other",
}  # fmt: skip
_COLORS: Final = {
    "TCP": "green", "UDP": "cyan", "DNS": "blue", "mDNS": "blue", "LLMNR": "blue", "ARP": "yellow",
    "ICMP": "magenta", "ICMPv6": "magenta", "DHCP": "bright_yellow", "DHCPv6": "bright_yellow",
}  # fmt: skip
_BYTES_IN_A_ROW: Final = 16

# What an optional dissector adds below a line.
Detail = Callable[[bytes, int], str]


class Paint:
    """Colours, where the output is a terminal and the user has not said NO_COLOR."""

    def __init__(self, console: Console) -> None:
        names = {**_COLORS, "dim": "dim", "incomplete": "red"}
        plain = console.color_system is None or console.no_color
        self._styles = {} if plain else {name: Style.parse(style) for name, style in names.items()}

    def __call__(self, text: str, name: str) -> str:
        """The text in the colour of that name, or as it is where there is none."""
        style = self._styles.get(name)
        return style.render(text, color_system=ColorSystem.STANDARD) if style else text


class TextLines:
    """One line for each packet, and below it what was asked for.

    Args:
        paint: Colours.
        names: Whether lines say the interface: not where there is only one.
        hexdump: Whether to show all bytes.
        detail: Another dissector.
    """

    def __init__(
        self, paint: Paint, *, names: bool, hexdump: bool = False, detail: Detail | None = None
    ) -> None:
        self._paint = paint
        self._names = names
        self._hexdump = hexdump
        self._detail = detail
        self._second = (0, "")

    def render(self, packet: aioprocket.Packet, summary: Summary, origin: Origin) -> str:
        """The text, which ends with a newline."""
        paint = self._paint
        ends = endpoint(summary.source, summary.source_port)
        if summary.destination:
            ends += f" > {endpoint(summary.destination, summary.destination_port)}"
        words = [paint(self._time(packet.timestamp_ns), "dim")]
        if self._names:
            words.append(_harmless(origin.name))
        words.append(paint(_DIRECTIONS[packet.direction], "dim"))
        words += [f"vlan {each}" for each in summary.vlans]
        if ends:
            words.append(ends)
        words.append(
            paint(summary.protocol, summary.protocol if summary.complete else "incomplete")
        )
        if summary.info:
            words.append(summary.info)
        words.append(paint(_length(packet), "dim"))
        text = " ".join(words) + "\n"
        if self._detail is not None:
            text += self._detail(bytes(packet), origin.linktype)
        if self._hexdump:
            text += hexdump(bytes(packet))
        return text

    def _time(self, timestamp_ns: int) -> str:
        second, nanosecond = divmod(timestamp_ns, 10**9)
        if second != self._second[0]:
            self._second = (second, time.strftime("%H:%M:%S", time.localtime(second)))
        return f"{self._second[1]}.{nanosecond // 1000:06}"


def _harmless(name: str) -> str:
    """A name that a file has for an interface, with nothing that a terminal would obey."""
    return name if name.isprintable() else printable(name.encode("utf-8", "surrogateescape"))


def _length(packet: aioprocket.Packet) -> str:
    if packet.truncated:
        return f"({packet.wire_len}, kept {len(packet)})"
    return f"({packet.wire_len})"


def hexdump(data: bytes) -> str:
    """Rows of 16 bytes, and their characters."""
    rows = []
    for at in range(0, len(data), _BYTES_IN_A_ROW):
        row = data[at : at + _BYTES_IN_A_ROW]
        characters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"    {at:04x}  {row.hex(' ', -2):<39}  {characters}\n")
    return "".join(rows)


class JsonLines:
    """One object in one line for each packet, with nothing lost.

    ``time`` is UTC to the nanosecond; ``timestamp_ns`` the same as a number, which readers that
    only know floating point will round.
    """

    def __init__(self, *, data: bool = False) -> None:
        self._data = data

    def render(self, packet: aioprocket.Packet, summary: Summary, origin: Origin) -> str:
        """The text, which ends with a newline."""
        found: dict[str, Any] = {
            "time": _utc(packet.timestamp_ns),
            "timestamp_ns": packet.timestamp_ns,
            "interface": origin.name,
            "direction": packet.direction,
            "length": packet.wire_len,
            "captured": len(packet),
            "linktype": origin.linktype,
            "source": summary.source,
            "destination": summary.destination,
            "protocol": summary.protocol,
            "source_port": summary.source_port,
            "destination_port": summary.destination_port,
            "vlans": summary.vlans,
            "info": summary.info,
            "complete": summary.complete,
            "layers": [{"layer": each.name, **each.fields} for each in summary.layers],
        }
        if self._data:
            found["data"] = bytes(packet).hex()
        # JSON itself allows control characters above 127, which some terminals obey.
        ascii = not origin.name.isprintable()
        return json.dumps(found, ensure_ascii=ascii, separators=(",", ":")) + "\n"


def _utc(timestamp_ns: int) -> str:
    second, nanosecond = divmod(timestamp_ns, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{nanosecond:09}Z"
