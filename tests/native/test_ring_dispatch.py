"""Callbacks out of full blocks: whatever is callable is called, with the same for each packet."""

import gc
import mmap
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import MethodType
from typing import Any

import pytest

from aioprocket._system._native import Delivery, Packet
from aioprocket._system.ring import Geometry
from native.test_ring import Line, line, number

pytestmark = pytest.mark.netns

# A block is over when it is full, with some 100 packets, and for no other reason.
FULL = Geometry(block_size=4 * mmap.PAGESIZE, blocks=8, retire_ms=600_000)
SENT = 350
LONG = 10**12


class Taker:
    """Takes what it is called with, and fails where it is to."""

    def __init__(self) -> None:
        self.taken: list[tuple[Any, ...]] = []
        self.fails_at = -1

    def take(self, *arguments: Any) -> None:
        if len(self.taken) == self.fails_at:
            self.fails_at = -1
            raise LookupError("it was to")
        self.taken.append(arguments)

    def __call__(self, first: object, *arguments: Any) -> None:
        assert first is self
        self.taken.append(arguments)


def _as_function(taker: Taker) -> Callable[..., object]:
    return lambda *arguments: taker.take(*arguments)


CALLBACKS: dict[str, Callable[[Taker], Callable[..., object]]] = {
    "bound method": lambda taker: taker.take,
    "function": _as_function,
    "partial": lambda taker: partial(taker.take),
    "method of a callable": lambda taker: MethodType(taker, taker),
    "method of a method": lambda taker: MethodType(MethodType(Taker.take, taker), 7),
}


def _dispatch(wire: Line, callback: Callable[..., object], datagrams: bool) -> None:
    delivery = Delivery()
    delivery.credit = -1
    wire.ring.dispatch(delivery, callback, 0, datagrams, LONG)


@pytest.mark.parametrize("datagrams", [False, True], ids=["packets", "datagrams"])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_whatever_is_callable_gets_each_packet(
    veth: tuple[str, str], callback: str, datagrams: bool
) -> None:
    taker = Taker()
    with line(veth, FULL) as wire:
        wire.send(SENT)
        wire.wait()
        _dispatch(wire, CALLBACKS[callback](taker), datagrams)

    first = 1 if callback == "method of a method" else 0
    taken = [arguments[first:] for arguments in taker.taken]
    assert len(taken) >= 128  # of two blocks and more
    assert [number(each[0]) for each in taken] == list(range(len(taken)))
    assert {len(each) for each in taken} == {2 if datagrams else 1}
    assert {type(each[0]) for each in taken} == {bytes if datagrams else Packet}


def test_an_error_in_a_method_comes_through_and_the_rest_after_it(veth: tuple[str, str]) -> None:
    taker = Taker()
    taker.fails_at = 70
    with line(veth, FULL) as wire:
        wire.send(SENT)
        wire.wait()
        with pytest.raises(LookupError):
            _dispatch(wire, taker.take, False)
        assert len(taker.taken) == 70
        _dispatch(wire, taker.take, False)

    numbers = [number(packet) for (packet,) in taker.taken]
    assert numbers == [each for each in range(len(numbers) + 1) if each != 70]


def test_what_is_called_is_let_go(veth: tuple[str, str]) -> None:
    taker = Taker()
    gc.collect()
    before = sys.getrefcount(taker), sys.getrefcount(Taker.take)
    with line(veth, FULL) as wire:
        for fails_at in (-1, 10):
            taker.taken.clear()
            taker.fails_at = fails_at
            wire.send(SENT)
            wire.wait()
            with suppress(LookupError):
                _dispatch(wire, taker.take, False)
            assert len(taker.taken) >= 10
    assert (sys.getrefcount(taker), sys.getrefcount(Taker.take)) == before
