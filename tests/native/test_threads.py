"""Threads that use one object at the same time, against the rules.

Errors may be raised, and whoever comes first is served first. But nothing crashes, nothing is lost
and nothing comes twice, also where there is no GIL.
"""

import contextvars
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from aioprocket._system._native import (
    Backlog,
    Batch,
    Delivery,
    EchoGroup,
    EchoTable,
    EchoWatch,
    Gatherer,
    Packet,
    Reader,
    Receiver,
    Sender,
    Waiter,
    read_block,
)
from native.blocks import Frame, block

THREADS = 4
ROUNDS = 400


def at_once(*works: Callable[[], object]) -> list[Any]:
    """What each returns: in threads that begin together, one for each."""
    start = threading.Barrier(len(works))

    def begin(work: Callable[[], object]) -> object:
        start.wait(30)
        return work()

    with ThreadPoolExecutor(len(works)) as threads:
        return [done.result(50) for done in [threads.submit(begin, work) for work in works]]


def again(work: Callable[[], object], rounds: int = ROUNDS) -> Callable[[], None]:
    def run() -> None:
        for _ in range(rounds):
            work()

    return run


def numbers(packets: list[Packet]) -> list[int]:
    return sorted(int.from_bytes(packet.data, "big") for packet in packets)


@contextmanager
def joined() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with left, right:
        yield left, right


def test_what_goes_through_a_backlog_comes_out_once() -> None:
    backlog = Backlog()
    count = itertools.count()
    taken: list[Packet] = []

    def put() -> None:
        backlog.extend([Packet(next(count).to_bytes(4, "big")) for _ in range(3)])
        backlog.put_back([Packet(next(count).to_bytes(4, "big"))])

    def take() -> None:
        with suppress(IndexError):
            taken.append(backlog.popleft())
        taken.extend(backlog.take(2))
        with suppress(IndexError):
            bytes(backlog[0])

    at_once(again(put), again(put), again(take), again(take))
    taken.extend(backlog.take(ROUNDS * THREADS * 4))

    assert numbers(taken) == list(range(ROUNDS * 2 * 4))


def test_each_packet_of_a_socket_is_received_once() -> None:
    taken: list[Packet] = []
    with joined() as (near, far):
        receiver, delivery = Receiver(far.fileno()), Delivery()
        delivery.credit = -1
        sent = threading.Event()

        def send() -> None:
            number = 0
            while number < 2000:
                with suppress(BlockingIOError):
                    near.send(number.to_bytes(4, "big"))
                    number += 1
            sent.set()

        def receive() -> None:
            over = False
            while not over:
                over = sent.is_set()
                while packets := receiver.receive(7):
                    taken.extend(packets)

        def dispatch() -> None:
            over = False
            while not over:
                over = sent.is_set()
                with suppress(RuntimeError):  # within a dispatch
                    receiver.dispatch(delivery, taken.append, 64, False, 1_000_000)

        def interrupt() -> None:
            while not sent.is_set():
                delivery.interrupt()

        at_once(send, receive, receive, dispatch, dispatch, interrupt)
        receiver.dispatch(delivery, taken.append, 5000, False, 50_000_000)

    assert numbers(taken) == list(range(2000))


def test_a_receiver_that_is_closed_meanwhile_says_so() -> None:
    for _ in range(50):
        with joined() as (near, far):
            receiver = Receiver(far.fileno())
            near.send(b"x")

            def receive(receiver: Receiver = receiver) -> None:
                with suppress(OSError):
                    receiver.receive(4)

            at_once(receive, receiver.close, receive)


def test_batches_show_all_threads_the_same() -> None:
    frames = [Frame(bytes([each]) * 60, vlan_tci=each) for each in range(30)]
    for _ in range(ROUNDS // 10):
        of_block = read_block(block(frames))
        of_list = Batch(list(of_block))

        def look(of_block: Batch = of_block, of_list: Batch = of_list) -> list[object]:
            return [
                shown
                for batch in (of_block, of_list)
                for shown in (
                    batch.timestamps_ns.tolist(),
                    batch.lens.tolist(),
                    batch.wire_lens.tolist(),
                    batch.vlan_tcis.tolist(),
                    bytes(batch.field(3, 2)),
                    [packet.data for packet in batch],
                    [packet.addr for packet in batch],
                    len(bytes(batch.buffer)),
                )
            ]

        looked = at_once(*[look] * THREADS)
        assert all(each == looked[0] for each in looked)


def test_one_iterator_of_a_batch_gives_each_packet_once() -> None:
    frames = [Frame(each.to_bytes(4, "big")) for each in range(200)]
    for _ in range(ROUNDS // 20):
        batch = read_block(block(frames))
        packets = iter(batch)
        taken = at_once(*[lambda packets=packets: list(packets)] * THREADS)

        assert numbers([packet for each in taken for packet in each]) == list(range(200))


def test_packets_of_different_batches_differ() -> None:
    data = block([Frame(b"x" * 20)] * 5)
    made = at_once(*[lambda: [read_block(data) for _ in range(ROUNDS)]] * THREADS)
    packets = [packet for batches in made for batch in batches for packet in batch]

    assert len(set(packets)) == THREADS * ROUNDS * 5


def test_what_is_gathered_is_sent_once() -> None:
    with joined() as (near, _):
        gatherer = Gatherer(Sender(near.fileno()), lambda data, addr: None)
        gatherer.open = True
        count = itertools.count()
        given: list[bytes] = []
        taken: list[bytes] = []

        def gather() -> None:
            data = next(count).to_bytes(4, "big")
            if gatherer.gather(data, None):
                given.append(data)

        def take() -> None:
            taken.extend(data for data, _ in gatherer.take()[0])

        at_once(again(gather), again(gather), again(take), again(take))
        take()

    assert sorted(taken) == sorted(given)


def test_who_waits_goes_on_once() -> None:
    for _ in range(ROUNDS):
        waiter = Waiter(lambda: None)
        called: list[object] = []
        context = contextvars.copy_context()
        waiter.add_done_callback(called.append, context=context)

        def go_on(waiter: Waiter = waiter, called: list[object] = called) -> None:
            step = waiter.take_step()
            if step is not None:
                called.append(step)

        at_once(waiter.fire, go_on, waiter.fire, go_on)
        assert len(called) == 1
        waiter.leave()


def test_a_coroutine_is_of_one_thread() -> None:
    class Channel:
        async def _receive_slowly(self, tried: bool, error: object) -> str:
            return "slowly"

    waiting = [Packet(b"one")]

    def receive(count: int) -> list[Packet]:
        return [waiting.pop()] if waiting else []

    for _ in range(ROUNDS // 4):
        waiting[:] = [Packet(b"one")]
        reader = Reader(Delivery(), receive, 1)
        reader.turns = 10
        coroutine = reader.receive(Channel())

        def step(coroutine: Any = coroutine) -> str:
            try:
                coroutine.send(None)
            except StopIteration as stop:
                return bytes(stop.value).decode() if isinstance(stop.value, Packet) else "slowly"
            except RuntimeError:
                return "it is over"
            raise AssertionError("it waits")

        assert sorted(at_once(step, step, step)) == ["it is over", "it is over", "one"]


def test_probes_of_one_table_have_one_end_each() -> None:
    table = EchoTable(4, 77, b"k" * 16)
    group = EchoGroup(16, b"", 1)
    watch = EchoWatch(("", bytes([127, 0, 0, 1]), 0), 10)
    target = ("there", bytes([127, 0, 0, 1]), 0)
    ends: list[object] = []
    built: list[int] = []

    def build() -> None:
        for item in (target, watch):
            made = table.build(group, item, 0, 1, 1)
            if made is not None:
                built.append(made[0])

    def expire() -> None:
        table.expire(group, 10)
        ends.extend(group.take())
        table.deadline(group)
        watch.rtts()
        table.take_odd()

    at_once(again(build), again(build), again(expire), again(expire))
    expire()

    assert len(set(built)) == len(built) > 0
    assert len(ends) == len(built)
    assert table.in_flight == 0
