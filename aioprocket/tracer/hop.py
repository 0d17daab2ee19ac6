"""What a trace finds: answers, and the hops that they come from."""

from dataclasses import dataclass

from ..spec import IpAddress
from ..wire.icmp import ErrorKind, IcmpError
from ..wire.icmp_extensions import MplsLabel

__all__ = ("Answer", "Hop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for one probe.

    Attributes:
        address: Who answered.
        rtt: Seconds from the sending to the answer's arrival in the kernel.
        error: The ICMP error that the answer is; None: an echo reply, a datagram, or a segment.
        reached: The answer is the destination's own.
        labels: MPLS labels that the probe had where it expired, outermost first (RFC 4950).
    """

    address: IpAddress
    rtt: float
    error: IcmpError | None = None
    reached: bool = False
    labels: tuple[MplsLabel, ...] = ()

    @property
    def final(self) -> bool:
        """Nothing is to be found behind it: the destination, or a router that goes no further."""
        expired = self.error is not None and self.error.kind is ErrorKind.TIME_EXCEEDED
        return self.reached or not expired

    @property
    def text(self) -> str:
        """A phrase for people: ``"reached"``, ``"time to live exceeded"``, ``"no route"``…."""
        return "reached" if self.reached or self.error is None else self.error.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One place on the way: whoever answered the probes that got ``ttl`` routers far.

    Attributes:
        ttl: How far; 1 is the first router.
        probes: The answer to each probe, in the order of sending; None: none came in time.
    """

    ttl: int
    probes: tuple[Answer | None, ...]

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The probes that were answered."""
        return tuple(answer for answer in self.probes if answer is not None)

    @property
    def address(self) -> IpAddress | None:
        """Who answered first; None: nobody did."""
        return self.answers[0].address if self.answers else None

    @property
    def addresses(self) -> tuple[IpAddress, ...]:
        """All who answered, each once. Several share the load of this hop, or the path changed."""
        return tuple(dict.fromkeys(answer.address for answer in self.answers))

    @property
    def sent(self) -> int:
        """How many probes were sent."""
        return len(self.probes)

    @property
    def received(self) -> int:
        """How many were answered."""
        return len(self.answers)

    @property
    def loss(self) -> float:
        """The share that was not, from 0 to 1. Routers limit how many errors they send."""
        return 1 - self.received / self.sent

    @property
    def rtts(self) -> tuple[float, ...]:
        """Seconds, of the answered probes."""
        return tuple(answer.rtt for answer in self.answers)

    @property
    def min(self) -> float | None:
        """Seconds; None without an answer."""
        return min(self.rtts, default=None)

    @property
    def avg(self) -> float | None:
        """Seconds; None without an answer."""
        return sum(self.rtts) / len(self.rtts) if self.rtts else None

    @property
    def max(self) -> float | None:
        """Seconds; None without an answer."""
        return max(self.rtts, default=None)

    @property
    def reached(self) -> bool:
        """The destination is here."""
        return any(answer.reached for answer in self.answers)

    @property
    def labels(self) -> tuple[MplsLabel, ...]:
        """MPLS labels, of the first answer that has any."""
        return next((answer.labels for answer in self.answers if answer.labels), ())

    @property
    def error(self) -> IcmpError | None:
        """Why the way ends here, short of the destination; None: it does not."""
        ended = (answer.error for answer in self.answers if answer.final and not answer.reached)
        return next(ended, None)
