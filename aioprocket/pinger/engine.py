"""Which reply belongs to which probe. No socket, no loop; every moment is an argument.

A probe has a serial number, of which the request's sequence is the lower half, and a cookie: a
keyed hash of the serial number and the address, with the serial number behind it. So a reply is
judged by itself: who did not see the request cannot make one, and a true one that comes late or
twice is told from a forged one long after its probe is forgotten.

Two clocks: the realtime one, by which the kernel stamps packets, measures; the monotonic one, which
nobody sets, says when a probe has had its time, and bounds what the other may claim.
"""

import ipaddress
import struct
from typing import Final, Literal

from ..wire.checksum import checksum
from .echo import Echo, EchoError, error_kind
from .group import COOKIE, EchoGroup, Probe
from .siphash import siphash

__all__ = ("EchoTable",)

_HASH: Final = 8
_HEADER: Final = struct.Struct("!BBHHH")
_REQUEST: Final = {4: 8, 6: 128}
_REPLY: Final = {4: 0, 6: 129}
_SEQUENCES: Final = 1 << 16
_MOST: Final = _SEQUENCES // 2  # probes in flight
# Nanoseconds that the two clocks may differ in what they measure: one is steered, the other not.
_TOLERANCE: Final = 1_000_000


class EchoTable:
    """The probes of one socket.

    Attributes:
        foreign: Messages that answer somebody else's request, or no request.
        spoofed: Those that claim to answer ours, and do not know its cookie, or come from another
            address than it went to.
        duplicate: Further replies to a probe that has one.
        late: Replies to a probe whose time was over.
        corrupted: Replies whose checksum or contents are damaged.

    Args:
        version: Of IP.
        identifier: Of the requests.
        key: 16 bytes that nobody else knows.
        first: The first serial number.
        unchecked: Replies come without a look at their checksum: from raw sockets of IPv4.
    """

    def __init__(
        self,
        version: Literal[4, 6],
        identifier: int,
        key: bytes,
        *,
        first: int = 0,
        unchecked: bool = False,
    ) -> None:
        self.version: Literal[4, 6] = version
        self.identifier = identifier
        self._key = key
        self._next = first
        self._first = first
        self._unchecked = unchecked
        self._probes: dict[int, Probe] = {}  # by sequence
        self._flying = 0
        self.foreign = 0
        self.spoofed = 0
        self.duplicate = 0
        self.late = 0
        self.corrupted = 0

    @property
    def in_flight(self) -> int:
        """Probes without an end yet."""
        return self._flying

    # Probes

    def build(
        self,
        group: EchoGroup,
        host: str,
        address: bytes,
        scope: int,
        sequence: int,
        now_ns: int,
        monotonic_ns: int,
    ) -> tuple[int, bytes] | None:
        """The serial number and the bytes of a request that is sent now; None: too many fly.

        Args:
            group: What it belongs to.
            host: What it was asked for as; empty: its address.
            address: 4 or 16 bytes.
            scope: Of a link-local address of IPv6.
            sequence: Which probe to this host.
            now_ns: By the realtime clock.
            monotonic_ns: By the monotonic one.
        """
        if self._flying >= _MOST:
            return None
        while (old := self._probes.get(self._next % _SEQUENCES)) and old.state == "flying":
            self._next += 1
        serial = self._next
        self._next += 1
        probe = Probe(serial, group, host, address, scope, sequence, now_ns, monotonic_ns)
        self._probes[serial % _SEQUENCES] = probe
        group.flying[serial] = probe
        self._flying += 1
        return serial, self._request(probe)

    def _request(self, probe: Probe) -> bytes:
        payload = probe.group.payload(self._cookie(probe.serial, probe.address))
        header = (_REQUEST[self.version], 0)
        tail = (self.identifier, probe.serial % _SEQUENCES)
        blank = _HEADER.pack(*header, 0, *tail) + payload
        if self.version == 6:
            return blank  # the kernel makes the checksum: RFC 3542, section 3.1
        return _HEADER.pack(*header, checksum(blank), *tail) + payload

    def _cookie(self, serial: int, address: bytes) -> bytes:
        number = serial.to_bytes(8, "big")
        return siphash(self._key, number + address.ljust(16, b"\0")).to_bytes(8, "big") + number

    def stamp(self, serial: int, sent_ns: int) -> None:
        """The kernel says when a probe left."""
        probe = self._find(serial)
        if probe is not None and probe.state == "flying":
            probe.sent_ns = sent_ns
            probe.stamped = True

    def refuse(self, serial: int, error: EchoError) -> None:
        """A probe could not be sent: that is its end."""
        probe = self._find(serial)
        if probe is not None and probe.state == "flying":
            self._end(probe, "ended", probe.echo(error=error))

    def take_back(self, serial: int) -> None:
        """A probe was not sent, and will be tried again: as if it had not been built."""
        probe = self._find(serial)
        if probe is not None and probe.state == "flying":
            self._end(probe, "ended", None)

    def expire(self, group: EchoGroup, monotonic_ns: int) -> None:
        """Probes whose time is over are lost."""
        while group.flying:
            probe = next(iter(group.flying.values()))
            if probe.sent_monotonic + group.timeout_ns > monotonic_ns:
                return
            self._end(probe, "ended", probe.echo())

    def deadline(self, group: EchoGroup) -> int | None:
        """When the next probe of the group will be lost, by the monotonic clock."""
        if not group.flying:
            return None
        return next(iter(group.flying.values())).sent_monotonic + group.timeout_ns

    def abandon(self, group: EchoGroup) -> None:
        """Nobody waits for these probes any more."""
        for probe in list(group.flying.values()):
            self._end(probe, "ended", None)

    # Messages

    def take(
        self, message: bytes, source: bytes, ttl: int | None, received_ns: int, monotonic_ns: int
    ) -> EchoGroup | None:
        """Judge a message that came.

        Args:
            message: From its ICMP header on.
            source: The sender's address.
            ttl: As it arrived with.
            received_ns: By the realtime clock, as the kernel says; 0: it does not.
            monotonic_ns: Now.

        Returns:
            The group that got an echo by it, if any.
        """
        if len(message) < _HEADER.size:
            self.foreign += 1
            return None
        kind, code, _, identifier, sequence = _HEADER.unpack_from(message)
        if kind == _REQUEST[self.version]:
            return None  # our own, where we are the target as well
        if kind != _REPLY[self.version] or code or identifier != self.identifier:
            self.foreign += 1
            return None
        if self._unchecked and checksum(message):
            self.corrupted += 1
            return None
        payload = message[_HEADER.size :]
        if len(payload) >= COOKIE:
            serial = int.from_bytes(payload[_HASH:COOKIE], "big")
        else:
            serial = self._next - 1 - (self._next - 1 - sequence) % _SEQUENCES
        probe = self._find(serial)
        if probe is None or serial % _SEQUENCES != sequence:
            self._judge_unknown(serial, sequence, source, payload)
            return None
        expected = probe.group.payload(self._cookie(serial, probe.address))
        if payload[:_HASH] != expected[: min(_HASH, len(payload))] or (
            source != probe.address and not probe.group.anybody
        ):
            self.spoofed += 1
            return None
        if payload != expected[: len(payload)] or len(payload) < min(COOKIE, len(expected)):
            self.corrupted += 1
            return None
        return self._answer(probe, len(payload), ttl, received_ns, monotonic_ns)

    def _judge_unknown(self, serial: int, sequence: int, source: bytes, payload: bytes) -> None:
        """Of a probe that is forgotten there is the cookie alone."""
        known = self._first <= serial < self._next and serial % _SEQUENCES == sequence
        if known and len(payload) >= COOKIE and payload[:COOKIE] == self._cookie(serial, source):
            self.late += 1
        else:
            self.spoofed += 1

    def _answer(
        self, probe: Probe, size: int, ttl: int | None, received_ns: int, monotonic_ns: int
    ) -> EchoGroup | None:
        if probe.state == "answered":
            self.duplicate += 1
            repeats = probe.group.repeats
            repeats[probe.sequence] = repeats.get(probe.sequence, 0) + 1
            return None
        if probe.state == "ended":
            self.late += 1
            return None
        most = monotonic_ns - probe.sent_monotonic
        rtt, clock = received_ns - probe.sent_ns, "kernel" if probe.stamped else "receive"
        if not received_ns or not 0 <= rtt <= most + _TOLERANCE:
            rtt, clock = most, "program"
        echo = probe.echo(
            rtt=rtt / 1e9,
            received_ns=received_ns or probe.sent_ns + most,
            ttl=ttl,
            size=size,
            clock=clock,  # type: ignore[arg-type]
        )
        self._end(probe, "answered", echo)
        return probe.group

    def take_error(
        self,
        type: int,
        code: int,
        rest: int,
        router: bytes,
        target: bytes,
        quoted: bytes,
        received_ns: int,
    ) -> EchoGroup | None:
        """Judge an ICMP error.

        Args:
            type: Of the message.
            code: Of it.
            rest: What follows its checksum: an MTU, or nothing.
            router: Its sender.
            target: Where the quoted packet was sent to.
            quoted: That packet, from its ICMP header on: 8 bytes at least.
            received_ns: By the realtime clock.

        Returns:
            The group that got an echo by it, if any.
        """
        kind = error_kind(self.version, type, code)
        if kind is None or len(quoted) < _HEADER.size:
            return None
        asked, asked_code, _, identifier, sequence = _HEADER.unpack_from(quoted)
        if (asked, asked_code, identifier) != (_REQUEST[self.version], 0, self.identifier):
            self.foreign += 1
            return None
        probe = self._probes.get(sequence)
        if probe is None or probe.address != target or not self._quotes(quoted, probe):
            self.spoofed += 1
            return None
        if probe.state != "flying":
            self.late += 1
            return None
        mtu = rest if self.version == 6 else rest & 0xFFFF
        error = EchoError(
            kind=kind,
            router=ipaddress.ip_address(router),
            type=type,
            code=code,
            mtu=(mtu or None) if kind == "frag-needed" else None,
        )
        self._end(probe, "ended", probe.echo(error=error, received_ns=received_ns))
        return probe.group

    def _quotes(self, quoted: bytes, probe: Probe) -> bool:
        """Whether it is the probe that is quoted: as far as its bytes cannot be guessed."""
        request = self._request(probe)
        if self.version == 4:
            # Some routers quote no more than 8 bytes; the cookie is in their checksum.
            return quoted[: _HEADER.size] == request[: _HEADER.size]
        wanted = request[_HEADER.size : _HEADER.size + _HASH]
        return quoted[_HEADER.size : _HEADER.size + len(wanted)] == wanted

    def _find(self, serial: int) -> Probe | None:
        probe = self._probes.get(serial % _SEQUENCES)
        return probe if probe is not None and probe.serial == serial else None

    def _end(self, probe: Probe, state: Literal["answered", "ended"], echo: Echo | None) -> None:
        probe.state = state
        del probe.group.flying[probe.serial]
        self._flying -= 1
        if echo is not None:
            probe.group.finished.append(echo)
