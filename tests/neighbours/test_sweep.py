"""The state of a search alone, its clock an argument; and whose a hardware address is."""

import itertools
import sys

import pytest

from aioprocket import MissingLibraryError, WireError, vendor
from aioprocket.neighbours.sweep import Sweep


def asked(sweep: Sweep[int], now: float) -> list[int]:
    return list(iter(lambda: sweep.ask(now), None))


def test_without_a_rate_everybody_is_asked_at_once() -> None:
    sweep = Sweep([1, 2, 3], rate=None, timeout=1.0, retries=0)

    assert asked(sweep, 0.0) == [1, 2, 3]
    assert (sweep.sent, sweep.done, sweep.wakes_at()) == (3, False, 1.0)


def test_a_rate_is_kept_and_a_pause_is_not_made_up_for() -> None:
    sweep = Sweep(itertools.count(), rate=10, timeout=1.0, retries=0)

    assert asked(sweep, 0.0) == [0]
    assert asked(sweep, 0.05) == []
    assert sweep.wakes_at() == pytest.approx(0.1)
    assert asked(sweep, 0.1) == [1]
    assert len(asked(sweep, 50.0)) == 2


def test_who_does_not_answer_is_asked_again_as_often_as_was_said() -> None:
    sweep = Sweep([1, 2], rate=None, timeout=1.0, retries=2)
    asked(sweep, 0.0)
    sweep.answered(1)

    assert asked(sweep, 0.9) == []
    assert asked(sweep, 1.0) == [2]
    assert sweep.asked_at(2) == 1.0
    assert asked(sweep, 2.0) == [2]
    assert not sweep.done
    assert asked(sweep, 3.0) == []
    assert sweep.done
    assert sweep.sent == 4
    assert sweep.asked_at(2) is None


def test_all_who_answer_end_it_at_once() -> None:
    sweep = Sweep([1], rate=None, timeout=1.0, retries=5)
    asked(sweep, 0.0)
    sweep.answered(1)
    sweep.answered(77)

    assert asked(sweep, 0.0) == []
    assert sweep.done


def test_a_vendor_has_bought_its_addresses() -> None:
    # https://standards-oui.ieee.org: 00:00:0C is Cisco's first.
    assert "cisco" in (vendor("00:00:0c:12:34:56") or "").lower()


def test_an_address_that_was_chosen_has_no_vendor() -> None:
    assert vendor("02:00:00:00:00:01") is None
    assert vendor("00:ff:ff:ff:ff:ff") is None
    with pytest.raises(WireError):
        vendor("nonsense")


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "netaddr", None)

    with pytest.raises(MissingLibraryError) as caught:
        vendor("00:00:0c:12:34:56")

    assert isinstance(caught.value, ImportError)
    assert caught.value.name == "netaddr"
    assert "pip install netaddr" in caught.value.hint
