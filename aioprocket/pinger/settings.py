"""What a `Pinger` can be asked for, checked before anything is opened or sent."""

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ..bounds import seconds, whole
from ..errors import SpecError
from ..helper import HelperLike
from ..spec import IpAddress

__all__ = ("MAX_SIZE", "Addresses", "Probes", "Settings", "source_address")

Addresses: TypeAlias = Literal["first", "happy", "all"]
MAX_SIZE: Final = 65507  # what 65,535 leave beside the headers of IPv4 and ICMP
_FOR_EVER: Final = 1 << 62
_TYPES: Final = ("auto", "dgram", "raw")
_ADDRESSES: Final = ("first", "happy", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a pinger's sockets are opened, and what all their probes have in common."""

    type: Literal["auto", "dgram", "raw"] = "auto"
    family: Literal[4, 6] | None = None
    addresses: Addresses = "first"
    source: IpAddress | None = None
    interface: str | None = None
    namespace: str | None = None
    mark: int | None = None
    ttl: int | None = None
    tos: int | None = None
    df: bool | None = None
    broadcast: bool = False
    receive_buffer: int | None = None
    helper: HelperLike = None

    def __post_init__(self) -> None:
        if self.type not in _TYPES:
            raise SpecError(f"type {self.type!r} is none of {', '.join(_TYPES)}")
        if self.family not in (None, 4, 6):
            raise SpecError(f"family {self.family!r} is not 4, 6 or None")
        if self.addresses not in _ADDRESSES:
            raise SpecError(f"addresses {self.addresses!r} is none of {', '.join(_ADDRESSES)}")
        if self.ttl is not None:
            whole("ttl", self.ttl, 1, 255)
        if self.tos is not None:
            whole("tos", self.tos, 0, 255)
        if self.source is not None and self.family not in (None, self.source.version):
            raise SpecError(f"source {self.source} is no address of IPv{self.family}")

    @property
    def version(self) -> Literal[4, 6] | None:
        """The one version of IP that is possible; None: both are."""
        return self.family if self.source is None else self.source.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """What a probe carries, and how long it has."""

    size: int = 56
    pattern: bytes = b""
    timeout: float = 1.0

    def __post_init__(self) -> None:
        whole("size", self.size, 0, MAX_SIZE)
        seconds("timeout", self.timeout)

    def like(self, size: int | None, pattern: bytes | None, timeout: float) -> "Probes":
        """These, but for what is not None."""
        return Probes(
            size=self.size if size is None else size,
            pattern=self.pattern if pattern is None else pattern,
            timeout=timeout,
        )

    @property
    def timeout_ns(self) -> int:
        """In nanoseconds; a century and more fits a number of the kernel's beside a time of day."""
        return min(round(self.timeout * 1e9), _FOR_EVER)


def source_address(source: str | IpAddress | None) -> IpAddress | None:
    """The address that ``source=`` means.

    Raises:
        SpecError: It is none.
    """
    if source is None:
        return None
    try:
        return ipaddress.ip_address(str(source))
    except ValueError:
        raise SpecError(f"source {source!r} is no address") from None
