import gc
import socket
import threading
from collections.abc import Iterator

import pytest

from aioprocket._system._native import Packet, Receiver

IP_RECVTTL = 12  # linux/in.h

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def datagrams() -> Iterator[Pair]:
    """A receiving end, and one that sends to it; some 200 KiB may wait between them."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        sock.bind(("127.0.0.1", 0))
        sender.connect(sock.getsockname())
        yield sock, sender


def payloads(packets: list[Packet]) -> list[bytes]:
    return [packet.data for packet in packets]


def test_receive_returns_at_once_when_there_is_nothing(datagrams: Pair) -> None:
    sock, _ = datagrams
    sock.setblocking(True)

    assert Receiver(sock.fileno()).receive(64) == []


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
def test_receive_gives_no_more_than_count_and_in_order(datagrams: Pair, count: int) -> None:
    sock, sender = datagrams
    sent = [b"%d" % number for number in range(250)]
    for message in sent:
        sender.send(message)
    receiver = Receiver(sock.fileno())

    first = receiver.receive(count)
    rest = receiver.receive(1000)

    assert payloads(first) == sent[:count]
    assert payloads(rest) == sent[count:]


def test_count_may_be_larger_than_memory(datagrams: Pair) -> None:
    sock, sender = datagrams
    sender.send(b"hello")

    assert payloads(Receiver(sock.fileno()).receive(1 << 62)) == [b"hello"]


@pytest.mark.parametrize("count", [0, -1])
def test_count_below_one_is_refused(datagrams: Pair, count: int) -> None:
    receiver = Receiver(datagrams[0].fileno())

    with pytest.raises(ValueError, match=f"at least 1, not {count}"):
        receiver.receive(count)


def test_batch_of_large_packets_ends_early_and_loses_none(datagrams: Pair) -> None:
    sock, sender = datagrams
    receiver = Receiver(sock.fileno())
    sizes = []
    for number in range(3):
        for _ in range(3):
            sender.send(bytes([number]) * 60_000)
        while batch := receiver.receive(64):
            assert all(packet.data == bytes([number]) * 60_000 for packet in batch)
            sizes.append(len(batch))

    # The first batch is a guess. From then on the length of those before is known.
    assert sizes == [3, 2, 1, 2, 1]


def test_empty_datagram_is_a_packet(datagrams: Pair) -> None:
    sock, sender = datagrams
    sender.send(b"")
    sender.send(b"after")

    assert payloads(Receiver(sock.fileno()).receive(64)) == [b"", b"after"]


@pytest.mark.parametrize("size", [1, 63, 64, 65, 2048])
def test_packet_is_cut_to_size_and_knows_its_length(datagrams: Pair, size: int) -> None:
    sock, sender = datagrams
    message = bytes(range(256)) * 8
    for length in (size - 1, size, size + 1):
        sender.send(message[:length])

    packets = Receiver(sock.fileno(), size=size).receive(64)

    assert payloads(packets) == [message[: size - 1], message[:size], message[: min(size, 2048)]]
    assert [packet.wire_len for packet in packets] == [size - 1, size, min(size + 1, 2048)]
    assert [packet.truncated for packet in packets] == [False, False, size < 2048]


def test_receivers_of_different_sizes_take_turns(datagrams: Pair) -> None:
    sock, sender = datagrams
    small, large = Receiver(sock.fileno(), size=10), Receiver(sock.fileno(), size=1000)
    for number in range(6):
        sender.send(bytes([number]) * 100)

    lengths = [len(each.receive(1)[0]) for each in (small, large, small, large, small, large)]

    assert lengths == [10, 100] * 3


@pytest.mark.parametrize("size", [0, -1, 262_145, 1 << 40])
def test_size_out_of_bounds_is_refused(datagrams: Pair, size: int) -> None:
    with pytest.raises(ValueError, match=f"size must be 1 to 262144, not {size}"):
        Receiver(datagrams[0].fileno(), size=size)


def test_counters_add_up(datagrams: Pair) -> None:
    sock, sender = datagrams
    receiver = Receiver(sock.fileno(), size=4)
    for message in (b"one", b"three", b"", b"seven"):
        sender.send(message)

    receiver.receive(3)
    receiver.receive(3)

    assert (receiver.packets, receiver.bytes, receiver.truncated) == (4, 3 + 4 + 0 + 4, 2)


@pytest.mark.parametrize("name", ["packets", "bytes", "truncated", "overflow"])
def test_counters_are_read_only(datagrams: Pair, name: str) -> None:
    receiver = Receiver(datagrams[0].fileno())

    with pytest.raises(AttributeError):
        setattr(receiver, name, 0)


def test_error_is_raised_with_its_errno_and_only_once(datagrams: Pair) -> None:
    _, sender = datagrams
    datagrams[0].close()
    sender.send(b"to nobody: the kernel answers with port unreachable")
    receiver = Receiver(sender.fileno())

    with pytest.raises(ConnectionRefusedError):
        receiver.receive(64)

    assert receiver.receive(64) == []


def test_error_after_packets_is_raised_by_a_later_call() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            peer.sendto(b"last words", sock.getsockname())
            sock.connect(peer.getsockname())
        receiver = Receiver(sock.fileno())
        sock.send(b"to nobody")

        with pytest.raises(ConnectionRefusedError):
            receiver.receive(64)

        assert payloads(receiver.receive(64)) == [b"last words"]


def test_closed_descriptor_is_refused() -> None:
    with socket.socket() as sock:
        fd = sock.fileno()

    with pytest.raises(OSError, match="Bad file descriptor"):
        Receiver(fd)


def test_descriptor_closed_later_is_an_error_of_receive(datagrams: Pair) -> None:
    receiver = Receiver(datagrams[0].fileno())
    datagrams[0].close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        receiver.receive(64)


def test_receiver_does_not_close_the_descriptor(datagrams: Pair) -> None:
    sock, sender = datagrams
    receiver = Receiver(sock.fileno())
    del receiver
    gc.collect()

    sender.send(b"hello")

    assert sock.recv(10) == b"hello"


def test_stream_gives_what_is_there_and_then_its_end() -> None:
    sock, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with sock:
        receiver = Receiver(sock.fileno(), size=4)
        with peer:
            assert receiver.receive(64) == []
            peer.sendall(b"abcdef")

        assert payloads(receiver.receive(64)) == [b"abcd", b"ef"]
        for _ in range(2):
            with pytest.raises(EOFError):
                receiver.receive(64)

    assert receiver.truncated == 0


@pytest.mark.netns
def test_tcp_data_are_delivered_and_not_discarded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        sock, _ = server.accept()
    with sock, peer:
        peer.sendall(b"hello")

        [packet] = Receiver(sock.fileno()).receive(64)

    assert (packet.data, packet.addr) == (b"hello", None)


def test_seqpacket_ends_where_its_peer_closes() -> None:
    sock, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with sock:
        with peer:
            peer.send(b"one")
            peer.send(b"two")
        receiver = Receiver(sock.fileno())

        assert payloads(receiver.receive(64)) == [b"one", b"two"]
        with pytest.raises(EOFError):
            receiver.receive(64)


class Intruder:
    """In a cycle, so that it goes when the garbage collector runs, and receives then."""

    def __init__(self, receiver: Receiver, seen: list[bytes]) -> None:
        self.myself = self
        self.receiver = receiver
        self.seen = seen

    def __del__(self) -> None:
        self.seen += payloads(self.receiver.receive(16))


def test_receive_within_a_receive_disturbs_neither(datagrams: Pair) -> None:
    sock, sender = datagrams
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)  # a list and two tuples for each packet
    receiver = Receiver(sock.fileno())
    sent = [(b"%03d" % number) * 50 for number in range(200)]
    for message in sent:
        sender.send(message)
    received: list[bytes] = []
    seen: list[bytes] = []
    threshold = gc.get_threshold()
    try:
        for _ in range(5):
            Intruder(receiver, seen)
            # Up to Python 3.11 the collector runs where objects are made: amid the batch.
            gc.set_threshold(gc.get_count()[0] + 12)
            received += payloads(receiver.receive(16))
            gc.set_threshold(*threshold)
    finally:
        gc.set_threshold(*threshold)
        gc.collect()
    received += payloads(receiver.receive(200))

    assert seen
    assert sorted(received + seen) == sent
    assert receiver.packets == len(sent)


def test_threads_share_a_receiver(datagrams: Pair) -> None:
    sock, sender = datagrams
    receiver = Receiver(sock.fileno())
    sent = [b"%04d" % number for number in range(400)]
    per_thread: list[list[bytes]] = [[] for _ in range(4)]
    done = threading.Event()

    def drain(target: list[bytes]) -> None:
        while not done.is_set():
            target += payloads(receiver.receive(8))
        target += payloads(receiver.receive(2000))

    threads = [threading.Thread(target=drain, args=(target,)) for target in per_thread]
    for thread in threads:
        thread.start()
    for message in sent:
        sender.send(message)
    done.set()
    for thread in threads:
        thread.join()

    assert sorted([message for messages in per_thread for message in messages]) == sent
    assert receiver.packets == len(sent)


def test_packets_outlive_the_receiver_and_the_socket(datagrams: Pair) -> None:
    sock, sender = datagrams
    for number in range(64):
        sender.send(bytes([number]) * 300)
    packets = Receiver(sock.fileno()).receive(64)
    host, _ = sender.getsockname()
    sock.close()
    gc.collect()

    assert payloads(packets) == [bytes([number]) * 300 for number in range(64)]
    assert {packet.addr[0] for packet in packets} == {host}
