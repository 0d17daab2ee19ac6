"""What requests and replies share: the magic, the version, and fields at fixed places.

``helper/PROTOCOL.md`` holds the tables that the layouts in `request` and `reply` are written from.
"""

import re
import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Final

from ..errors import WireError

__all__ = ("DEVICE_NAME", "INTERFACE_NAME", "MAGIC", "VERSION", "Layout", "Op", "decode_name")

MAGIC: Final = 0x314B5041  # the bytes "APK1"
VERSION: Final = 1

# Narrower than the kernel's: the helper writes names into its log and compares them with rules.
INTERFACE_NAME: Final = re.compile(r"(?!-|\.{1,2}\Z)[A-Za-z0-9._-]{1,15}")
DEVICE_NAME: Final = re.compile(
    r"(?=.{1,31}\Z)[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*"
)


class Op(IntEnum):
    """What a message is about."""

    HELLO = 1
    OPEN = 2


class Layout:
    """A message's fixed part: little-endian fields without padding, each under a name.

    Args:
        codes: `struct` codes by field, in the order of the bytes.
    """

    def __init__(self, **codes: str) -> None:
        self._struct = struct.Struct("<" + "".join(codes.values()))
        self._blank = {name: b"" if code.endswith("s") else 0 for name, code in codes.items()}
        self._offsets: dict[str, int] = {}
        self.size = 0
        for name, code in codes.items():
            self._offsets[name] = self.size
            self.size += struct.calcsize("<" + code)

    def pack(self, **values: int | bytes) -> bytes:
        """The bytes; a field that is not given is zero."""
        return self._struct.pack(*(self._blank | values).values())

    def unpack(self, data: bytes) -> dict[str, Any]:
        """The value of each field in the first `size` bytes, which must be there."""
        return dict(zip(self._offsets, self._struct.unpack_from(data), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """The fields, in the order of the bytes."""
        return tuple(self._offsets)

    def fault(self, field: str, message: str) -> WireError:
        """The error that says what is wrong with a field."""
        return WireError(f"{field}: {message}", offset=self._offsets[field])

    def check_zero(self, header: dict[str, Any], names: Iterable[str]) -> None:
        """Raise for the first of the fields that is not zero."""
        for name in names:
            value = header[name]
            if any(value) if isinstance(value, bytes) else value:
                raise self.fault(name, "must be zero here")

    def check_head(self, header: dict[str, Any], *, any_version: bool = False) -> None:
        """Raise for another magic, version or size than ours."""
        if header["magic"] != MAGIC:
            raise self.fault("magic", f"0x{header['magic']:08x} is not 0x{MAGIC:08x}")
        if header["version"] != VERSION and not any_version:
            raise self.fault("version", f"{header['version']} is not {VERSION}")
        if header["size"] != self.size:
            raise self.fault("size", f"{header['size']} is not {self.size}")


def decode_name(field: bytes, pattern: re.Pattern[str]) -> str | None:
    """The name in a NUL-padded field, or None if it is not one that the protocol allows."""
    name, _, slack = field.partition(b"\x00")
    if len(name) == len(field) or any(slack) or not name.isascii():
        return None
    text = name.decode("ascii")
    return text if pattern.fullmatch(text) else None
