"""What all codecs check: that bytes are long enough and that numbers fit their fields."""

from typing import TypeVar

from ..errors import WireError

__all__ = ("BytesT", "check_bits", "check_length")

# What is parsed, and what is left of it: a view stays a view, without a copy.
BytesT = TypeVar("BytesT", bytes, memoryview)


def check_length(data: bytes | memoryview, size: int, what: str) -> None:
    """Raise `WireError` where ``data`` ends before ``size`` bytes."""
    if len(data) < size:
        raise WireError(f"{what}: {len(data)} bytes of {size}", offset=len(data))


def check_bits(value: object, **widths: int) -> None:
    """Raise `WireError` for the first attribute of ``value`` that needs more bits than given."""
    for name, width in widths.items():
        number = getattr(value, name)
        if number >> width:
            raise WireError(f"{name} {number} of {type(value).__name__}: not within {width} bits")
