"""When a sweep lets answers gather before it sends on."""

import pytest

from aioprocket.pinger.pace import Gathering

DENSE = 1_000  # ns between two answers


def looked(found: int, in_flight: int, apart: int = DENSE) -> bool:
    """What is said at a look that found so many answers, so far apart."""
    gathering = Gathering()
    gathering.pays(0, 0, 1_000_000)
    return gathering.pays(found, in_flight, 1_000_000 + found * apart)


def test_few_answers_close_together_are_a_reason() -> None:
    assert looked(found=4, in_flight=100)


@pytest.mark.parametrize(
    ("found", "in_flight", "apart"),
    [(0, 100, DENSE), (32, 100, DENSE), (4, 63, DENSE), (4, 100, 8_001)],
    ids=["none", "many", "who answers has few left", "far apart"],
)
def test_others_are_none(found: int, in_flight: int, apart: int) -> None:
    assert not looked(found, in_flight, apart)


def test_nobody_waits_twice_in_a_row() -> None:
    gathering = Gathering()
    moments = range(1_000_000, 1_010_000, 1_000)
    gathering.pays(0, 0, moments[0])

    said = [gathering.pays(4, 100, moment) for moment in moments[1:]]

    assert said == [True, False] * 4 + [True]
