"""The native table against its model in Python: whatever comes, both say the same."""

import pickle
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aioprocket._system import _native
from aioprocket.pinger.echo import Echo, EchoError
from aioprocket.wire.checksum import checksum

from . import model
from .siphash import siphash

KEY = bytes(range(16))
COUNTERS = ("foreign", "spoofed", "duplicate", "late", "corrupted", "in_flight")
ADDRESSES = {
    4: [bytes([192, 0, 2, last]) for last in (1, 2, 3)],
    6: [bytes([0x20, 1, 0xD, 0xB8, *bytes(11), last]) for last in (1, 2, 3)],
}
FIRST = 65530  # the sequence wraps early
SECOND = 10**9


@dataclass
class Pair:
    """The same table twice."""

    version: Literal[4, 6]
    size: int

    def __post_init__(self) -> None:
        options: dict[str, Any] = {"first": FIRST, "unchecked": self.version == 4}
        self.tables = (
            _native.EchoTable(self.version, 0xABCD, KEY, **options),
            model.EchoTable(self.version, 0xABCD, KEY, **options),
        )
        self.groups = [
            (
                _native.EchoGroup(self.size, b"abc", timeout, anybody),
                model.EchoGroup(self.size, b"abc", timeout, anybody),
            )
            for timeout, anybody in ((SECOND, False), (3 * SECOND, True))
        ]
        self.requests: list[bytes] = []
        self.serials: list[int] = []
        self.targets: list[bytes] = []

    def both(self, name: str, *arguments: Any, group: int | None = None) -> Any:
        """Call a method of both tables; their answer, which is the same."""
        answers = []
        for at, table in enumerate(self.tables):
            first = () if group is None else (self.groups[group][at],)
            answers.append(getattr(table, name)(*first, *arguments))
        assert answers[0] == answers[1], name
        return answers[0]

    def compare(self) -> None:
        native, plain = self.tables
        for counter in COUNTERS:
            assert getattr(native, counter) == getattr(plain, counter), counter
        for ours, theirs in self.groups:
            assert ours.in_flight == theirs.in_flight
            assert ours.not_overtaken == theirs.not_overtaken
            assert ours.repeats == theirs.repeats
            assert ours.take() == theirs.take()


moments = st.integers(0, 5 * SECOND)
actions = st.one_of(
    st.tuples(st.just("build"), st.integers(0, 1), st.integers(0, 2), st.integers(0, 5)),
    st.tuples(
        st.just("reply"),
        st.integers(0, 30),
        st.integers(0, 200),  # which byte is changed
        st.sampled_from([0, 0, 0, 0, 1, 0x80]),  # by what
        st.booleans(),  # whether the checksum is right all the same
        st.integers(0, 2),  # by whom; 2: as asked
        st.integers(-30, 5),  # how much longer, or shorter
        st.integers(0, 2000000),  # nanoseconds until it is read; the kernel's timestamp is older
    ),
    st.tuples(
        st.just("error"), st.integers(0, 30), st.integers(0, 60), st.sampled_from([0, 0, 1]),
        st.integers(7, 100),
    ),
    st.tuples(st.just("expire"), st.integers(0, 1)),
    st.tuples(st.just("abandon"), st.integers(0, 1)),
    st.tuples(st.just("stamp"), st.integers(0, 30), moments),
    st.tuples(st.just("refuse"), st.integers(0, 1), st.integers(0, 2)),
    st.tuples(st.just("take_back"), st.integers(0, 30)),
    st.tuples(st.just("clock"), st.integers(-10 * SECOND, 10 * SECOND)),
    st.tuples(st.just("time"), st.integers(0, SECOND)),
)  # fmt: skip


# A machine that is busy is not slow input.
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
# A short reply whose sequence was never sent.
@example(version=4, size=0, story=[("build", 0, 0, 0), ("reply", 0, 7, 1, True, 0, 0, 0)])
@given(
    version=st.sampled_from([4, 6]),
    size=st.sampled_from([0, 3, 8, 12, 16, 20, 56]),
    story=st.lists(actions, max_size=60),
)
def test_both_say_the_same(version: Literal[4, 6], size: int, story: list[Any]) -> None:
    pair = Pair(version, size)
    real, monotonic = 1_700_000_000 * SECOND, 5 * SECOND
    for action in story:
        match action:
            case "build", group, address, sequence:
                target = ADDRESSES[version][address]
                item = ("host", target, 0)
                found = pair.both("build", item, sequence, real, monotonic, group=group)
                pair.serials.append(found[0])
                pair.requests.append(found[1])
                pair.targets.append(target)
            case "reply", which, at, by, right, sender, longer, ago if pair.requests:
                which %= len(pair.requests)
                message = _reply(pair.requests[which], version, at, by, longer, right=right)
                asked = pair.targets[which]
                source = ADDRESSES[version][sender] if sender < 2 else asked
                pair.both("take", message, source, 64, real - ago, real, monotonic)
            case "error", which, at, by, length if pair.requests:
                which %= len(pair.requests)
                quoted = bytearray(pair.requests[which])
                if at < len(quoted):
                    quoted[at] ^= by
                error = EchoError("host-unreachable")
                arguments = (pair.targets[which], bytes(quoted[:length]), error, real)
                pair.both("take_error", *arguments)
            case "expire", group:
                pair.both("expire", monotonic, group=group)
            case "abandon", group:
                pair.both("abandon", group=group)
            case "stamp", which, moment if pair.serials:
                pair.both("stamp", pair.serials[which % len(pair.serials)], real - moment)
            case "refuse", group, address:
                item = ("", ADDRESSES[version][address], 0)
                pair.both("refuse", item, 7, EchoError("not-sent", errno=1), group=group)
            case "take_back", which if pair.serials:
                pair.both("take_back", pair.serials[which % len(pair.serials)])
            case "clock", step:
                real += step
            case "time", step:
                real += step
                monotonic += step
        for group in (0, 1):
            pair.both("deadline", group=group)
        pair.compare()


def _reply(request: bytes, version: int, at: int, by: int, longer: int, *, right: bool) -> bytes:
    message = bytearray(request)
    message[0] = 0 if version == 4 else 129
    if longer > 0:
        message += bytes(longer)
    elif longer < -20 and len(message) + longer + 20 >= 4:
        del message[longer + 20 :]
    if at < len(message):
        message[at] ^= by
    if right and version == 4:
        message[2:4] = bytes(2)
        message[2:4] = checksum(bytes(message)).to_bytes(2, "big")
    return bytes(message)


def test_cookie_is_siphash() -> None:
    # The vector of the paper's appendix A: key 00 01 … 0f, data 00 01 … 0e.
    assert siphash(KEY, bytes(range(15))) == 0xA129CA6149BE45E5


@pytest.mark.parametrize("version", [4, 6])
def test_as_many_fly_as_can_be_told_apart(version: Literal[4, 6]) -> None:
    table = _native.EchoTable(version, 1, KEY, first=2**40)
    group = _native.EchoGroup(16, b"", SECOND)
    item = ADDRESSES[version][0]
    serials = []
    for at in range(32768):
        found = table.build(group, item, at, 0, 0)
        assert found is not None
        serials.append(found[0])

    assert table.build(group, item, 0, 0, 0) is None
    assert len({serial % 65536 for serial in serials}) == 32768
    table.expire(group, SECOND)
    assert [echo.sequence for echo in group.take()] == list(range(32768))


def test_clock_that_steps_does_not_change_a_round_trip() -> None:
    for step in (-3600 * SECOND, 3600 * SECOND):
        table = _native.EchoTable(4, 1, KEY)
        group = _native.EchoGroup(56, b"", SECOND)
        sent_ns = 1_700_000_000 * SECOND
        found = table.build(group, ADDRESSES[4][0], 0, sent_ns, SECOND)
        assert found is not None
        reply = b"\0" + found[1][1:]
        now_ns = sent_ns + step + 2_000_000
        table.take(reply, ADDRESSES[4][0], 64, now_ns - 1_000_000, now_ns, SECOND + 2_000_000)
        (echo,) = group.take()

        assert (echo.rtt, echo.clock) == (0.002, "program")


@pytest.mark.parametrize("step", [-3600 * SECOND, -5_000_000, 5_000_000, 3600 * SECOND])
@pytest.mark.parametrize("stamped", [False, True])
def test_step_that_two_timestamps_alone_would_not_show_is_noticed(step: int, stamped: bool) -> None:
    """Set between the request and its reply, which is read late."""
    table = _native.EchoTable(6, 1, KEY)
    group = _native.EchoGroup(56, b"", SECOND)
    sent_ns = 1_700_000_000 * SECOND
    found = table.build(group, ADDRESSES[6][0], 0, sent_ns, SECOND)
    assert found is not None
    if stamped:
        table.stamp(found[0], sent_ns + 10_000)
    received_ns = sent_ns + 6_000_000 + step
    later = 20_000_000
    table.take(
        b"\x81" + found[1][1:], ADDRESSES[6][0], 64, received_ns, sent_ns + later + step,
        SECOND + later,
    )  # fmt: skip
    (echo,) = group.take()

    assert (echo.rtt, echo.clock) == (0.02, "program")


def test_echo_survives_pickle_and_copy() -> None:
    echo = Echo(
        "host", ADDRESSES[6][0], 3, scope=2, rtt=0.5, sent_ns=10**18, ttl=60, size=56,
        clock="kernel",
    )  # fmt: skip

    again = pickle.loads(pickle.dumps(echo))
    assert again == echo
    assert hash(again) == hash(echo)
    assert again.address.scope_id == "2"
    assert echo.with_duplicates(4).duplicates == 4
    assert echo.with_duplicates(4) != echo
    assert "rtt=0.5" in repr(echo)


Sent = tuple[_native.EchoTable, list[bytes]]


def sent(version: Literal[4, 6], count: int, size: int = 56) -> Sent:
    """A table, and the requests to one address that it has sent, all of which are given up."""
    table = _native.EchoTable(version, 1, KEY)
    group = _native.EchoGroup(size, b"", SECOND)
    requests = []
    for at in range(count):
        found = table.build(group, ADDRESSES[version][0], at, 0, 0)
        assert found is not None
        requests.append(found[1])
        table.abandon(group)
    return table, requests


def counted(table: _native.EchoTable, quoted: bytes, target: bytes) -> tuple[int, int]:
    """How many errors were late, and how many spoofed, by this one."""
    before = table.late, table.spoofed
    table.take_error(target, quoted, EchoError("host-unreachable"), 1)
    return table.late - before[0], table.spoofed - before[1]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("count", [1, 5000, 70000])  # ended; its slot is another's; its number, too
def test_error_about_a_probe_that_is_forgotten_is_late(version: Literal[4, 6], count: int) -> None:
    table, requests = sent(version, count)
    here, there, _ = ADDRESSES[version]

    assert counted(table, requests[0], here) == (1, 0)
    assert counted(table, requests[0][:24], here) == (1, 0)
    assert counted(table, requests[0], there) == (0, 1)
    for at in (8, 23):
        forged = bytearray(requests[0])
        forged[at] ^= 1
        assert counted(table, bytes(forged), here) == (0, 1)


def test_error_that_quotes_a_header_alone_is_late_where_it_may_be_about_a_probe() -> None:
    here, there, _ = ADDRESSES[4]
    for count, elsewhere in ((1, (0, 1)), (5000, (1, 0)), (70000, (1, 0))):
        table, requests = sent(4, count)
        header = requests[0][:8]

        assert counted(table, header, here) == (1, 0)
        assert counted(table, header + bytes(100), here) == (1, 0)  # RFC 4884 fills up with zeros
        # To whom a request went of which no more is known, nobody can say.
        assert counted(table, header, there) == elsewhere
        if count < 65536:
            assert counted(table, header[:6] + b"\xff\xfe", here) == (0, 1)  # of none that was sent


@pytest.mark.parametrize("version", [4, 6])
def test_error_about_a_small_probe_that_is_forgotten_is_late(version: Literal[4, 6]) -> None:
    table, requests = sent(version, 5000, size=4)

    assert counted(table, requests[0], ADDRESSES[version][0]) == (1, 0)
