"""Addresses as text."""

from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

__all__ = ("endpoint", "ipv4", "ipv6")

_MAPPED: Final = bytes(10) + b"\xff\xff"


def ipv4(raw: bytes) -> str:
    """Four bytes as ``192.0.2.1``."""
    return "%d.%d.%d.%d" % (raw[0], raw[1], raw[2], raw[3])  # noqa: UP031  (twice as fast)


@lru_cache(maxsize=4096)
def ipv6(raw: bytes) -> str:
    """Sixteen bytes as ``2001:db8::1``, by RFC 5952."""
    if raw[:12] == _MAPPED:
        return f"::ffff:{ipv4(raw[12:])}"
    return str(IPv6Address(raw))


def endpoint(address: str, port: int | None) -> str:
    """``192.0.2.1:80``, ``[2001:db8::1]:80``, or the address alone."""
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
