"""What became of probes: one echo each, and the sum of those to one host."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal, NamedTuple, Self

from ..spec import IpAddress

__all__ = ("Clock", "Echo", "EchoError", "PingResult", "error_kind")

# Which clocks an RTT was measured by. "kernel": both ends, when the packets left and came;
# "receive": when the reply came, and the program's clock just before the request was sent;
# "program": the program's monotonic clock for both, because the system's clock was set meanwhile.
Clock = Literal["kernel", "receive", "program"]

# Codes: https://www.iana.org/assignments/icmp-parameters and …/icmpv6-parameters
_KINDS: Final = {
    4: {
        (3, 0): "net-unreachable",
        (3, 1): "host-unreachable",
        (3, 2): "protocol-unreachable",
        (3, 3): "port-unreachable",
        (3, 4): "frag-needed",
        (3, 5): "source-route-failed",
        (3, 6): "net-unknown",
        (3, 7): "host-unknown",
        (3, 9): "net-prohibited",
        (3, 10): "host-prohibited",
        (3, 11): "net-unreachable",
        (3, 12): "host-unreachable",
        (3, 13): "prohibited",
        (11, 0): "ttl-exceeded",
        (11, 1): "reassembly-exceeded",
    },
    6: {
        (1, 0): "no-route",
        (1, 1): "prohibited",
        (1, 2): "beyond-scope",
        (1, 3): "host-unreachable",
        (1, 4): "port-unreachable",
        (1, 5): "source-prohibited",
        (1, 6): "route-rejected",
        (2, 0): "frag-needed",
        (3, 0): "ttl-exceeded",
        (3, 1): "reassembly-exceeded",
    },
}
_GENERAL: Final = {
    4: {3: "unreachable", 11: "time-exceeded", 12: "parameter-problem"},
    6: {1: "unreachable", 2: "frag-needed", 3: "time-exceeded", 4: "parameter-problem"},
}


def error_kind(version: Literal[4, 6], type: int, code: int) -> str | None:
    """The name of an error about a probe; None where the message ends no probe (a redirect)."""
    general = _GENERAL[version].get(type)
    return None if general is None else _KINDS[version].get((type, code), general)


class EchoError(NamedTuple):
    """Why a probe got no reply, as the network or this machine said.

    Attributes:
        kind: ``"host-unreachable" "net-unreachable" "no-route" "ttl-exceeded" "frag-needed"
            "prohibited"``, …; ``"not-sent"``: this machine refused it, and ``errno`` says why.
        router: Who said so; None: this machine.
        type: Of the ICMP message; None: there was none.
        code: Of the ICMP message.
        mtu: With ``"frag-needed"``: bytes that the next hop takes, if it was said.
        errno: Of the system call, or what the kernel made of the message; 0: neither.
    """

    kind: str
    router: IpAddress | None = None
    type: int | None = None
    code: int | None = None
    mtu: int | None = None
    errno: int = 0


@dataclass(frozen=True, slots=True)
class Echo:
    """One probe and its end: a reply, an error, or nothing in time.

    Attributes:
        host: As it was asked for; of a network, the address.
        address: Where the probe went.
        sequence: Which probe to this host, from 0.
        rtt: Seconds; None without a reply.
        sent_ns: When it left, by the realtime clock.
        received_ns: When the reply or the error came; 0: nothing did.
        ttl: Time to live (hop limit) of the reply; None: not known.
        size: Bytes of the reply behind its ICMP header; 0 without one.
        duplicates: Further replies, as far as they came before this was handed over.
        error: Why there is no reply; None: there is one, or nothing came.
        clock: What ``rtt`` was measured by.
    """

    host: str
    address: IpAddress
    sequence: int
    rtt: float | None = None
    sent_ns: int = 0
    received_ns: int = 0
    ttl: int | None = None
    size: int = 0
    duplicates: int = 0
    error: EchoError | None = None
    clock: Clock = "receive"

    @property
    def ok(self) -> bool:
        """Whether there was a reply."""
        return self.rtt is not None


@dataclass(frozen=True, slots=True)
class PingResult:
    """All probes to one host. Times are in seconds, None where no reply came.

    Attributes:
        host: As it was asked for.
        address: Which of its addresses was asked.
        sent: Probes that left.
        received: Replies, each probe's first alone.
        duplicates: Further ones.
        loss: The part of the probes without a reply, 0 to 1; 0 where none was sent.
        min: The shortest round trip.
        avg: Their mean.
        median: Of them.
        max: The longest.
        stddev: Of all of them (of the population, as ping's mdev).
        jitter: The mean difference from one reply to the next; 0 for a single one.
        echoes: Each probe, in the order of sending.
    """

    host: str
    address: IpAddress
    sent: int
    received: int
    duplicates: int
    loss: float
    min: float | None
    avg: float | None
    median: float | None
    max: float | None
    stddev: float | None
    jitter: float | None
    echoes: tuple[Echo, ...] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether any reply came."""
        return self.received > 0

    @classmethod
    def of(cls, host: str, address: IpAddress, echoes: Sequence[Echo]) -> Self:
        """Sum up what became of the probes to one host.

        A probe that this machine refused to send is among ``echoes``, and counts as lost: as
        ping's does.
        """
        rtts = [echo.rtt for echo in echoes if echo.rtt is not None]
        sent, received = len(echoes), len(rtts)
        avg = math.fsum(rtts) / received if rtts else None
        steps = [abs(after - before) for before, after in pairwise(rtts)]
        return cls(
            host=host,
            address=address,
            sent=sent,
            received=received,
            duplicates=sum(echo.duplicates for echo in echoes),
            loss=1 - received / sent if sent else 0.0,
            min=min(rtts, default=None),
            avg=avg,
            median=statistics.median(rtts) if rtts else None,
            max=max(rtts, default=None),
            stddev=statistics.pstdev(rtts) if rtts else None,
            jitter=None if not rtts else math.fsum(steps) / len(steps) if steps else 0.0,
            echoes=tuple(echoes),
        )
