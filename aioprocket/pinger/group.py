"""Probes that belong together, as one task waits for them."""

import ipaddress
from collections import OrderedDict
from typing import Final, Literal

from .echo import Clock, Echo, EchoError

__all__ = ("COOKIE", "EchoGroup", "Probe")

COOKIE: Final = 16  # bytes: the hash, the serial number


class EchoGroup:
    """Probes of one task: what they look like, how long they have, and what became of them.

    Args:
        size: Bytes behind the ICMP header.
        pattern: What follows the cookie, again and again; empty: zeros.
        timeout_ns: After which a probe is lost.
        anybody: A reply may come from another address than the probe went to.
    """

    def __init__(self, size: int, pattern: bytes, timeout_ns: int, anybody: bool = False) -> None:
        self.size = size
        self.timeout_ns = timeout_ns
        self.anybody = anybody
        self.repeats: dict[int, int] = {}
        repeated = pattern * (size // len(pattern) + 1) if pattern else bytes(size)
        self._filling = repeated[: max(0, size - COOKIE)]
        self.flying: OrderedDict[int, Probe] = OrderedDict()
        self.finished: list[Echo] = []

    @property
    def in_flight(self) -> int:
        """Probes without an end yet."""
        return len(self.flying)

    def __len__(self) -> int:
        return len(self.finished)

    def take(self) -> list[Echo]:
        """What has come to its end since the last call."""
        finished, self.finished = self.finished, []
        return finished

    def payload(self, cookie: bytes) -> bytes:
        """What a probe carries."""
        return (cookie + self._filling)[: self.size]


class Probe:
    """One request, and where it went."""

    __slots__ = (
        "address", "group", "host", "scope", "sent_monotonic", "sent_ns", "sequence", "serial",
        "stamped", "state",
    )  # fmt: skip

    def __init__(
        self,
        serial: int,
        group: EchoGroup,
        host: str,
        address: bytes,
        scope: int,
        sequence: int,
        sent_ns: int,
        sent_monotonic: int,
    ) -> None:
        self.serial = serial
        self.group = group
        self.host = host
        self.address = address
        self.scope = scope
        self.sequence = sequence
        self.sent_ns = sent_ns
        self.sent_monotonic = sent_monotonic
        self.stamped = False
        self.state: Literal["flying", "answered", "ended"] = "flying"

    def echo(
        self,
        *,
        rtt: float | None = None,
        received_ns: int = 0,
        ttl: int | None = None,
        size: int = 0,
        error: EchoError | None = None,
        clock: Clock = "receive",
    ) -> Echo:
        """What becomes of it."""
        address = ipaddress.ip_address(self.address)
        return Echo(
            host=self.host or str(address),
            address=address,
            sequence=self.sequence,
            rtt=rtt,
            sent_ns=self.sent_ns,
            received_ns=received_ns,
            ttl=ttl,
            size=size,
            error=error,
            clock=clock,
        )
