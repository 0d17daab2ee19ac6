"""How many probes fly at once, by what becomes of them, in networks that are told by a rule."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from aioprocket._system._native import Echo
from aioprocket.pinger.window import FIRST, Window

MOST = 512
TIMEOUT = 10**9
STEP = 5_000  # nanoseconds that a probe takes to be sent


class Sweep(NamedTuple):
    answered: int
    lost: int
    seconds: float
    sizes: list[int]


@dataclass
class Limiter:
    """Answers so many a second, and a burst of them at once."""

    rate: float
    burst: float
    seen_ns: int = 0
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def __call__(self, host: int, now_ns: int) -> bool:
        self.tokens = min(self.burst, self.tokens + self.rate * (now_ns - self.seen_ns) / 1e9)
        self.seen_ns = now_ns
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def swept(
    answers: Callable[[int, int], bool], hosts: int, *, size: int | None = None, rtt: int = 100_000
) -> Sweep:
    """What becomes of a sweep; ``size``: with that window, always."""
    window = Window(MOST, TIMEOUT)
    flying: list[tuple[int, bool, int]] = []  # when each ends, whether by an answer, its number
    now = answered = lost = asked = overtaken = 0
    sizes = []
    while asked < hosts or flying:
        sizes.append(window.size)
        ahead = min(len(flying), asked - overtaken)
        room = window.room(len(flying), ahead) if size is None else size - len(flying)
        if asked < hosts and room > 0:
            now += STEP
            answer = answers(asked, now)
            heapq.heappush(flying, (now + (rtt if answer else TIMEOUT), answer, asked))
            asked += 1
        else:
            now = max(now, flying[0][0])
        ended = []
        while flying and flying[0][0] <= now:
            _, answer, number = heapq.heappop(flying)
            ended.append(answer)
            overtaken = max(overtaken, number + 1) if answer else overtaken
        echoes = [echo(rtt / 1e9 if answer else None) for answer in ended]
        answered += sum(ended)
        lost += len(ended) - sum(ended)
        window.note(echoes, len(ended) - sum(ended), len(flying), now)
    return Sweep(answered, lost, now / 1e9, sizes)


def echo(rtt: float | None) -> Echo:
    return Echo("192.0.2.1", bytes([192, 0, 2, 1]), 0, rtt=rtt)


def silent(part: float) -> Callable[[int, int], bool]:
    """Of every hundred hosts so many parts are nobody."""
    return lambda host, now_ns: host * 37 % 100 >= part * 100


@pytest.mark.parametrize("rtt", [5_000_000, 100_000_000])
def test_window_opens_by_one_for_each_answer_from_afar(rtt: int) -> None:
    done = swept(silent(0.0), 4000, rtt=rtt)

    assert (done.answered, done.lost) == (4000, 0)
    assert done.sizes[0] == FIRST
    assert done.sizes[-1] == MOST
    assert done.sizes == sorted(done.sizes)


def test_window_stays_as_it_is_where_answers_are_there_at_once() -> None:
    done = swept(silent(0.0), 4000)

    assert (done.answered, done.lost) == (4000, 0)
    assert set(done.sizes) == {FIRST}


def test_window_stays_as_it_is_where_a_host_is_busy_for_a_moment() -> None:
    window = Window(MOST, TIMEOUT)
    late = [0.005 - answer * 0.00004 for answer in range(FIRST)]  # one stop, and all together

    for round_ in range(1, 20):
        for at, rtt in enumerate(late):
            window.note([echo(rtt)], 0, FIRST - at, round_ * 10**9 + at)
        window.note([echo(0.0003)], 0, 1, round_ * 10**9 + 10**6)

    assert window.size == FIRST


@pytest.mark.parametrize(
    ("rate", "burst", "at_most"), [(100, 50, 0.35), (200, 20, 0.5), (5000, 500, 0.2)]
)
def test_network_that_answers_so_many_a_second_is_asked_more_slowly(
    rate: int, burst: int, at_most: float
) -> None:
    hosts = 20 * rate if rate < 1000 else 4 * rate
    always = swept(Limiter(rate, burst), hosts, size=MOST)
    done = swept(Limiter(rate, burst), hosts)

    assert done.answered + done.lost == hosts
    assert done.lost <= at_most * hosts
    assert done.lost <= always.lost / 2


def test_network_that_stops_to_limit_is_asked_faster_again() -> None:
    limiter = Limiter(100, 50)
    until = 10 * 10**9
    done = swept(lambda host, now: limiter(host, now) or now > until, 20_000, rtt=100_000_000)

    assert min(done.sizes) < FIRST / 4
    assert done.sizes[-1] == MOST


@pytest.mark.parametrize("rtt", [100_000, 5_000_000, 100_000_000])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95, 1.0])
def test_hosts_that_are_not_there_slow_nothing_down_for_long(part: float, rtt: int) -> None:
    always = swept(silent(part), 6_000, size=MOST, rtt=rtt)
    done = swept(silent(part), 6_000, rtt=rtt)

    assert done.lost == always.lost
    assert done.seconds <= always.seconds * 1.1 + 2.5 * TIMEOUT / 1e9


def test_empty_part_of_a_network_is_gone_through_fast() -> None:
    def clustered(host: int, now_ns: int) -> bool:
        return host // 256 % 8 == 0 and host % 3 > 0

    always = swept(clustered, 8_000, size=MOST)
    done = swept(clustered, 8_000)

    assert done.lost == always.lost
    assert done.seconds <= always.seconds * 1.5 + 10


@pytest.mark.parametrize("size", [1, 7, 200])
def test_window_never_exceeds_the_most(size: int) -> None:
    window = Window(size, TIMEOUT)
    for moment in range(0, 5 * TIMEOUT, TIMEOUT // 10):
        window.note([echo(0.001)] * 50, 0, 0, moment)
        assert 1 <= window.size <= size
        window.note([echo(None)] * 50, 50, 0, moment)
        assert 1 <= window.size <= size
