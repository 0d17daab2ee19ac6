"""The state machine of a trace alone, its clock an argument."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioprocket.tracer import Answer, Hop
from aioprocket.tracer.path import Path
from aioprocket.wire.icmp import IcmpError

ROUTER = ipaddress.ip_address("192.0.2.1")
TARGET = ipaddress.ip_address("203.0.113.9")

EXPIRED = IcmpError(type=11, code=0)
PROHIBITED = IcmpError(type=3, code=13)


def expired(rtt: float = 0.01) -> Answer:
    return Answer(address=ROUTER, rtt=rtt, error=EXPIRED)


def reached(rtt: float = 0.02) -> Answer:
    return Answer(address=TARGET, rtt=rtt, reached=True)


def launched(path: Path, now: float = 0.0) -> list[tuple[int, int]]:
    """All that may be sent now: number and ttl."""
    return [tuple(launch) for launch in iter(lambda: path.launch(now), None)]  # type: ignore[misc]


def popped(path: Path) -> list[Hop]:
    return list(iter(path.pop, None))


def test_probes_go_hop_by_hop_as_many_as_the_window_takes() -> None:
    path = Path(probes=2, parallel=5)

    assert launched(path) == [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3)]


def test_an_answer_makes_room_for_one_more() -> None:
    path = Path(probes=1, parallel=2)
    launched(path)
    path.answered(0, expired())

    assert launched(path) == [(2, 3)]


def test_hops_come_in_their_order_each_as_soon_as_it_is_known() -> None:
    path = Path(probes=1, max_hops=3)
    launched(path)
    path.answered(1, expired())
    assert popped(path) == []

    path.answered(0, expired())

    assert [hop.ttl for hop in popped(path)] == [1, 2]


def test_nothing_is_asked_behind_the_destination() -> None:
    path = Path(probes=1, parallel=3)
    launched(path)
    path.answered(1, reached())

    assert launched(path) == []
    path.answered(0, expired())
    assert [(hop.ttl, hop.reached) for hop in popped(path)] == [(1, False), (2, True)]
    assert path.done


def test_a_router_that_goes_no_further_is_the_end() -> None:
    path = Path(probes=1)
    launched(path)
    path.answered(0, Answer(address=ROUTER, rtt=0.01, error=PROHIBITED))

    (hop,) = popped(path)

    assert path.done
    assert (hop.reached, hop.error, hop.address) == (False, PROHIBITED, ROUTER)
    assert hop.answers[0].text == "communication prohibited"


def test_what_is_not_answered_in_time_is_lost() -> None:
    path = Path(probes=2, max_hops=1, timeout=1.0)
    launched(path, 5.0)
    path.answered(1, expired())
    assert path.wakes_at() == 6.0
    assert path.expire(5.9) == []

    assert path.expire(6.0) == [0]
    (hop,) = popped(path)
    assert hop.probes == (None, expired())
    assert (hop.sent, hop.received, hop.loss) == (2, 1, 0.5)


def test_a_late_answer_counts_until_its_hop_is_told() -> None:
    path = Path(probes=1, max_hops=2)
    launched(path)
    path.expire(1.0)

    assert path.answered(0, expired(1.5))
    assert popped(path)[0].received == 1
    assert not path.answered(0, expired(1.6))
    assert not path.answered(77, expired())
    assert path.strays == 2


def test_an_answer_that_comes_twice_counts_once() -> None:
    path = Path(probes=1, max_hops=1)
    launched(path)

    assert path.answered(0, expired(0.1))
    assert not path.answered(0, expired(0.2))
    assert popped(path)[0].rtts == (0.1,)


def test_a_nameless_answer_to_the_only_probe_is_its() -> None:
    path = Path(probes=1, max_hops=1)
    launched(path)

    assert path.answered_one_of(0.1) == 0


def test_nameless_answers_to_several_probes_make_it_ask_again_one_by_one() -> None:
    path = Path(probes=1, max_hops=3, timeout=1.0)
    launched(path)
    path.answered(1, expired())

    assert path.answered_one_of(0.5) is None
    assert launched(path, 0.6) == []  # an answer to one of them may still be on its way
    assert path.answered_one_of(0.7) is None
    assert path.wakes_at() == 1.5
    assert launched(path, 1.5) == [(3, 1)]
    assert path.answered_one_of(1.6) == 3
    path.answered(3, expired())
    assert launched(path, 1.7) == [(4, 3)]


def test_numbers_go_around() -> None:
    path = Path(probes=3, max_hops=1, first_number=65_534)

    assert [number for number, _ in launched(path)] == [65_534, 65_535, 0]
    path.answered(0, expired(0.3))
    path.answered(65_534, expired(0.1))
    path.answered(65_535, expired(0.2))
    assert popped(path)[0].rtts == (0.1, 0.2, 0.3)


def test_a_hop_has_the_figures_of_its_answers() -> None:
    other = ipaddress.ip_address("192.0.2.2")
    answers = (expired(0.1), None, Answer(address=other, rtt=0.3, error=EXPIRED), expired(0.5))
    hop = Hop(ttl=4, probes=answers)

    assert hop.address == ROUTER
    assert hop.addresses == (ROUTER, other)
    assert (hop.min, hop.max, hop.loss) == (0.1, 0.5, 0.25)
    assert hop.avg == pytest.approx(0.3)
    assert not hop.reached
    assert hop.error is None


def test_a_silent_hop_has_none() -> None:
    hop = Hop(ttl=4, probes=(None, None))

    assert (hop.address, hop.addresses, hop.min, hop.avg, hop.max) == (None, (), None, None, None)
    assert hop.loss == 1


@settings(deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.floats(0, 0.4)), max_size=80),
)
def test_every_hop_up_to_the_end_is_told_once_whatever_is_answered(
    max_hops: int, probes: int, parallel: int, distance: int,
    events: list[tuple[int, bool, float]],
) -> None:  # fmt: skip
    path = Path(max_hops=max_hops, probes=probes, parallel=parallel)
    ttls: dict[int, int] = {}
    now = 0.0
    hops = []
    pending = iter(events)
    while not path.done:
        ttls.update(dict(launched(path, now)))
        number, named, step = next(pending, (0, True, 1.0))
        now += step
        if named and number in ttls:
            path.answered(number, reached() if ttls[number] >= distance else expired())
        elif not named and (one := path.answered_one_of(now)) is not None:
            path.answered(one, reached() if ttls[one] >= distance else expired())
        path.expire(now)
        hops += popped(path)
    assert [hop.ttl for hop in hops] == list(range(1, len(hops) + 1))
    assert all(hop.sent == probes for hop in hops)
    assert len(hops) == max_hops or hops[-1].reached
    assert not any(hop.reached for hop in hops[:-1])
