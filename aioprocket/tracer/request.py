"""What can be asked of a trace: checked before anything is opened or sent."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from ..bounds import seconds, whole
from ..errors import SpecError
from ..helper import HelperLike
from ..spec import IpAddress
from .flow import LEAST_SIZE, Method

__all__ = ("Flavour", "TraceRequest")

Flavour = Literal["auto", "raw", "dgram"]

_PORTS: Final[dict[Method, int | None]] = {"icmp": None, "udp": 33434, "tcp": 80}
# Hosts answer any number of echo requests, but limit their errors, of which all that go beyond the
# destination cost one.
_PARALLEL: Final[dict[Method, int]] = {"icmp": 48, "udp": 18, "tcp": 48}
_DEFAULT_SIZE: Final = 60
_IPV6_MORE: Final = 20  # by which its header is longer
_MAX_SIZE: Final = 65_535
_MAX_PARALLEL: Final = 4096


@dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """One trace. The attributes are `traceroute`'s arguments."""

    host: str | IpAddress
    method: Method | None = None
    family: Literal[4, 6] | None = None
    max_hops: int = 30
    first_hop: int = 1
    probes: int = 3
    timeout: float = 1.0
    parallel: int | None = None
    port: int | None = None
    size: int | None = None
    interface: str | None = None
    source: str | IpAddress | None = None
    namespace: str | None = None
    mark: int | None = None
    helper: HelperLike = None
    type: Flavour = "auto"

    def __post_init__(self) -> None:
        if self.method is not None and self.method not in get_args(Method):
            raise SpecError(f"method {self.method!r} is not one of {', '.join(get_args(Method))}")
        if self.family not in (None, 4, 6):
            raise SpecError(f"family {self.family!r} is not 4, 6 or None")
        if self.type not in get_args(Flavour):
            raise SpecError(f"type {self.type!r} is not one of {', '.join(get_args(Flavour))}")
        whole("max_hops", self.max_hops, 1, 255)
        whole("first_hop", self.first_hop, 1, 255)
        if self.first_hop > self.max_hops:
            raise SpecError(f"first_hop {self.first_hop} is beyond max_hops {self.max_hops}")
        whole("probes", self.probes, 1, 100)
        if self.parallel is not None:
            whole("parallel", self.parallel, 1, _MAX_PARALLEL)
        seconds("timeout", self.timeout)
        self._check_port()
        self._check_size()

    def _check_port(self) -> None:
        if self.port is None:
            return
        if self.method not in ("udp", "tcp"):
            raise SpecError(f"port {self.port!r} is for method udp or tcp")
        whole("port", self.port, 1, 65_535)

    def _check_size(self) -> None:
        if self.size is None:
            return
        if self.method == "tcp":
            raise SpecError(f"size {self.size!r}: a SYN segment has the size that it has")
        more = _IPV6_MORE if self.family == 6 else 0
        whole("size", self.size, LEAST_SIZE[self.method or "icmp"] + more, _MAX_SIZE)

    def port_of(self, method: Method) -> int:
        """The destination's port; 0 where the method has none."""
        return self.port or _PORTS[method] or 0

    def parallel_of(self, method: Method) -> int:
        """How many probes are out at a time."""
        return self.parallel or _PARALLEL[method]

    def size_of(self, version: Literal[4, 6]) -> int:
        """Bytes of a whole packet.

        Raises:
            SpecError: It is less than a packet of this version takes.
        """
        if self.size is not None:
            more = _IPV6_MORE if version == 6 else 0
            return whole("size", self.size, LEAST_SIZE[self.method or "icmp"] + more, _MAX_SIZE)
        return _DEFAULT_SIZE + (_IPV6_MORE if version == 6 else 0)
