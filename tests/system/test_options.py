import errno
import socket
from collections.abc import Callable, Iterator

import pytest

from aioprocket._system import options
from aioprocket._system.numbers import Membership
from aioprocket._system.statistics import PacketStatistics, SocketDrops, queued_bytes
from aioprocket.spec import Instruction

pytestmark = pytest.mark.netns

LOOPBACK = 1
KEEP_3: tuple[Instruction, ...] = ((0x06, 0, 0, 3),)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of datagrams, on which filters work without any privilege."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


@pytest.fixture
def capture() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.setblocking(False)
        sock.bind(("lo", 3))
        yield sock


def send(count: int, size: int = 1) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(bytes(size), ("127.0.0.1", 9))


def test_filter_cuts_what_comes(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    options.attach_filter(ours, KEEP_3)
    theirs.send(b"abcdef")

    assert ours.recv(100) == b"abc"


def test_detached_filter_cuts_no_more(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    options.attach_filter(ours, KEEP_3)
    options.detach_filter(ours)
    options.detach_filter(ours)
    theirs.send(b"abcdef")

    assert ours.recv(100) == b"abcdef"


def test_locked_filter_stays(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    options.attach_filter(ours, KEEP_3)
    options.lock_filter(ours)

    assert options.filter_is_locked(ours)
    for change in (options.drop_all, options.detach_filter):
        with pytest.raises(PermissionError):
            change(ours)


def test_program_that_the_kernel_refuses_is_an_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        options.attach_filter(pair[0], ((0x05, 0, 0, 100),))


@pytest.mark.parametrize("program", [None, KEEP_3], ids=["none", "another"])
def test_replaced_filter_leaves_nothing_from_before(
    program: tuple[Instruction, ...] | None, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"before")
    theirs.send(b"")
    options.replace_filter(ours, program)
    theirs.send(b"after")

    assert ours.recv(100) == (b"after" if program is None else b"aft")


def test_drain_takes_a_pending_error_too() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed,
    ):
        sock.setblocking(False)
        closed.bind(("127.0.0.1", 0))
        sock.connect(closed.getsockname())
        closed.close()
        sock.send(b"to nobody")  # the answer is an ICMP error

        options.drain(sock)

        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@pytest.mark.parametrize(
    ("set_size", "option"),
    [
        (options.set_receive_buffer, socket.SO_RCVBUF),
        (options.set_send_buffer, socket.SO_SNDBUF),
    ],
)
def test_buffer_is_as_large_as_asked_for(
    set_size: Callable[[socket.socket, int], None],
    option: int,
    pair: tuple[socket.socket, socket.socket],
) -> None:
    set_size(pair[0], 50_000)

    assert pair[0].getsockopt(socket.SOL_SOCKET, option) == 100_000


def test_bound_interface_is_read_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert options.bound_ifindex(sock) == 0
        options.bind_to_ifindex(sock, LOOPBACK)
        assert options.bound_ifindex(sock) == LOOPBACK


def test_unknown_interface_has_no_membership(capture: socket.socket) -> None:
    with pytest.raises(OSError, match="No such device") as caught:
        options.add_membership(capture, 4711, Membership.PROMISCUOUS)

    assert caught.value.errno == errno.ENODEV


def test_packet_statistics_are_totals_though_the_kernel_forgets(capture: socket.socket) -> None:
    options.drain(capture)
    statistics = PacketStatistics()
    statistics.update(capture)
    before = statistics.packets
    for _ in range(2):
        send(3)
        statistics.update(capture)

    # Each datagram, and the ICMP error that answers it, is seen going out and coming in.
    assert statistics.packets - before >= 2 * 3 * 2
    assert statistics.dropped == 0


def test_packet_statistics_count_what_found_no_room(capture: socket.socket) -> None:
    capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    statistics = PacketStatistics()
    send(20, size=4000)
    statistics.update(capture)

    assert 0 < statistics.dropped < statistics.packets


def test_dropped_datagrams_are_counted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 9))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        drops = SocketDrops()
        drops.update(sock)
        assert drops.dropped == 0
        send(20, size=4000)
        drops.update(sock)
        first = drops.dropped
        drops.update(sock)

        assert 0 < first < 20
        assert drops.dropped == first
        assert queued_bytes(sock) > 0
