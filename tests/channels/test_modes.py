"""The read machine against a model: what Erlang/OTP 25 was seen to do, and packets by number."""

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aioprocket import Packet
from aioprocket.channels.modes import MAX_COUNT, Mode, ReadMachine

BUDGET = 8


def packets(first: int, count: int) -> list[Packet]:
    return [Packet(number.to_bytes(4, "big")) for number in range(first, first + count)]


def numbers(batch: list[Packet]) -> list[int]:
    return [int.from_bytes(packet.data, "big") for packet in batch]


def test_a_channel_starts_passive() -> None:
    machine = ReadMachine()

    assert machine.active is False
    assert machine.want(BUDGET) == 0


def test_true_delivers_without_end() -> None:
    machine = ReadMachine()

    assert machine.set(True) is False
    assert machine.want(BUDGET) == BUDGET
    assert machine.spend(BUDGET) is False
    assert machine.active is True


def test_true_is_not_one() -> None:
    endless, single = ReadMachine(), ReadMachine()
    endless.set(True)
    single.set(1)

    assert (endless.want(BUDGET), single.want(BUDGET)) == (BUDGET, 1)
    assert endless.active is True
    assert single.active == 1
    assert single.active is not True


def test_once_is_one_packet_and_no_passive() -> None:
    machine = ReadMachine()

    machine.set("once")

    assert (machine.active, machine.want(BUDGET)) == ("once", 1)
    assert machine.spend(1) is False
    assert not machine.active


def test_counts_add_up() -> None:
    machine = ReadMachine()

    machine.set(3)
    machine.set(4)

    assert machine.active == 7
    assert machine.want(BUDGET) == 7


def test_a_count_ends_with_passive() -> None:
    machine = ReadMachine()
    machine.set(2)

    assert machine.spend(1) is False
    assert machine.spend(1) is True
    assert machine.active is False


@pytest.mark.parametrize("count", [-100, -3])
def test_a_sum_of_zero_or_less_ends_with_passive(count: int) -> None:
    machine = ReadMachine()
    machine.set(3)

    assert machine.set(count) is True
    assert machine.active is False


def test_zero_when_passive_tells_passive_again() -> None:
    assert ReadMachine().set(0) is True


def test_a_sum_above_the_limit_changes_nothing() -> None:
    machine = ReadMachine()
    machine.set(MAX_COUNT)

    with pytest.raises(ValueError, match="32768 is above 32767"):
        machine.set(1)

    assert machine.active == MAX_COUNT == 32767


@pytest.mark.parametrize("mode", [True, False, "once"])
def test_other_modes_forget_the_count_without_passive(mode: Mode) -> None:
    machine = ReadMachine()
    machine.set(5)

    assert machine.set(mode) is False
    assert machine.active == mode
    machine.set(1)
    assert machine.active == 1


@pytest.mark.parametrize("mode", [None, "always", 1.0, b"once", [1]])
def test_anything_else_is_no_mode(mode: Any) -> None:
    machine = ReadMachine()
    machine.set(5)

    with pytest.raises(TypeError):
        machine.set(mode)

    assert machine.active == 5


def test_what_was_put_back_comes_first() -> None:
    machine = ReadMachine()
    machine.set(True)
    batch = machine.take(packets(0, 5), BUDGET)
    machine.put_back(batch[2:])

    assert machine.want(BUDGET) == BUDGET - 3
    assert numbers(machine.take(packets(5, 2), BUDGET)) == [2, 3, 4, 5, 6]


def test_a_backlog_counts_against_the_credit() -> None:
    machine = ReadMachine()
    machine.put_back(packets(0, 5))
    machine.set(3)

    assert machine.want(BUDGET) == 0
    assert numbers(machine.take([], BUDGET)) == [0, 1, 2]
    assert numbers(list(machine.backlog)) == [3, 4]


def test_forget_throws_away_the_backlog_and_tells_whoever_delivers() -> None:
    machine = ReadMachine()
    machine.put_back(packets(0, 5))

    assert numbers(machine.forget()) == [0, 1, 2, 3, 4]

    assert not machine.backlog
    assert machine.delivery.interrupted


class Modes(RuleBasedStateMachine):
    """A kernel that holds packets by number, a machine, and a model with one counter."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = ReadMachine()
        self.kernel: deque[int] = deque()
        self.arrived = 0
        self.delivered: list[int] = []
        self.passives = 0
        # The model: None is endless, else how many may still be delivered; and whether it tells.
        self.allowance: int | None = 0
        self.counting = False
        self.expected_passives = 0

    @rule(count=st.integers(1, 20))
    def arrive(self, count: int) -> None:
        self.kernel.extend(range(self.arrived, self.arrived + count))
        self.arrived += count

    @rule(mode=st.sampled_from([True, False, "once"]))
    def set_mode(self, mode: Mode) -> None:
        self.passives += self.machine.set(mode)
        self.allowance = {True: None, False: 0, "once": 1}[mode]
        self.counting = False

    @rule(count=st.integers(-40, 40) | st.sampled_from([32766, 32767, 32768]))
    def add(self, count: int) -> None:
        total = count + (self.allowance or 0 if self.counting else 0)
        if total > 32767:
            with pytest.raises(ValueError, match="above"):
                self.machine.set(count)
            return
        self.passives += self.machine.set(count)
        self.counting = total > 0
        self.allowance = max(0, total)
        self.expected_passives += total <= 0

    @rule(budget=st.integers(1, 64), broken_off_after=st.none() | st.integers(0, 10))
    def wake_up(self, budget: int, broken_off_after: int | None) -> None:
        want = self.machine.want(budget)
        fresh = [self.kernel.popleft() for _ in range(min(want, len(self.kernel)))]
        batch = self.machine.take([Packet(n.to_bytes(4, "big")) for n in fresh], budget)
        for done, packet in enumerate(batch):
            if done == broken_off_after:
                self.machine.put_back(batch[done:])
                break
            self.passives += self.machine.spend(1)
            self.delivered += numbers([packet])
            self._pay()

    @rule()
    def receive(self) -> None:
        if self.machine.active is not False:
            return
        if self.machine.backlog:
            self.delivered += numbers([self.machine.backlog.popleft()])
        elif self.kernel:
            self.delivered.append(self.kernel.popleft())

    def _pay(self) -> None:
        if self.allowance is not None:
            assert self.allowance > 0, "delivered beyond the credit"
            self.allowance -= 1
            if not self.allowance and self.counting:
                self.counting = False
                self.expected_passives += 1

    @initialize()
    def nothing_has_come(self) -> None:
        assert self.machine.active is False

    @invariant()
    def the_mode_is_the_models(self) -> None:
        active = self.machine.active
        if self.allowance is None:
            assert active is True
        elif self.counting:
            assert active == self.allowance
            assert type(active) is int
        else:
            assert active == ("once" if self.allowance else False)

    @invariant()
    def nothing_is_lost_and_nothing_overtakes(self) -> None:
        held = numbers(list(self.machine.backlog))
        assert self.delivered + held + list(self.kernel) == list(range(self.arrived))

    @invariant()
    def passive_is_told_as_often_as_a_count_ends(self) -> None:
        assert self.passives == self.expected_passives


TestModes = Modes.TestCase
TestModes.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(1, 64), max_size=20), st.integers(1, 200))
def test_a_count_delivers_exactly_that_many(budgets: list[int], count: int) -> None:
    machine = ReadMachine()
    machine.set(count)
    delivered = 0

    for budget in [*budgets, *[64] * 4]:
        batch = machine.take(packets(delivered, machine.want(budget)), budget)
        machine.spend(len(batch))
        delivered += len(batch)

    assert delivered == count
    assert machine.active is False
