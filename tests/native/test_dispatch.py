import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aioprocket._system._native import Backlog, Delivery, Packet, Receiver

WITHOUT_END = -1
LONG = 60_000_000_000  # ns


class Line:
    """A receiver at one end of a pair of sockets, and what a dispatch of it calls."""

    def __init__(self, kind: socket.SocketKind) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, kind)
        self.receiver = Receiver(self.near.fileno())
        self.delivery = Delivery()
        self.delivery.credit = WITHOUT_END
        self.got: list[int] = []
        self.on_packet: Callable[[int], None] = lambda number: None

    def send(self, *numbers: int) -> None:
        for each in numbers:
            self.far.send(each.to_bytes(2, "big"))

    def callback(self, packet: Packet) -> None:
        number = int.from_bytes(packet.data, "big")
        self.got.append(number)
        self.on_packet(number)

    def dispatch(self, budget: int = 64, nanoseconds: int = LONG) -> None:
        self.receiver.dispatch(self.delivery, self.callback, budget, False, nanoseconds)

    def held(self) -> list[int]:
        return [int.from_bytes(packet.data, "big") for packet in self.delivery.backlog]


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line(socket.SOCK_DGRAM)
    with line.near, line.far:
        yield line


def test_packets_are_called_back_in_order_up_to_the_budget(line: Line) -> None:
    line.send(*range(8))

    line.dispatch(5)
    assert line.got == [0, 1, 2, 3, 4]
    line.dispatch()

    assert line.got == list(range(8))
    assert line.receiver.packets == 8
    assert line.held() == []


def test_nothing_is_read_beyond_the_credit(line: Line) -> None:
    line.send(*range(8))
    line.delivery.credit = 3

    line.dispatch()
    line.dispatch()

    assert line.got == [0, 1, 2]
    assert line.delivery.credit == 0
    assert line.receiver.packets == 3


def test_the_credit_is_paid_before_the_call(line: Line) -> None:
    line.send(0, 1)
    line.delivery.credit = 2
    credits: list[int] = []
    line.on_packet = lambda number: credits.append(line.delivery.credit)

    line.dispatch()

    assert credits == [1, 0]


def test_an_interrupt_puts_the_rest_into_the_backlog_at_once(line: Line) -> None:
    line.send(*range(8))
    held: list[list[int]] = []

    def interrupt(number: int) -> None:
        if number == 2:
            line.delivery.interrupt()
            held.append(line.held())

    line.on_packet = interrupt
    line.dispatch()

    assert line.got == [0, 1, 2]
    assert held == [[3, 4, 5, 6, 7]]
    assert line.delivery.interrupted
    line.dispatch()
    assert line.got == list(range(8))
    assert not line.delivery.interrupted


def test_the_backlog_comes_before_the_kernel(line: Line) -> None:
    line.delivery.backlog.extend([Packet(number.to_bytes(2, "big")) for number in (7, 8)])
    line.send(9)

    line.dispatch(2)
    assert line.receiver.packets == 0
    line.dispatch()

    assert line.got == [7, 8, 9]


def test_what_the_callback_raises_ends_it_and_loses_nothing(line: Line) -> None:
    line.send(*range(5))

    def fail(number: int) -> None:
        if number == 1:
            raise OSError(errno.EIO, "from the callback")

    line.on_packet = fail
    with pytest.raises(OSError, match="from the callback"):
        line.dispatch()

    assert line.delivery.calling
    assert line.held() == [2, 3, 4]
    line.dispatch()
    assert line.got == list(range(5))
    assert not line.delivery.calling


def test_when_the_time_is_over_the_rest_is_kept(line: Line) -> None:
    line.send(*range(5))

    line.dispatch(nanoseconds=0)

    assert line.got == []
    assert line.receiver.packets + len(line.held()) <= 5
    line.dispatch()
    assert line.got == list(range(5))


def test_an_error_after_packets_is_the_next_calls() -> None:
    line = Line(socket.SOCK_SEQPACKET)
    with line.near:
        line.send(0, 1)
        line.far.close()

        line.dispatch()
        assert line.got == [0, 1]
        with pytest.raises(EOFError):
            line.dispatch()
        assert not line.delivery.calling


def test_the_systems_errors_are_not_the_callbacks(line: Line) -> None:
    descriptor = os.dup(line.near.fileno())
    receiver = Receiver(descriptor)
    os.close(descriptor)

    with pytest.raises(OSError, match="Bad file descriptor"):
        receiver.dispatch(line.delivery, line.callback, 64, False, LONG)
    assert not line.delivery.calling


def test_a_dispatch_within_a_dispatch_is_refused(line: Line) -> None:
    line.send(0)
    refused: list[str] = []

    def again(number: int) -> None:
        with pytest.raises(RuntimeError) as raised:
            line.dispatch()
        refused.append(str(raised.value))

    line.on_packet = again
    line.dispatch()

    assert refused == ["within a dispatch"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_datagrams_come_as_recvfrom_gives_them(family: int, tmp_path: Any) -> None:
    host = {int(socket.AF_INET): "127.0.0.1", int(socket.AF_INET6): "::1"}.get(family, "")
    with (
        socket.socket(family, socket.SOCK_DGRAM) as near,
        socket.socket(family, socket.SOCK_DGRAM) as far,
        socket.socket(family, socket.SOCK_DGRAM) as other,
    ):
        for index, sock in enumerate((near, far, other)):
            sock.bind((host, 0) if host else str(tmp_path / str(index)))
        for sender in (far, other, far):
            sender.sendto(b"hello", near.getsockname())
        got: list[tuple[bytes, Any]] = []
        delivery = Delivery()
        delivery.credit = WITHOUT_END

        Receiver(near.fileno()).dispatch(
            delivery, lambda data, addr: got.append((data, addr)), 64, True, LONG
        )

        assert got == [(b"hello", sock.getsockname()) for sock in (far, other, far)]


def test_descriptors_that_nobody_sees_are_closed(line: Line) -> None:
    reading, writing = os.pipe()
    socket.send_fds(line.far, [b"x"], [writing])
    os.close(writing)
    got: list[bytes] = []

    line.receiver.dispatch(line.delivery, lambda data, addr: got.append(data), 64, True, LONG)

    assert got == [b"x"]
    assert os.read(reading, 1) == b""  # the end: nobody has the other side
    os.close(reading)


def test_a_cut_datagram_is_counted(line: Line) -> None:
    receiver = Receiver(line.near.fileno(), size=3)
    line.far.send(b"hello")
    got: list[bytes] = []

    receiver.dispatch(line.delivery, lambda data, addr: got.append(data), 64, True, LONG)

    assert got == [b"hel"]
    assert (receiver.bytes, receiver.truncated) == (3, 1)


class Deliveries(RuleBasedStateMachine):
    """Whatever a callback does in the midst, packets are called back in order, and paid for."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line(socket.SOCK_DGRAM)
        self.sent = 0

    def teardown(self) -> None:
        self.line.near.close()
        self.line.far.close()

    @rule(count=st.integers(1, 5))
    def arrive(self, count: int) -> None:
        self.line.far.setblocking(False)
        for _ in range(count):
            with contextlib.suppress(BlockingIOError):  # ten wait, if nobody receives
                self.line.send(self.sent)
                self.sent += 1

    @rule(credit=st.integers(-1, 10))
    def set_credit(self, credit: int) -> None:
        self.line.delivery.credit = credit
        self.line.delivery.interrupt()

    @rule(
        budget=st.integers(1, 20),
        after=st.integers(0, 10),
        what=st.sampled_from(["nothing", "interrupt", "raise", "credit", "take"]),
    )
    def dispatch(self, budget: int, after: int, what: str) -> None:
        line, delivery = self.line, self.line.delivery
        began, credit = len(line.got), delivery.credit
        taken = 0

        def meddle(number: int) -> None:
            nonlocal taken
            if len(line.got) - began - taken != after:
                return
            if what == "interrupt":
                delivery.interrupt()
            elif what == "raise":
                raise ZeroDivisionError
            elif what == "credit":
                delivery.credit = 0
            elif what == "take":
                delivery.interrupt()
                line.got += line.held()
                taken = len(delivery.backlog)
                delivery.backlog.clear()

        line.on_packet = meddle
        with contextlib.suppress(ZeroDivisionError):
            line.dispatch(budget)
        delivered = len(line.got) - began - taken
        assert delivered <= budget
        if credit >= 0:
            assert delivered <= credit
            assert delivery.credit in (credit - delivered, 0)

    @invariant()
    def nothing_is_lost_and_nothing_overtakes(self) -> None:
        line = self.line
        seen = line.got + line.held()
        assert seen == list(range(len(seen)))
        assert line.receiver.packets == len(seen)


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


# The backlog


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["extend", "put_back", "take", "popleft", "clear"]), st.integers(0, 100)
        )
    )
)
@settings(deadline=None)
def test_a_backlog_is_a_deque(steps: list[tuple[str, int]]) -> None:
    backlog, model, made = Backlog(), list[Packet](), 0
    for step, count in steps:
        packets = [Packet((made + index).to_bytes(4, "big")) for index in range(count)]
        made += count
        if step == "extend":
            backlog.extend(packets)
            model = model + packets
        elif step == "put_back":
            backlog.put_back(packets)
            model = packets + model
        elif step == "take":
            assert backlog.take(count) == model[:count]
            model = model[count:]
        elif step == "popleft" and model:
            assert backlog.popleft() is model.pop(0)
        elif step == "clear":
            backlog.clear()
            model = []
        assert list(backlog) == model
        assert len(backlog) == len(model)


def test_an_empty_backlog_has_nothing_to_give() -> None:
    with pytest.raises(IndexError):
        Backlog().popleft()
    with pytest.raises(IndexError):
        Backlog()[0]
