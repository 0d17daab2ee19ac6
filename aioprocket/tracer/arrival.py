"""From what a socket received to what it says about a probe. Pure: no socket is read here."""

import ipaddress
from typing import Final, Literal, NamedTuple

from .._system.error_queue import QueuedError
from ..errors import WireError
from ..spec import IpAddress
from ..wire.icmp import ErrorKind, IcmpError
from ..wire.icmp_error import IcmpReport
from ..wire.icmp_extensions import IcmpExtensions, MplsLabel
from .flow import EchoFlow, SynFlow, UdpFlow

__all__ = (
    "Arrival",
    "Flow",
    "arrival_of_queued",
    "arrival_of_report",
    "error_of_queued",
    "is_reached",
    "labels_of",
    "plain",
)

Flow = EchoFlow | SynFlow | UdpFlow

# Of error kinds: port unreachable. Nobody but the destination knows.
_PORT_UNREACHABLE: Final = {(4, 3, 3), (6, 1, 4)}
_QUOTED_AT_LEAST: Final = 128  # bytes in front of extensions without a length: RFC 4884, 5.5
_IP_SIZE: Final = {4: 20, 6: 40}


class Arrival(NamedTuple):
    """An answer.

    Attributes:
        number: Of the probe; None: it does not say which one.
        address: Who sent it.
        received_ns: When, by the realtime clock; 0: not known.
        error: The ICMP error that it is; None: a reply.
        reached: It comes from the destination.
        labels: MPLS labels that the probe had.
    """

    number: int | None
    address: IpAddress
    received_ns: int
    error: IcmpError | None = None
    reached: bool = True
    labels: tuple[MplsLabel, ...] = ()


def plain(address: IpAddress) -> IpAddress:
    """The address without its scope, as it is on the wire."""
    return ipaddress.ip_address(address.packed)


def arrival_of_report(
    message: bytes, flow: Flow, destination: IpAddress, sender: IpAddress, received_ns: int
) -> Arrival | None:
    """What an ICMP message says about a probe of the flow; None: nothing."""
    try:
        report = IcmpReport.parse(message, flow.version)
    except WireError:
        return None
    if report.destination != plain(destination) or report.protocol != flow.protocol:
        return None
    number = flow.number_of_quoted(report.payload)
    if number is None:
        return None
    reached = is_reached(report.error, sender, destination)
    return Arrival(number, sender, received_ns, report.error, reached, report.labels)


def arrival_of_queued(
    queued: QueuedError, flow: EchoFlow | UdpFlow, destination: IpAddress
) -> Arrival | None:
    """What an entry of a socket's error queue says; None: nothing about a probe."""
    if not queued.from_icmp or queued.offender is None:
        return None
    if isinstance(flow, EchoFlow):
        number = flow.number_of_quoted(queued.quoted)
        if number is None:
            return None
        hidden = 0
    else:
        number = flow.number_of_payload(queued.quoted)
        if number is None and not flow.is_nameless(queued.quoted):
            return None
        hidden = 8  # the UDP header, which the kernel leaves out
    error = error_of_queued(queued, flow.version)
    start = queued.extensions_at or _QUOTED_AT_LEAST - _IP_SIZE[flow.version] - hidden
    return Arrival(
        number,
        queued.offender,
        queued.timestamp_ns,
        error,
        is_reached(error, queued.offender, destination),
        labels_of(queued.quoted[start:]),
    )


def error_of_queued(queued: QueuedError, version: Literal[4, 6]) -> IcmpError:
    """The ICMP error that an entry stands for; of what its type adds only an MTU is known."""
    return IcmpError(type=queued.type, code=queued.code, rest=queued.info, version=version)


def labels_of(data: bytes) -> tuple[MplsLabel, ...]:
    """The MPLS labels in what may be extensions."""
    try:
        return IcmpExtensions.parse(data)[0].labels
    except WireError:
        return ()


def is_reached(error: IcmpError, sender: IpAddress, destination: IpAddress) -> bool:
    """Whether an error is the destination's answer."""
    if (error.version, error.type, error.code) in _PORT_UNREACHABLE:
        return True
    return error.kind is ErrorKind.UNREACHABLE and plain(sender) == plain(destination)
