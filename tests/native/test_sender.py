import array
import errno
import os
import re
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket._system._native import Packet, Receiver, Sender
from lab import traffic

ETH_P_LOCAL = 0x88B5
NOWHERE = bytes.fromhex("0200 0000 fefe")


@pytest.fixture
def datagrams() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sending end that is connected to a receiving one with room for some hundred packets."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        far.bind(("127.0.0.1", 0))
        near.connect(far.getsockname())
        yield near, far


@pytest.fixture
def unconnected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        far.bind(("127.0.0.1", 0))
        yield near, far


def arrived(far: socket.socket) -> list[bytes]:
    return [packet.data for packet in Receiver(far.fileno()).receive(10_000)]


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 300])
def test_all_items_are_sent_in_order_and_counted(
    datagrams: tuple[socket.socket, socket.socket], count: int
) -> None:
    near, far = datagrams
    sender = Sender(near.fileno())
    items = tuple(b"%d" % number for number in range(count))

    assert sender.send(items, 0, False) == count

    assert sender.failure == 0
    assert sender.packets == count
    assert sender.bytes == sum(map(len, items))
    assert arrived(far) == list(items)


@pytest.mark.parametrize("start", [0, 1, 2, 3, 1 << 40])
def test_sending_begins_at_start(
    datagrams: tuple[socket.socket, socket.socket], start: int
) -> None:
    near, far = datagrams
    items = (b"0", b"1", b"2")

    assert Sender(near.fileno()).send(items, start, False) == len(items[start:])

    assert arrived(far) == list(items[start:])


def test_whatever_has_bytes_is_sent(datagrams: tuple[socket.socket, socket.socket]) -> None:
    class Text(bytes):
        pass

    near, far = datagrams
    items = (
        b"bytes", bytearray(b"bytearray"), memoryview(b"_memoryview")[1:], Text(b"subclass"),
        array.array("B", b"array"), Packet(b"packet", ("127.0.0.1", 1)), b"", (b"pair", None),
    )  # fmt: skip

    assert Sender(near.fileno()).send(items, 0, False) == len(items)

    assert arrived(far) == [
        b"bytes", b"bytearray", b"memoryview", b"subclass", b"array", b"packet", b"", b"pair",
    ]  # fmt: skip


def test_objects_are_let_go_whatever_happens(
    datagrams: tuple[socket.socket, socket.socket],
) -> None:
    near, _ = datagrams
    sender = Sender(near.fileno())
    taken, large = bytes(bytearray(b"not interned")), bytes(100_000)
    room, view = bytearray(100), bytearray(100_000)
    before = [sys.getrefcount(each) for each in (taken, large)]

    for _ in range(10):
        assert sender.send((taken, room, large, view), 0, False) == 2
        assert sender.failure == errno.EMSGSIZE

    assert [sys.getrefcount(each) for each in (taken, large)] == before
    room.clear()  # BufferError while anybody has a view of it
    view.clear()


@pytest.mark.parametrize(
    "item",
    [
        "text", 1, None, object(), [b"x"], (), (b"x",), (b"x", None, None), ("text", None),
        memoryview(b"abcdef")[::2],
    ],
)  # fmt: skip
def test_what_is_no_packet_ends_the_batch_before_it(
    datagrams: tuple[socket.socket, socket.socket], item: Any
) -> None:
    near, far = datagrams
    sender = Sender(near.fileno())

    assert sender.send((b"0", b"1", item, b"3"), 0, False) == 2

    assert sender.failure == 0
    assert sender.packets == 2
    assert sender.send((item,), 0, False) == 0
    assert arrived(far) == [b"0", b"1"]


def test_the_first_that_the_kernel_refuses_ends_the_batch(
    datagrams: tuple[socket.socket, socket.socket],
) -> None:
    near, far = datagrams
    sender = Sender(near.fileno())
    items = (*(b"%d" % number for number in range(130)), bytes(100_000), b"after")

    assert sender.send(items, 0, False) == 130

    assert sender.failure == errno.EMSGSIZE
    assert sender.packets == 130
    assert sender.send(items, 130, False) == 0
    assert sender.failure == errno.EMSGSIZE
    assert sender.send(items, 131, False) == 1
    assert sender.failure == 0
    assert arrived(far) == [*items[:130], b"after"]


def test_a_full_buffer_ends_the_batch_without_waiting() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        sender = Sender(near.fileno())
        items = tuple(number.to_bytes(4, "big") + bytes(2000) for number in range(2000))

        taken = sender.send(items, 0, False)

        assert 0 < taken < 2000
        assert sender.failure == errno.EAGAIN
        assert sender.packets == taken
        assert sender.bytes == taken * 2004
        for number in range(taken):
            assert far.recv(3000) == items[number]
        assert sender.send(items, taken, False) > 0


def test_an_error_from_the_network_is_the_failure_of_the_next_send() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind(("127.0.0.1", 0))
            near.connect(nobody.getsockname())
        sender = Sender(near.fileno())

        assert sender.send((b"x",), 0, False) == 1
        assert sender.send((b"x",), 0, False) == 0
        assert sender.failure == errno.ECONNREFUSED
        assert sender.send((b"x",), 0, False) == 1


def test_each_goes_to_its_address() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.2", 0))
        to_one, to_other = one.getsockname(), other.getsockname()
        items = ((b"1", to_one), (b"2", to_other), (bytearray(b"3"), to_one))

        assert Sender(near.fileno()).send(items, 0, False) == 3

        assert arrived(one) == [b"1", b"3"]
        assert arrived(other) == [b"2"]


@pytest.mark.parametrize("form", [2, 3, 4])
def test_addresses_of_ipv6_have_two_to_four_parts(form: int) -> None:
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as far,
    ):
        far.bind(("::1", 0))

        assert Sender(near.fileno()).send(((b"x", far.getsockname()[:form]),), 0, False) == 1

        assert arrived(far) == [b"x"]


@pytest.mark.netns
@pytest.mark.parametrize("form", [2, 3, 4, 5])
def test_addresses_of_packet_sockets_name_an_interface(veth: tuple[str, str], form: int) -> None:
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as near,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as far,
    ):
        traffic.settle(veth)
        far.bind((veth[1], ETH_P_LOCAL))
        far.settimeout(5)
        address = (veth[0], ETH_P_LOCAL, 0, 0, NOWHERE)[:form]
        near.sendto(b"payload", address)
        frame = far.recv(100)

        assert Sender(near.fileno()).send(((b"payload", address),) * 2, 0, False) == 2

        # Where no station is named, the socket module sends what its memory happened to hold.
        station = bytes(6) if form < 5 else NOWHERE
        assert [far.recv(100), far.recv(100)] == [station + frame[6:]] * 2
        assert frame[12:] == ETH_P_LOCAL.to_bytes(2, "big") + b"payload"


@pytest.mark.netns
def test_an_interface_that_is_not_there_is_left_to_the_socket_module() -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as near:
        sender = Sender(near.fileno())

        for name in ("nowhere0", "n" * 16, "n" * 300, "", "lo\0"):
            assert sender.send(((bytes(60), (name, ETH_P_LOCAL)),), 0, False) == 0
            assert sender.failure == 0


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", b"127.0.0.1", 5, ("127.0.0.1",), ("127.0.0.1", 1, 2), ("localhost", 9),
        ("127.1", 9), ("", 9), ("127.0.0.1\0", 9), ("\ud800", 9), (b"127.0.0.1", 9), ("::1", 9),
        ("127.0.0.1", "9"), ("127.0.0.1", -1), ("127.0.0.1", 65536), ("127.0.0.1", 1 << 80),
        ["127.0.0.1", 9], (),
    ],
)  # fmt: skip
def test_an_address_that_is_not_plain_is_left_to_the_socket_module(
    unconnected: tuple[socket.socket, socket.socket], address: Any
) -> None:
    near, far = unconnected
    sender = Sender(near.fileno())

    assert sender.send(((b"x", far.getsockname()), (b"y", address)), 0, False) == 1

    assert sender.failure == 0
    assert arrived(far) == [b"x"]


def test_a_packet_goes_back_to_where_it_came_from(
    unconnected: tuple[socket.socket, socket.socket],
) -> None:
    near, far = unconnected
    near.bind(("127.0.0.1", 0))
    far.sendto(b"request", near.getsockname())
    (packet,) = Receiver(near.fileno()).receive(1)
    made = Packet(b"made", far.getsockname())
    sender = Sender(near.fileno())

    assert sender.send((packet, made, (packet, far.getsockname()), (made, None)), 0, True) == 4
    assert arrived(far) == [b"request", b"made", b"request", b"made"]

    assert sender.send((packet,), 0, False) == 0
    assert sender.failure == errno.EDESTADDRREQ
    assert sender.send((Packet(b"nowhere"),), 0, True) == 0
    assert sender.failure == errno.EDESTADDRREQ


def test_a_packet_of_another_family_is_left_to_the_socket_module(
    unconnected: tuple[socket.socket, socket.socket],
) -> None:
    near, _ = unconnected
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        six.bind(("::1", 0))
        six.sendto(b"x", six.getsockname())
        (packet,) = Receiver(six.fileno()).receive(1)
        sender = Sender(near.fileno())

        for other in (packet, Packet(b"x", ("::1", 9, 0, 0)), Packet(b"x", ("name", 9))):
            assert sender.send((other,), 0, True) == 0
            assert sender.failure == 0


def test_a_device_gets_one_write_for_each() -> None:
    reader, writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)  # a pipe of packets: pipe(2)
    try:
        sender = Sender(writer, socket=False)
        items = (b"one", bytearray(b"two"), Packet(b"three"), (b"no address", ("lo", 3)))

        assert sender.send(items, 0, False) == 3
        assert (sender.failure, sender.packets, sender.bytes) == (0, 3, 11)
        assert [os.read(reader, 100) for _ in range(3)] == [b"one", b"two", b"three"]

        taken = sender.send((b"x",) * 1000, 0, False)
        assert 0 < taken < 1000
        assert sender.failure == errno.EAGAIN
    finally:
        os.close(reader)
        os.close(writer)


def test_a_sender_needs_an_open_socket() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        Sender(-1)
    with open("/dev/null", "wb") as device, pytest.raises(OSError, match="non-socket"):
        Sender(device.fileno())


def test_send_wants_a_tuple_a_start_and_a_flag(
    datagrams: tuple[socket.socket, socket.socket],
) -> None:
    sender: Any = Sender(datagrams[0].fileno())

    for arguments in ((), ((b"x",),), ([b"x"], 0, False), (b"x", 0, False)):
        with pytest.raises(TypeError, match="a tuple or a batch, a start and a flag"):
            sender.send(*arguments)
    with pytest.raises(ValueError, match="at least 0, not -1"):
        sender.send((b"x",), -1, False)
    with pytest.raises(OverflowError):
        sender.send((b"x",), 1 << 90, False)
    with pytest.raises(TypeError):
        sender.send((b"x",), "0", False)


numbers = st.integers(-2, 1 << 17) | st.just(1 << 70) | st.booleans()
hosts = st.sampled_from(["127.0.0.1", "127.0.0.2", "0177.0.0.1", "127.0.0.1 ", "::1", "::", ""])
parts = hosts | numbers | st.none() | st.binary(max_size=9) | st.text(max_size=3)
addresses = (
    st.tuples(hosts, numbers)
    | st.tuples(hosts, numbers, numbers)
    | st.tuples(hosts, numbers, numbers, numbers)
    | st.lists(parts, max_size=6).map(tuple)
)


@given(st.sampled_from([socket.AF_INET, socket.AF_INET6]), addresses)
def test_every_address_that_is_taken_means_the_same_to_the_socket_module(
    family: socket.AddressFamily, address: Any
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as near:
        sender = Sender(near.fileno())
        sent = sender.send(((b"x", address),), 0, False)
        if sent:
            assert near.sendto(b"x", address) == 1
        elif sender.failure:
            with pytest.raises(OSError, match=re.escape(os.strerror(sender.failure))):
                near.sendto(b"x", address)


@given(st.lists(st.one_of(parts, st.tuples(parts, addresses), st.lists(parts)), max_size=20))
def test_no_item_does_harm(items: list[Any]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
        near.connect(("127.0.0.1", 9))
        sender = Sender(near.fileno())

        assert sender.send(tuple(items), 0, True) == sender.packets <= len(items)
