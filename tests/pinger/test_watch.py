"""What is known of a host that is watched: its last round trips, as its probes end."""

import gc
import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket._system._native import EchoGroup, EchoTable, EchoWatch

SECOND = 10**9
ADDRESS = {4: bytes([192, 0, 2, 1]), 6: bytes([0x20, 1, 0xD, 0xB8, *bytes(11), 1])}

# A round trip in nanoseconds; None: no reply in time; "": this machine refused to send it.
outcomes = st.one_of(st.integers(1, SECOND // 2), st.none(), st.just(""))


def a_table(version: Literal[4, 6] = 6) -> EchoTable:
    return EchoTable(version, 7, bytes(16))


def a_group() -> EchoGroup:
    return EchoGroup(56, b"", SECOND)


def end(table: EchoTable, group: EchoGroup, watch: EchoWatch, outcome: Any, now: int) -> None:
    """Send the next probe to a host of IPv6, and let this come of it."""
    if outcome == "":
        table.refuse(group, watch, 0, "no route")
        return
    built = table.build(group, watch, 0, now, now)
    assert built is not None
    _, request = built
    if outcome is None:
        table.expire(group, now + SECOND)
        return
    reply = bytes([129]) + request[1:]
    then = now + outcome
    table.take(reply, watch.target[1], 64, then, then, then)


@given(window=st.integers(1, 40), story=st.lists(outcomes, max_size=100))
def test_window_has_the_last_round_trips_in_their_order(window: int, story: list[Any]) -> None:
    table, group = a_table(), a_group()
    watch = EchoWatch(("host", ADDRESS[6], 0), window)
    for at, outcome in enumerate(story):
        end(table, group, watch, outcome, (1 + at) * 2 * SECOND)

    answered = [isinstance(outcome, int) for outcome in story]
    last = [outcome / 1e9 if isinstance(outcome, int) else None for outcome in story[-window:]]
    assert [None if math.isnan(rtt) else rtt for rtt in watch.rtts()] == last
    assert (watch.sent, watch.received) == (len(story), sum(answered))
    assert [echo.rtt for echo in group.take()][-window:] == last


def test_window_is_that_of_the_call_also_if_a_probe_ends_by_the_garbage_collector() -> None:
    table, group = a_table(), a_group()
    watch = EchoWatch(("host", ADDRESS[6], 0), 100)
    table.refuse(group, watch, 0, "no route")

    def collected(phase: str, info: dict[str, int]) -> None:
        table.refuse(group, watch, 0, "no route")

    thresholds = gc.get_threshold()
    gc.callbacks.append(collected)
    # Python 3.11 collects where it has no list left to use again; later ones never in a call.
    gc.set_threshold(1)
    try:
        windows = [watch.rtts() for _ in range(200)]
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(collected)

    assert watch.sent > 1
    assert all(math.isnan(rtt) for rtts in windows for rtt in rtts)


def test_nothing_is_known_before_the_first_probe_ends() -> None:
    table, group = a_table(), a_group()
    watch = EchoWatch(("host", ADDRESS[6], 0), 10)
    table.build(group, watch, 0, SECOND, SECOND)

    assert (watch.sent, watch.received, watch.rtts()) == (0, 0, [])


def test_probe_that_nobody_waits_for_any_more_is_not_counted() -> None:
    table, group = a_table(), a_group()
    watch = EchoWatch(("host", ADDRESS[6], 0), 10)
    table.build(group, watch, 0, SECOND, SECOND)
    table.abandon(group)
    table.expire(group, 10 * SECOND)

    assert (watch.sent, watch.rtts()) == (0, [])


def test_refused_probe_has_a_number() -> None:
    table, group = a_table(), a_group()
    watch = EchoWatch(("host", ADDRESS[6], 3), 10)
    for _ in range(2):
        table.refuse(group, watch, 0, "no route")

    echoes = group.take()
    assert [(echo.host, echo.packed, echo.scope) for echo in echoes] == [watch.target] * 2
    assert [echo.sequence for echo in echoes] == [0, 1]
    assert watch.sequence == 2


def test_host_of_the_other_version_is_not_taken() -> None:
    watch = EchoWatch(("", ADDRESS[4], 0), 10)

    assert a_table(6).build(a_group(), watch, 0, SECOND, SECOND) is None
    assert a_table(4).build(a_group(), watch, 0, SECOND, SECOND) is not None


@pytest.mark.parametrize(
    ("target", "window", "error"),
    [
        (("host", b"123", 0), 10, ValueError),
        (("host", ADDRESS[4], 0), 0, ValueError),
        (("host", ADDRESS[4], 0), -1, ValueError),
        ((b"host", ADDRESS[4], 0), 10, TypeError),
        (("host", ADDRESS[4]), 10, TypeError),
        (["host", ADDRESS[4], 0], 10, TypeError),
    ],
)
def test_what_cannot_be_watched_is_refused(
    target: Any, window: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        EchoWatch(target, window)
