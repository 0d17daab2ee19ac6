"""What a dissection gives, and what it is gathered in while it goes on."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from ..errors import WireError

__all__ = ("MAX_LAYERS", "Dissection", "Layer", "Summary", "Value", "printable", "shown")

# Headers in headers: more than this many nobody sends but to see what happens.
MAX_LAYERS: Final = 24
_MAX_TEXT: Final = 255  # of DNS and DHCP; a message of DHCPv6's status may be longer

Value: TypeAlias = str | int | bool | tuple[str, ...] | tuple[int, ...]


class Layer(NamedTuple):
    """One header: its name in lower case, and its fields, read-only."""

    name: str
    fields: Mapping[str, Value]


class Summary(NamedTuple):
    """What a packet is.

    Attributes:
        source: The innermost network address, or the hardware address where there is none; empty
            where the link has none, either.
        destination: Likewise.
        protocol: Of the innermost header that was understood: ``"TCP"``, ``"DNS"``, ``"ARP"``.
        source_port: Of TCP, UDP and their like; else None.
        destination_port: Likewise.
        vlans: The ids of the tags, outermost first.
        info: What the packet says, in words. It has no character that a terminal would obey.
        layers: The headers, outermost first.
        complete: Whether all headers were there, and as they should be.
    """

    source: str
    destination: str
    protocol: str
    source_port: int | None
    destination_port: int | None
    vlans: tuple[int, ...]
    info: str
    layers: tuple[Layer, ...]
    complete: bool


class Dissection:
    """A summary in the making. Parsers write here what they find, as soon as they know it."""

    __slots__ = (
        "complete", "destination", "destination_port", "info", "layers", "protocol", "source",
        "source_port", "vlans",
    )  # fmt: skip

    def __init__(self) -> None:
        self.source = self.destination = self.protocol = self.info = ""
        self.source_port: int | None = None
        self.destination_port: int | None = None
        self.vlans: tuple[int, ...] = ()
        self.layers: list[Layer] = []
        self.complete = True

    def add(self, name: str, **fields: Value) -> None:
        """Append a layer.

        Raises:
            WireError: There are too many.
        """
        if len(self.layers) >= MAX_LAYERS:
            raise WireError(f"more than {MAX_LAYERS} headers")
        self.layers.append(Layer(name, MappingProxyType(fields)))

    def between(self, source: str, destination: str) -> None:
        """Take these addresses; what ports were known were those of an outer header."""
        self.source, self.destination = source, destination
        self.source_port = self.destination_port = None

    def summary(self) -> Summary:
        """What is known now."""
        return Summary(
            self.source,
            self.destination,
            self.protocol,
            self.source_port,
            self.destination_port,
            self.vlans,
            self.info,
            tuple(self.layers),
            self.complete,
        )


def printable(raw: Any) -> str:
    """Bytes that somebody else chose, as text that is safe to print: UTF-8, the rest escaped.

    Of more than 255 bytes, the first, and ``…``.
    """
    text = shown(bytes(raw[:_MAX_TEXT]).replace(b"\\", b"\\\\"))
    return text if len(raw) <= _MAX_TEXT else f"{text}…"


def shown(raw: bytes) -> str:
    """As `printable`, of bytes whose backslashes are escaped already."""
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() else _escaped(each) for each in text])


@lru_cache(maxsize=4096)
def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
