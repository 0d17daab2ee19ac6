import socket
import struct
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioprocket._system._native import Backlog, Delivery, Gatherer, Packet, Receiver, Sender
from lab.must import unavailable
from lab.udp import UDP_GRO, UDP_SEGMENT, numbered, receive_in_one, send_in_one, settled

UDP_LITE = 136  # linux/in.h
SO_NO_CHECK = 11  # asm-generic/socket.h

Pair = tuple[socket.socket, socket.socket]


def udp_pair(family: int = socket.AF_INET, protocol: int = 0) -> Pair:
    """Who receives, and who is connected to it."""
    near = settled(socket.socket(family, socket.SOCK_DGRAM, protocol))
    far = settled(socket.socket(family, socket.SOCK_DGRAM, protocol))
    near.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    far.connect(near.getsockname())
    return near, far


@pytest.fixture
def ends() -> Iterator[Pair]:
    near, far = udp_pair()
    near.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    with near, far:
        yield near, far


def receiver_of(sock: socket.socket) -> tuple[Receiver, Delivery]:
    receiver, delivery = Receiver(sock.fileno()), Delivery()
    receiver.rest = delivery.backlog
    return receiver, delivery


def data(packets: Sequence[Packet]) -> list[bytes]:
    return [packet.data for packet in packets]


# ---------------------------------------------------------------------- receiving


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 64, 1000])
def test_datagrams_that_came_in_one_are_apart(ends: Pair, count: int) -> None:
    near, far = ends
    sent = [*numbered(0, 19, 100), b"a shorter end"]
    send_in_one(far, sent)
    receiver, delivery = receiver_of(near)

    packets = receiver.receive(count)

    assert data(packets) == sent[:count]
    assert data(list(delivery.backlog)) == sent[count:]
    assert (receiver.packets, receiver.bytes) == (20, 19 * 100 + 13)
    assert receiver.truncated == 0
    for packet in [*packets, *delivery.backlog]:
        assert packet.addr == far.getsockname()
        assert packet.wire_len == len(packet)
        assert not packet.truncated
        assert packet.ancdata == ()


def test_without_a_place_for_the_rest_they_stay_together(ends: Pair) -> None:
    near, far = ends
    send_in_one(far, numbered(0, 3))
    receiver = Receiver(near.fileno())

    (packet,) = receiver.receive(64)

    assert receiver.rest is None
    assert packet.data == b"".join(numbered(0, 3))
    assert packet.ancdata == ((socket.IPPROTO_UDP, UDP_GRO, struct.pack("=i", 8)),)


def test_other_messages_stay_with_each_of_them(ends: Pair) -> None:
    near, far = ends
    ttl = (socket.IPPROTO_IP, socket.IP_TTL, struct.pack("=i", 64))
    near.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL: linux/in.h
    near.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS: asm-generic/socket.h
    send_in_one(far, numbered(0, 3))
    receiver, _ = receiver_of(near)

    packets = receiver.receive(64)

    assert [packet.ancdata for packet in packets] == [(ttl,)] * 3
    assert len({packet.timestamp_ns for packet in packets}) == 1
    assert packets[0].timestamp_ns > 0


@pytest.mark.parametrize("datagrams", [True, False], ids=["datagrams", "packets"])
@pytest.mark.parametrize("credit", [-1, 1, 5, 20, 23])
def test_a_dispatch_pays_for_each(ends: Pair, credit: int, datagrams: bool) -> None:
    near, far = ends
    sent = numbered(0, 23)
    send_in_one(far, sent[:20])
    for each in sent[20:]:
        far.send(each)
    receiver, delivery = receiver_of(near)
    delivery.credit = credit
    got: list[bytes] = []

    def called(*arguments: object) -> None:
        first = arguments[0]
        got.append(first if isinstance(first, bytes) else first.data)  # type: ignore[attr-defined]

    receiver.dispatch(delivery, called, 1000, datagrams, 10**12)

    allowed = 23 if credit < 0 else credit
    assert got == sent[:allowed]
    delivery.credit = -1
    receiver.dispatch(delivery, called, 1000, datagrams, 10**12)
    assert got == sent
    assert receiver.packets == 23


def test_an_interrupted_dispatch_leaves_the_others_in_order(ends: Pair) -> None:
    near, far = ends
    send_in_one(far, numbered(0, 10))
    send_in_one(far, numbered(10, 10))
    receiver, delivery = receiver_of(near)
    delivery.credit = -1
    got: list[bytes] = []

    def called(packet: Packet) -> None:
        got.append(packet.data)
        if len(got) == 3:
            delivery.interrupt()
            assert data(list(delivery.backlog)) == numbered(3, 17)
        if len(got) == 15:
            raise LookupError

    receiver.dispatch(delivery, called, 1000, False, 10**12)
    assert got == numbered(0, 3)
    with pytest.raises(LookupError):
        receiver.dispatch(delivery, called, 1000, False, 10**12)
    assert data(list(delivery.backlog)) == numbered(15, 5)


def test_packets_stay_what_they_are_when_others_come(ends: Pair) -> None:
    near, far = ends
    receiver, _ = receiver_of(near)
    kept: list[Packet] = []
    for number in range(50):
        send_in_one(far, numbered(number * 10, 10, 1000))
        kept += receiver.receive(10)

    assert data(kept) == numbered(0, 500, 1000)


def test_a_list_ends_before_a_message_that_would_not_fit(ends: Pair) -> None:
    near, far = ends
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    for number in range(5):
        send_in_one(far, numbered(number * 40, 40))
    receiver, delivery = receiver_of(near)
    sizes = []
    while packets := receiver.receive(64):
        packets += delivery.backlog.take(1000)
        sizes.append(len(packets))

    assert sum(sizes) == 200
    assert sizes[1:] == [40] * len(sizes[1:])  # the first is a guess


@pytest.mark.parametrize("wrong", [None, [], 5])
def test_the_rest_waits_in_a_backlog(ends: Pair, wrong: object) -> None:
    receiver = Receiver(ends[0].fileno())

    with pytest.raises(TypeError, match="Backlog"):
        receiver.rest = wrong  # type: ignore[assignment]


def test_slots_that_are_too_small_are_refused(ends: Pair) -> None:
    receiver = Receiver(ends[0].fileno(), size=2048)

    with pytest.raises(ValueError, match="need a size of 65535"):
        receiver.rest = Delivery().backlog


def test_a_receiver_keeps_its_backlog_alive(ends: Pair) -> None:
    receiver, _ = receiver_of(ends[0])
    send_in_one(ends[1], numbered(0, 10))

    assert len(receiver.receive(1)) == 1
    assert isinstance(receiver.rest, Backlog)
    assert len(receiver.rest) == 9


# ---------------------------------------------------------------------- sending


def drained(sock: socket.socket) -> list[bytes]:
    sock.setblocking(False)
    found = []
    while True:
        try:
            found.append(sock.recv(70_000))
        except BlockingIOError:
            return found


def test_datagrams_of_one_size_go_in_one(ends: Pair) -> None:
    near, far = ends
    sent = (*numbered(0, 10, 600), b"x" * 599)
    sender = Sender(far.fileno(), segments=True)

    assert sender.send(sent, 0, False) == 11
    assert (sender.packets, sender.bytes, sender.failure) == (11, 6599, 0)
    assert receive_in_one(near) == (b"".join(sent), 600)


@pytest.mark.parametrize(
    ("sizes", "messages"),
    [
        ([100, 100, 50, 50], [[100, 100, 50], [50]]),
        ([50, 100, 100], [[50], [100, 100]]),
        ([0, 100, 100, 0, 100], [[0], [100, 100], [0], [100]]),
        ([100] * 20, [[100] * 16, [100] * 4]),
        ([1000] * 70, [[1000] * 64, [1000] * 6]),
        ([9000] * 9, [[9000] * 7, [9000] * 2]),
        ([65507, 65507, 1], [[65507], [65507], [1]]),
        ([32753, 32754], [[32753], [32754]]),
        ([32754, 32646, 1], [[32754, 32646], [1]]),
        ([32754, 32647, 1], [[32754], [32647, 1]]),
    ],
)
def test_what_goes_together(ends: Pair, sizes: list[int], messages: list[list[int]]) -> None:
    near, far = ends
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sent = tuple(bytes([number % 251]) * size for number, size in enumerate(sizes))
    sender = Sender(far.fileno(), segments=True)

    assert sender.send(sent, 0, False) == len(sizes)

    rest = iter(sent)
    for expected in messages:
        together = [next(rest) for _ in expected]
        assert receive_in_one(near) == (
            b"".join(together),
            expected[0] if len(expected) > 1 else 0,
        )


def test_each_goes_to_its_own_address() -> None:
    ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    with ends[0], ends[1], ends[2], socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        for end in ends:
            end.bind(("127.0.0.1", 0))
            settled(end).setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        whose = [0, 0, 1, 1, 0, 2, 2, 2]
        items = tuple(
            (number, ends[which].getsockname())
            for number, which in zip(numbered(0, 8), whose, strict=True)
        )

        assert Sender(far.fileno(), segments=True).send(items, 0, False) == 8

        assert receive_in_one(ends[0]) == (b"".join(numbered(0, 2)), 8)
        assert receive_in_one(ends[0]) == (numbered(4, 1)[0], 0)
        assert receive_in_one(ends[1]) == (b"".join(numbered(2, 2)), 8)
        assert receive_in_one(ends[2]) == (b"".join(numbered(5, 3)), 8)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
@given(sizes=st.lists(st.one_of(st.integers(0, 64), st.sampled_from([0, 1, 1200])), max_size=90))
def test_what_arrives_is_what_was_sent(family: int, sizes: list[int]) -> None:
    near, far = udp_pair(family)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with near, far:
        sent = tuple(bytes([number]) * size for number, size in enumerate(sizes))
        sender = Sender(far.fileno(), segments=True)

        assert sender.send(sent, 0, False) == len(sent)

        assert (sender.packets, sender.bytes) == (len(sent), sum(sizes))
        assert drained(near) == list(sent)


def test_gathered_replies_go_in_one(ends: Pair) -> None:
    near, far = ends
    gatherer = Gatherer(Sender(far.fileno(), segments=True), lambda data, addr: None)
    gatherer.direct = gatherer.open = True
    for each in numbered(0, 65):
        gatherer.sendto(each)

    assert receive_in_one(near) == (b"".join(numbered(0, 16)), 8)
    assert len(gatherer) == 1


def test_a_socket_whose_kernel_refuses_them_in_one_gets_them_one_by_one_for_good() -> None:
    """UDP-Lite has no segmentation: the kernel says EIO, as for devices without checksums."""
    try:
        near, far = udp_pair(protocol=UDP_LITE)
    except OSError:
        unavailable("udplite", "this kernel has no UDP-Lite")
    with near, far:
        with pytest.raises(OSError, match="Input/output error"):
            send_in_one(far, numbered(0, 2))
        sender = Sender(far.fileno(), segments=True)

        assert sender.segments
        assert sender.send(tuple(numbered(0, 40)), 0, False) == 40
        assert (sender.packets, sender.bytes, sender.failure) == (40, 320, 0)
        assert not sender.segments
        assert sender.send(tuple(numbered(40, 5)), 0, False) == 5
        assert drained(near) == numbered(0, 45)


def test_what_is_refused_in_one_now_may_go_so_later(ends: Pair) -> None:
    """Without checksums nothing is cut: EINVAL, of udp_send_skb() in net/ipv4/udp.c."""
    near, far = ends
    far.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    sender = Sender(far.fileno(), segments=True)

    assert sender.send((*numbered(0, 20, 600), *numbered(20, 20)), 0, False) == 40
    assert (sender.packets, sender.bytes) == (40, 20 * 600 + 20 * 8)
    assert [receive_in_one(near) for _ in range(40)] == [
        (each, 0) for each in (*numbered(0, 20, 600), *numbered(20, 20))
    ]

    far.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 0)
    assert sender.send(tuple(numbered(0, 3)), 0, False) == 3
    assert receive_in_one(near) == (b"".join(numbered(0, 3)), 8)


def test_an_error_that_is_about_an_earlier_datagram_is_told(ends: Pair) -> None:
    near, far = ends
    near.close()
    sender = Sender(far.fileno(), segments=True)

    assert (
        sender.send(tuple(numbered(0, 3)), 0, False) == 3
    )  # and the host answers: nobody is there
    assert sender.send(tuple(numbered(3, 3)), 0, False) == 0
    assert sender.failure == 111  # ECONNREFUSED
    assert sender.packets == 3


def test_segments_are_of_sockets(ends: Pair) -> None:
    assert not Sender(ends[1].fileno()).segments
    assert UDP_SEGMENT + 1 == UDP_GRO
