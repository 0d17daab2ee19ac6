"""Options of pcapng blocks: a number, a length and a value each, the value filled up to 32 bits."""

import struct
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

from ..errors import WireError

__all__ = (
    "COMMENT",
    "ByteOrder",
    "Option",
    "comment_options",
    "emit_options",
    "number_of",
    "padding",
    "parse_options",
    "prefix_of",
    "text_of",
    "text_options",
    "texts_of",
)

ByteOrder: TypeAlias = Literal["little", "big"]
Option: TypeAlias = tuple[int, bytes]

COMMENT: Final = 1
_END: Final = 0
_MAX_VALUE: Final = 0xFFFF
# Of a block: what is behind is not read, or a block of 16 MiB would take seconds. C has the same
# bounds (native/capture_read.c), or flags and drops would depend on who reads a packet.
_MOST: Final = 256
_MOST_BYTES: Final = 0x10000  # in which options begin


def prefix_of(order: ByteOrder) -> str:
    """The prefix of a `struct` format."""
    return "<" if order == "little" else ">"


def padding(size: int) -> bytes:
    """What fills ``size`` bytes up to a multiple of four."""
    return bytes(-size % 4)


def parse_options(data: bytes, at: int, order: ByteOrder) -> tuple[list[Option], int]:
    """The options from ``at`` to their end, or that of the data, which some programs take for it.

    Returns:
        The first 256 at most, of those that begin in the first 64 KiB; and the bytes behind them,
        which are not read.

    Raises:
        WireError: An option does not lie within the data.
    """
    head = struct.Struct(f"{prefix_of(order)}HH")
    found: list[Option] = []
    last = at + _MOST_BYTES
    while at < len(data):
        if len(data) - at < head.size:
            raise WireError(f"{len(data) - at} bytes where an option begins with 4", offset=at)
        code, length = head.unpack_from(data, at)
        if code == _END:
            break
        if len(found) == _MOST or at >= last:
            return found, len(data) - at
        begin = at + head.size
        if length > len(data) - begin:
            raise WireError(
                f"option {code} of {length} bytes where {len(data) - begin} are left", offset=at
            )
        found.append((code, data[begin : begin + length]))
        at = begin + length + -length % 4
    return found, 0


def emit_options(options: Iterable[Option], order: ByteOrder) -> bytes:
    """The options as a block has them; nothing at all for none.

    Raises:
        WireError: A value is longer than 65535 bytes.
    """
    head = struct.Struct(f"{prefix_of(order)}HH")
    parts = []
    for code, value in options:
        if len(value) > _MAX_VALUE:
            raise WireError(f"option {code} of {len(value)} bytes: at most {_MAX_VALUE} fit")
        parts += [head.pack(code, len(value)), value, padding(len(value))]
    return b"".join([*parts, head.pack(_END, 0)]) if parts else b""


def texts_of(options: Sequence[Option], code: int) -> tuple[str, ...]:
    """Every text with this number."""
    # Some programs end it with a zero byte, as C does.
    return tuple(
        value.rstrip(b"\0").decode("utf-8", "replace")
        for number, value in options
        if number == code
    )


def text_of(options: Sequence[Option], code: int) -> str:
    """The first text with this number; empty without one."""
    return next(iter(texts_of(options, code)), "")


def number_of(
    options: Sequence[Option], code: int, size: int, order: ByteOrder, *, signed: bool = False
) -> int | None:
    """The first number of ``size`` bytes with this number of an option."""
    for number, value in options:
        if number == code:
            if len(value) != size:
                raise WireError(f"option {code} of {len(value)} bytes, of a number of {size}")
            return int.from_bytes(value, order, signed=signed)
    return None


def comment_options(comments: tuple[str, ...]) -> list[Option]:
    """Comments as options."""
    return [(COMMENT, comment.encode()) for comment in comments]


def text_options(*texts: tuple[int, str]) -> list[Option]:
    """Texts as options; an empty one is left out."""
    return [(code, text.encode()) for code, text in texts if text]
