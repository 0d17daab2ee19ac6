"""What routers add to ICMP errors behind the packet that they quote (RFC 4884, RFC 4950)."""

import struct
from dataclasses import dataclass
from itertools import islice
from typing import Final, Self

from ..errors import WireError
from .checksum import checksum
from .fields import BytesT, check_bits, check_length

__all__ = ("ExtensionObject", "IcmpExtensions", "MplsLabel", "find_extensions")

_HEADER: Final = struct.Struct("!BxH")  # version and reserved bits, checksum
_OBJECT: Final = struct.Struct("!HBB")  # length with these four bytes, class, type
_LABEL: Final = struct.Struct("!I")
_VERSION: Final = 2
_MPLS_STACK: Final = (1, 1)  # class and type: RFC 4950, section 7
# Errors of the size that RFC 1812 (section 4.3.2.3) allows have room for a hundred empty objects.
# Routers send one to five of them; label stacks have a handful of entries.
_MOST_OBJECTS: Final = 64
_MOST_LABELS: Final = 64
_LEAST_QUOTED: Final = 128  # bytes of the original datagram, padded: RFC 4884, section 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MplsLabel:
    """One entry of the label stack that the packet had (RFC 3032); ``bottom``: the last one."""

    label: int
    traffic_class: int = 0
    bottom: bool = False
    ttl: int = 0

    def __post_init__(self) -> None:
        check_bits(self, label=20, traffic_class=3, bottom=1, ttl=8)

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The entry, and what follows it: the next one, up to the bottom."""
        check_length(data, _LABEL.size, "MPLS label")
        (word,) = _LABEL.unpack_from(data)
        label = cls(
            label=word >> 12,
            traffic_class=word >> 9 & 7,
            bottom=bool(word >> 8 & 1),
            ttl=word & 0xFF,
        )
        return label, data[_LABEL.size :]

    def emit(self, payload: bytes = b"") -> bytes:
        """The four bytes, and ``payload``."""
        word = self.label << 12 | self.traffic_class << 9 | self.bottom << 8 | self.ttl
        return _LABEL.pack(word) + payload


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionObject:
    """One object, not interpreted.

    The classes: https://www.iana.org/assignments/icmp-parameters
    """

    class_number: int
    type: int
    data: bytes = b""

    def __post_init__(self) -> None:
        check_bits(self, class_number=8, type=8)
        if len(self.data) > 0xFFFF - _OBJECT.size:
            raise WireError(f"an extension object of {len(self.data)} bytes: at most 65531 fit")

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The object, and what follows it."""
        check_length(data, _OBJECT.size, "ICMP extension object")
        length, class_number, kind = _OBJECT.unpack_from(data)
        if length < _OBJECT.size:
            raise WireError(f"an extension object of {length} bytes, less than {_OBJECT.size}")
        check_length(data, length, "ICMP extension object")
        found = cls(class_number=class_number, type=kind, data=bytes(data[_OBJECT.size : length]))
        return found, data[length:]

    def emit(self, payload: bytes = b"") -> bytes:
        """The object, and ``payload``."""
        header = _OBJECT.pack(_OBJECT.size + len(self.data), self.class_number, self.type)
        return header + self.data + payload


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpExtensions:
    """The objects, in their order."""

    objects: tuple[ExtensionObject, ...] = ()

    @classmethod
    def parse(cls, data: BytesT) -> tuple[Self, BytesT]:
        """The extensions, and the objects behind the 64th, which are not read.

        Raises:
            WireError: Another version, a wrong checksum, or an object that is cut.
        """
        check_length(data, _HEADER.size, "ICMP extensions")
        version, sum_ = _HEADER.unpack_from(data)
        if version >> 4 != _VERSION:
            raise WireError(f"ICMP extensions of version {version >> 4}, not {_VERSION}")
        # A checksum of 0 was not made: RFC 4884, section 7.
        if sum_ and checksum(bytes(data)):
            raise WireError("ICMP extensions with a wrong checksum", offset=2)
        rest = data[_HEADER.size :]
        objects: list[ExtensionObject] = []
        while rest and len(objects) < _MOST_OBJECTS:
            found, rest = ExtensionObject.parse(rest)
            objects.append(found)
        return cls(objects=tuple(objects)), rest

    @classmethod
    def of_labels(cls, labels: tuple[MplsLabel, ...]) -> Self:
        """Extensions that hold a label stack and nothing else."""
        stack = b"".join(label.emit() for label in labels)
        number, kind = _MPLS_STACK
        return cls(objects=(ExtensionObject(class_number=number, type=kind, data=stack),))

    def emit(self, payload: bytes = b"") -> bytes:
        """The extensions with their checksum, and ``payload``."""
        objects = b"".join(found.emit() for found in self.objects)
        first = _VERSION << 4
        covered = _HEADER.pack(first, 0) + objects
        return _HEADER.pack(first, checksum(covered)) + objects + payload

    @property
    def labels(self) -> tuple[MplsLabel, ...]:
        """The label stack that the packet came with, outermost first; () where none is told.

        Entries behind the 64th are left out; they are in the data of their object.
        """
        stacks = (o.data for o in self.objects if (o.class_number, o.type) == _MPLS_STACK)
        entries = (
            stack[at : at + _LABEL.size]
            for stack in stacks
            for at in range(0, len(stack) - _LABEL.size + 1, _LABEL.size)
        )
        return tuple(MplsLabel.parse(entry)[0] for entry in islice(entries, _MOST_LABELS))


def find_extensions(quoted: BytesT, length: int) -> tuple[BytesT, IcmpExtensions | None]:
    """Part the quoted packet from the extensions behind it.

    Args:
        quoted: What follows the ICMP header of an error.
        length: How many bytes of it are the packet's, as the error says; 0: it does not say, and
            there may still be extensions behind byte 128, from routers older than RFC 4884
            (section 5.5).

    Returns:
        The packet, and the extensions; None where there are none that can be read.
    """
    start = length or _LEAST_QUOTED
    if len(quoted) < start + _HEADER.size:
        return quoted[: length or len(quoted)], None
    try:
        extensions, _ = IcmpExtensions.parse(quoted[start:])
    except WireError:
        return quoted[: length or len(quoted)], None
    return quoted[:start], extensions
