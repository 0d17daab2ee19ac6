"""How long packets may wait for company: what is decided, from numbers alone."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket._system._native import Moderation

LONGEST = 1_000_000  # ns
SHORTEST = 20_000
USUAL_ROOM = 212_992
SMALL = 768  # bytes that a small datagram takes of a socket's buffer
NEEDED = 8  # wakeups

looks = st.lists(
    st.tuples(
        st.integers(0, 10_000_000),  # ns since the last one
        st.integers(0, 5_000),  # packets
        st.integers(0, 1 << 22),  # bytes
    ),
    max_size=200,
)
rooms = st.integers(0, 1 << 24)


class Stream:
    """Packets that come evenly, and a reader that reads all whenever it is woken."""

    def __init__(self, gap: int, *, size: int = SMALL, room: int = USUAL_ROOM) -> None:
        self.moderation = Moderation(LONGEST)
        self.gap = gap
        self.size = size
        self.room = room
        self.now = 1 << 40
        self.most = 0  # packets of one wakeup
        self.delays: list[int] = []

    def run(self, wakeups: int) -> int:
        """So many wakeups; the last delay."""
        for _ in range(wakeups):
            wait = self.moderation.delay or self.gap
            packets = max(wait // self.gap, 0 if self.moderation.delay else 1)
            self.now += wait
            self.most = max(self.most, packets)
            self.delays.append(
                self.moderation.next(self.now, packets, packets * self.size, self.room)
            )
        return self.moderation.delay


def test_packets_that_come_seldom_never_wait() -> None:
    for gap in (LONGEST // 2, LONGEST, 30 * LONGEST):
        assert Stream(gap, room=1 << 22).run(1_000) == 0


def test_the_first_packets_of_a_stream_wake_each() -> None:
    stream = Stream(20_000)

    stream.run(NEEDED + 1)

    assert stream.delays[: NEEDED - 1] == [0] * (NEEDED - 1)
    assert stream.delays[-1] > 0


def test_a_dense_stream_waits_for_as_long_as_may_be_and_gets_there_slowly() -> None:
    stream = Stream(50_000, room=1 << 22)

    assert stream.run(100) == LONGEST
    waited = [delay for delay in stream.delays if delay]
    assert all(after <= before * 1.5 for before, after in itertools.pairwise(waited))


@pytest.mark.parametrize("gap", [1_000, 1_400, 3_000, 10_000, 15_000])
@pytest.mark.parametrize("size", [SMALL, 2_304])
def test_what_is_expected_fits_into_one_read_and_a_quarter_of_the_buffer(
    gap: int, size: int
) -> None:
    stream = Stream(gap, size=size)

    delay = stream.run(200)

    assert 0 < delay <= LONGEST
    assert stream.most <= 64
    # How large packets are is not known before the first rest.
    assert (stream.most - 1) * size <= USUAL_ROOM / 4


def test_a_buffer_without_room_for_a_flood_leaves_packets_waking() -> None:
    assert Stream(25_000, size=2_304).run(1_000) == 0
    assert Stream(25_000, size=2_304, room=4 * USUAL_ROOM).run(1_000) > 0


@given(looks, rooms)
def test_a_delay_is_none_or_within_its_bounds(
    several: list[tuple[int, int, int]], room: int
) -> None:
    moderation, now = Moderation(LONGEST), 1 << 40
    for after, packets, size in several:
        now += after
        delay = moderation.next(now, packets, size, room)
        assert delay == moderation.delay
        assert delay == 0 or SHORTEST <= delay <= LONGEST


@given(looks, rooms)
def test_a_sudden_flood_finds_room_while_nobody_is_woken(
    several: list[tuple[int, int, int]], room: int
) -> None:
    """A million packets a second as large as the last ones: half of the buffer is left."""
    moderation, now = Moderation(LONGEST), 1 << 40
    for after, packets, size in several:
        now += after
        rested = moderation.delay > 0
        delay = moderation.next(now, packets, size, room)
        if rested and packets > 1 and room > 0 and delay > SHORTEST:
            each = max(SMALL, size // packets)
            assert delay // 1_000 * each <= room / 2


@given(looks)
def test_a_delay_grows_by_half_at_most(several: list[tuple[int, int, int]]) -> None:
    moderation, now = Moderation(LONGEST), 1 << 40
    for after, packets, size in several:
        now += after
        before = moderation.delay
        delay = moderation.next(now, packets, size, USUAL_ROOM)
        if before:
            assert delay <= before * 1.5


def test_a_stream_that_ends_is_waited_for_twice_at_most() -> None:
    stream = Stream(20_000)
    assert stream.run(50) > 0

    stream.gap = 1 << 50
    stream.run(2)

    assert stream.moderation.delay == 0


def test_one_packet_at_a_time_in_reply_to_another_soon_waits_no_more() -> None:
    """Whoever answers each packet and gets the next one then has no company for it."""
    moderation, now, waited = Moderation(LONGEST), 1 << 40, 0
    for _ in range(10_000):
        delay = moderation.delay
        waited += delay > 0
        now += 30_000 + delay
        moderation.next(now, 1, SMALL if delay else 0, USUAL_ROOM)

    assert 0 < waited < 100


def test_after_a_pause_of_the_reader_nothing_is_known() -> None:
    stream = Stream(20_000)
    assert stream.run(50) > 0

    stream.now += 5 * LONGEST

    assert stream.run(1) == 0


def test_what_is_read_uncounted_is_known_by_the_memory_that_it_took() -> None:
    stream = Stream(20_000)
    stream.run(50)
    now = stream.now
    for _ in range(50):
        now += stream.moderation.delay
        stream.moderation.next(now, 0, 12 * SMALL, USUAL_ROOM)

    assert stream.moderation.delay > 0


@pytest.mark.parametrize("longest", [-1, 0, 19_999, 1_000_000_001])
def test_no_other_time_is_the_longest(longest: int) -> None:
    with pytest.raises(ValueError, match=str(longest)):
        Moderation(longest)
