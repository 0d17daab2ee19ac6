"""The table of probes once more, in Python and as plainly as can be: what the native one must do.

A probe has a serial number, of which the request's sequence is the lower half, and a cookie: a
keyed hash of the serial number and the address, with the serial number behind it. So a reply is
judged by itself: who did not see the request cannot make one, and a true one that comes late or
twice is told from a forged one long after its probe is forgotten.

Two clocks: the realtime one, by which the kernel stamps packets, measures; the monotonic one, which
nobody sets, says when a probe has had its time, and bounds what the other may claim.
"""

import struct
from collections import OrderedDict
from typing import Final, Literal

from aioprocket.pinger.echo import Clock, Echo, EchoError
from aioprocket.wire.checksum import checksum

from .siphash import siphash

COOKIE: Final = 16  # bytes: the hash, the serial number
_HASH: Final = 8
_HEADER: Final = struct.Struct("!BBHHH")
_REQUEST: Final = {4: 8, 6: 128}
_REPLY: Final = {4: 0, 6: 129}
_SEQUENCES: Final = 1 << 16
_FIRST_CAPACITY: Final = 1024
_MOST: Final = _SEQUENCES // 2  # probes in flight
# Nanoseconds that the two clocks may differ in what they measure: they are not read at one moment.
_TOLERANCE: Final = 1_000_000


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
        self.sent: list[int] = []  # serial numbers
        self.answered: set[int] = set()

    @property
    def not_overtaken(self) -> int:
        """Probes on their way that were sent after the last one that has its answer."""
        serials = range(
            max(self.answered, default=min(self.sent, default=0) - 1) + 1,
            max(self.sent, default=-1) + 1,
        )
        return min(len(serials), self.in_flight)

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
        "stamped_ns", "state",
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
        self.stamped_ns = 0
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
        return Echo(
            host=self.host,
            packed=self.address,
            sequence=self.sequence,
            scope=self.scope,
            rtt=rtt,
            sent_ns=self.stamped_ns or self.sent_ns,
            received_ns=received_ns,
            ttl=ttl,
            size=size,
            error=error,
            clock=clock,
        )


class EchoTable:
    """The probes of one socket.

    Attributes:
        foreign: Messages that answer somebody else's request, or no request.
        spoofed: Those that claim to answer ours, and do not know its cookie, or come from another
            address than it went to; errors about what cannot be a request of ours.
        duplicate: Further replies to a probe that has one.
        late: Replies to a probe whose time was over, and errors about one that had its end.
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
        self._probes: dict[int, Probe] = {}  # by slot
        self._capacity = 0
        self._flying = 0
        self._brief = False  # requests have gone without a whole cookie
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
        item: tuple[str, bytes, int],
        sequence: int,
        now_ns: int,
        monotonic_ns: int,
    ) -> tuple[int, bytes] | None:
        if self._flying >= _MOST:
            return None
        if 2 * self._flying >= self._capacity:
            self._grow()
        while (old := self._probes.get(self._slot(self._next))) and old.state == "flying":
            self._next += 1
        serial = self._next
        self._next += 1
        self._brief = self._brief or group.size < COOKIE
        probe = Probe(serial, group, *item, sequence, now_ns, monotonic_ns)
        self._probes[self._slot(serial)] = probe
        group.flying[serial] = probe
        group.sent.append(serial)
        self._flying += 1
        return serial, self._request(probe)

    def _slot(self, serial: int) -> int:
        return serial % self._capacity if self._capacity else 0

    def _grow(self) -> None:
        self._capacity = 2 * self._capacity or _FIRST_CAPACITY
        self._probes = {self._slot(probe.serial): probe for probe in self._probes.values()}

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
            probe.stamped_ns = sent_ns

    def refuse(
        self, group: EchoGroup, item: tuple[str, bytes, int], sequence: int, error: EchoError
    ) -> None:
        group.finished.append(Probe(0, group, *item, sequence, 0, 0).echo(error=error))

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
        self,
        message: bytes,
        source: bytes,
        ttl: int | None,
        received_ns: int,
        now_ns: int,
        monotonic_ns: int,
    ) -> None:
        if len(message) < _HEADER.size:
            self.foreign += 1
            return
        kind, code, _, identifier, sequence = _HEADER.unpack_from(message)
        if kind == _REQUEST[self.version]:
            return  # our own, where we are the target as well
        if kind != _REPLY[self.version] or code or identifier != self.identifier:
            self.foreign += 1
            return
        if self._unchecked and checksum(message):
            self.corrupted += 1
            return
        payload = message[_HEADER.size :]
        whole = len(payload) >= COOKIE
        serial = int.from_bytes(payload[_HASH:COOKIE], "big") if whole else self._last(sequence)
        probe = self._find(serial)
        if serial % _SEQUENCES != sequence:
            self.spoofed += 1
        elif probe is None or probe.state == "ended":
            asked = source if probe is None else probe.address
            if self._is_known(serial, asked, payload) if whole else probe is not None:
                self.late += 1
            else:
                self.spoofed += 1
        else:
            self._take_reply(probe, payload, source, ttl, received_ns, (now_ns, monotonic_ns))

    def _is_known(self, serial: int, address: bytes, payload: bytes) -> bool:
        asked = self._first <= serial < self._next
        return asked and payload[:COOKIE] == self._cookie(serial, address)

    def _last(self, sequence: int) -> int:
        return self._next - 1 - (self._next - 1 - sequence) % _SEQUENCES

    def _take_reply(
        self,
        probe: Probe,
        payload: bytes,
        source: bytes,
        ttl: int | None,
        received_ns: int,
        now: tuple[int, int],
    ) -> None:
        expected = probe.group.payload(self._cookie(probe.serial, probe.address))
        if (
            payload[:_HASH] != expected[: min(_HASH, len(payload))]
            and (payload[: min(_HASH, len(expected))] != expected[:_HASH])
        ) or (source != probe.address and not probe.group.anybody):
            self.spoofed += 1
        elif payload != expected[: len(payload)] or len(payload) < min(COOKIE, len(expected)):
            self.corrupted += 1
        else:
            self._answer(probe, len(payload), ttl, received_ns, now)

    def _answer(
        self, probe: Probe, size: int, ttl: int | None, received_ns: int, now: tuple[int, int]
    ) -> None:
        if probe.state == "answered":
            self.duplicate += 1
            repeats = probe.group.repeats
            repeats[probe.sequence] = repeats.get(probe.sequence, 0) + 1
            return
        now_ns, monotonic_ns = now
        most = monotonic_ns - probe.sent_monotonic
        sent_ns = probe.stamped_ns or probe.sent_ns
        rtt, clock = received_ns - sent_ns, "kernel" if probe.stamped_ns else "receive"
        was_set = abs(now_ns - probe.sent_ns - most) > _TOLERANCE
        if not received_ns or not 0 <= rtt <= most + _TOLERANCE or was_set:
            rtt, clock = most, "program"
        echo = probe.echo(
            rtt=rtt / 1e9,
            received_ns=received_ns or sent_ns + most,
            ttl=ttl,
            size=size,
            clock=clock,  # type: ignore[arg-type]
        )
        probe.group.answered.add(probe.serial)
        self._end(probe, "answered", echo)

    def take_error(self, target: bytes, quoted: bytes, error: EchoError, received_ns: int) -> None:
        if len(quoted) < _HEADER.size:
            self.foreign += 1
            return
        asked, _, _, identifier, sequence = _HEADER.unpack_from(quoted)
        if (asked, identifier) != (_REQUEST[self.version], self.identifier):
            self.foreign += 1
            return
        cookie = quoted[_HEADER.size : _HEADER.size + COOKIE]
        serial = int.from_bytes(cookie[_HASH:], "big")
        whole = len(cookie) == COOKIE and serial % _SEQUENCES == sequence
        known = whole and self._is_known(serial, target, cookie)
        probe = self._find(serial if known else self._last(sequence))
        kept = probe is not None and probe.state != "ended" and probe.address == target
        if probe is not None and kept and self._quotes(quoted, probe):
            if probe.state == "flying":
                self._end(probe, "ended", probe.echo(error=error, received_ns=received_ns))
            else:
                self.late += 1
        elif (not kept) if known else self._may_be_ours(probe, target, sequence, cookie):
            self.late += 1
        else:
            self.spoofed += 1

    def _may_be_ours(
        self, newest: Probe | None, target: bytes, sequence: int, cookie: bytes
    ) -> bool:
        """Whether it may be about a request that nothing is known of any more but its sequence."""
        cut = self.version == 4 and (len(cookie) < COOKIE or not any(cookie))
        if not (cut or self._brief):
            return False
        if newest is not None and newest.state == "ended" and newest.address == target:
            return True
        last = self._last(sequence) if newest is None else self._last(sequence) - _SEQUENCES
        return last >= self._first

    def _quotes(self, quoted: bytes, probe: Probe) -> bool:
        """Whether it is the probe that is quoted: as far as its bytes cannot be guessed."""
        request = self._request(probe)
        if self.version == 4:
            # Some routers quote no more than 8 bytes; the cookie is in their checksum.
            return quoted[: _HEADER.size] == request[: _HEADER.size]
        wanted = request[_HEADER.size : _HEADER.size + _HASH]
        return quoted[_HEADER.size : _HEADER.size + len(wanted)] == wanted

    def _find(self, serial: int) -> Probe | None:
        probe = self._probes.get(self._slot(serial))
        return probe if probe is not None and probe.serial == serial else None

    def _end(self, probe: Probe, state: Literal["answered", "ended"], echo: Echo | None) -> None:
        probe.state = state
        del probe.group.flying[probe.serial]
        self._flying -= 1
        if echo is not None:
            probe.group.finished.append(echo)
