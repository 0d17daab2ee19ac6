"""Readers: how long receives may follow each other before others get their turn."""

import time
from collections.abc import Sequence

import pytest

from aioprocket._system._native import Delivery, Reader
from aioprocket.packet import Packet

STRETCH = 64  # packets between looks at the clock


class Passive:
    """What a Reader hands over to where it may not go on, or finds nothing."""

    async def _receive_slowly(self, tried: bool, error: object) -> str:
        return f"slowly, tried={tried}, {error!r}"


def reader(*packets: Packet) -> Reader:
    waiting = list(packets)

    def receive(count: int) -> Sequence[Packet]:
        taken = waiting[:count]
        del waiting[:count]
        return taken

    return Reader(Delivery(), receive, 1)


def received(each: Reader) -> object:
    try:
        each.receive(Passive()).send(None)
    except StopIteration as stop:
        return bytes(stop.value) if isinstance(stop.value, Packet) else stop.value
    raise AssertionError("it waits")


@pytest.mark.parametrize(("most", "expected"), [(None, [64, 6]), (50, [50, 20])])
def test_a_batch_is_of_as_many_packets_as_are_asked_for_or_of_64(
    most: int | None, expected: list[int]
) -> None:
    each = reader(*(Packet(b"x") for _ in range(70)))
    each.turns = 1000
    batches = each.iterate_batches(Passive(), most)
    sizes = []

    for _ in expected:
        with pytest.raises(StopIteration) as stop:
            batches.__anext__().__await__().__next__()
        sizes.append(len(stop.value.value))

    assert sizes == expected


def test_without_a_turn_a_reader_is_free_for_as_many_packets_as_it_was_given() -> None:
    each = reader(*map(Packet, [b"one", b"two", b"three"]))
    each.turns = 2

    got = [received(each) for _ in range(3)]

    assert got[:2] == [b"one", b"two"]
    assert got[2] == "slowly, tried=False, None"
    assert not each.is_free()


def test_within_its_turn_a_reader_is_free_again_after_each_stretch() -> None:
    each = reader()
    each.turns = 0
    each.ends = time.monotonic_ns() + 3600 * 10**9

    assert each.is_free()
    assert each.turns == STRETCH


@pytest.mark.parametrize("since", [0, 1, 10**9])
def test_after_its_turn_a_reader_is_free_for_the_rest_of_a_stretch_only(since: int) -> None:
    each = reader(Packet(b"one"), Packet(b"two"))
    each.turns = 1
    each.ends = time.monotonic_ns() - since

    assert received(each) == b"one"
    assert received(each) == "slowly, tried=False, None"


def test_who_finds_nothing_says_that_it_has_looked() -> None:
    each = reader()
    each.turns = 1

    assert received(each) == "slowly, tried=True, None"


def test_what_the_attempt_raised_is_handed_on() -> None:
    def receive(count: int) -> Sequence[Packet]:
        raise OSError(100, "down")

    each = Reader(Delivery(), receive, 1)
    each.turns = 1

    assert received(each) == "slowly, tried=True, OSError(100, 'down')"
