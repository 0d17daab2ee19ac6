import array
import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from aioprocket._system._native import Delivery, Receiver
from lab.traffic import frame

# asm-generic/socket.h
SO_ATTACH_FILTER = 26
SO_TIMESTAMPNS_OLD = 35
SO_RXQ_OVFL = 40
SO_TIMESTAMPNS_NEW = 64
# linux/socket.h, linux/if_packet.h, linux/if_ether.h
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_VNET_HDR = 15
ETH_P_ALL = 0x0003
BPF_RET_K = 0x06  # linux/filter.h
# linux/in.h
IP_PKTINFO = 8
IP_RECVTTL = 12
IPPROTO_EXPERIMENT = 253  # RFC 3692, 2.1

Pair = tuple[socket.socket, socket.socket]


def delivery() -> Delivery:
    each = Delivery()
    each.credit = -1  # without end
    return each


@pytest.fixture
def udp() -> Iterator[Pair]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sock.bind(("127.0.0.1", 0))
        sender.connect(sock.getsockname())
        yield sock, sender


@pytest.fixture
def wire(veth: tuple[str, str]) -> Iterator[Pair]:
    """Two packet sockets joined by a cable, the first with auxiliary data on."""
    near, far = veth
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
    ):
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        sock.bind((near, ETH_P_ALL))
        sender.bind((far, 0))
        yield sock, sender


@pytest.mark.parametrize("option", [SO_TIMESTAMPNS_OLD, SO_TIMESTAMPNS_NEW], ids=["old", "new"])
def test_timestamp_is_the_kernels_to_the_nanosecond(udp: Pair, option: int) -> None:
    sock, sender = udp
    sock.setsockopt(socket.SOL_SOCKET, option, 1)
    receiver = Receiver(sock.fileno())
    deadline = time.monotonic() + 10
    while True:
        before = time.time_ns()
        sender.send(b"hello")
        after = time.time_ns()
        [packet] = receiver.receive(1)
        # The kernel switches its stamps on in the background, and until then fills in the time
        # of the reading.
        if packet.timestamp_ns <= after or time.monotonic() > deadline:
            break

    assert before <= packet.timestamp_ns <= after
    assert packet.ancdata == ()


def test_timestamp_is_zero_unless_asked_for(udp: Pair) -> None:
    sock, sender = udp
    sender.send(b"hello")

    [packet] = Receiver(sock.fileno()).receive(1)

    assert packet.timestamp_ns == 0


@pytest.mark.netns
@pytest.mark.parametrize(
    ("tpid", "tci"), [(0x8100, 0x0005), (0x8100, 0xE000), (0x88A8, 0xFFFF)], ids=hex
)
def test_vlan_tag_is_taken_from_auxdata(wire: Pair, tpid: int, tci: int) -> None:
    sock, sender = wire
    plain = frame(1)
    sender.send(plain[:12] + struct.pack("!HH", tpid, tci) + plain[12:])

    [packet] = Receiver(sock.fileno()).receive(1)

    assert packet.data == plain
    assert (packet.vlan_tpid, packet.vlan_tci) == (tpid, tci)
    assert packet.ancdata == ()


@pytest.mark.netns
def test_untagged_frame_has_no_vlan(wire: Pair) -> None:
    sock, sender = wire
    sender.send(frame(1))

    [packet] = Receiver(sock.fileno()).receive(1)

    assert (packet.vlan_tpid, packet.vlan_tci) == (None, None)


@pytest.mark.netns
def test_wire_len_counts_what_a_filter_cut_off(wire: Pair) -> None:
    sock, sender = wire
    keep_20 = array.array("B", struct.pack("=HBBI", BPF_RET_K, 0, 0, 20))
    program = struct.pack("@HP", 1, keep_20.buffer_info()[0])
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    sender.send(frame(1, size=200))

    [packet] = Receiver(sock.fileno()).receive(1)

    assert packet.data == frame(1)[:20]
    assert packet.wire_len == 200
    assert packet.truncated


@pytest.mark.netns
def test_wire_len_counts_a_header_that_was_never_on_the_wire(wire: Pair) -> None:
    sock, sender = wire
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)  # struct virtio_net_hdr before each frame
    sender.send(frame(1))

    [packet] = Receiver(sock.fileno()).receive(1)

    assert packet.data == bytes(10) + frame(1)
    assert packet.wire_len == len(packet)
    assert not packet.truncated


def test_packet_info_gives_the_ifindex_and_stays_in_ancdata(udp: Pair) -> None:
    sock, sender = udp
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sender.send(b"hello")

    [packet] = Receiver(sock.fileno()).receive(1)

    [(level, kind, data)] = packet.ancdata
    assert packet.ifindex == socket.if_nametoindex("lo")
    assert (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO)
    assert data[-4:] == socket.inet_aton("127.0.0.1")


@pytest.mark.netns
def test_packet_info_of_ipv6_gives_the_ifindex_and_stays_in_ancdata() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.bind(("::1", 0))
        sock.sendto(b"hello", sock.getsockname())

        [packet] = Receiver(sock.fileno()).receive(1)

    [(level, kind, data)] = packet.ancdata
    assert packet.ifindex == socket.if_nametoindex("lo")
    assert (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
    assert data[:16] == socket.inet_pton(socket.AF_INET6, "::1")


def test_other_messages_are_as_recvmsg_gives_them(udp: Pair) -> None:
    sock, sender = udp
    for option in (IP_RECVTTL, socket.IP_RECVTOS):
        sock.setsockopt(socket.IPPROTO_IP, option, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS_OLD, 1)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x28)
    sender.send(b"hello")
    _, messages, _, _ = sock.recvmsg(100, 1000, socket.MSG_PEEK)

    [packet] = Receiver(sock.fileno()).receive(1)

    others = [item for item in messages if item[1] != SO_TIMESTAMPNS_OLD]
    assert list(packet.ancdata) == others
    assert len(others) == 2
    assert packet.timestamp_ns != 0


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, socket.socket, socket.socket]]:
    """Two sockets that get each packet of a protocol that nobody speaks, and who sends it."""
    kind = socket.AF_INET, socket.SOCK_RAW, IPPROTO_EXPERIMENT
    with socket.socket(*kind) as sock, socket.socket(*kind) as witness, socket.socket(*kind) as far:
        far.bind(("127.0.0.9", 0))
        for each in (sock, witness):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        yield sock, witness, far


@pytest.mark.netns
@pytest.mark.parametrize("options", [b"", bytes(12)], ids=["plain", "options"])
def test_sender_and_ttl_in_an_ip_header_are_those_that_the_kernel_tells(
    raw: tuple[socket.socket, socket.socket, socket.socket], options: bytes
) -> None:
    sock, witness, far = raw
    witness.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    far.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 77)
    far.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, options)
    receiver = Receiver(sock.fileno(), skip_ip_header=True)
    datagrams: list[tuple[bytes, object]] = []
    for text in (b"one", b"", b"three"):
        far.sendto(text, ("127.0.0.1", 0))

    packets = receiver.receive(2)
    receiver.dispatch(delivery(), lambda *datagram: datagrams.append(datagram), 64, True, 10**9)

    told = [witness.recvmsg(100, 100) for _ in range(3)]
    assert [packet.data for packet in packets] == [b"one", b""]
    for packet, (_, messages, _, addr) in zip(packets, told, strict=False):
        assert (list(packet.ancdata), packet.addr) == (messages, addr)
    assert datagrams == [(b"three", told[2][3])]


@pytest.mark.netns
def test_ttl_in_an_ip_header_is_told_once_where_the_kernel_tells_it(
    raw: tuple[socket.socket, socket.socket, socket.socket],
) -> None:
    sock, _, far = raw
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    far.sendto(b"text", ("127.0.0.1", 0))
    _, messages, _, _ = sock.recvmsg(100, 100, socket.MSG_PEEK)

    [packet] = Receiver(sock.fileno(), skip_ip_header=True).receive(1)

    assert list(packet.ancdata) == messages
    assert len(messages) == 2


def test_message_of_one_packet_does_not_show_in_the_next(udp: Pair) -> None:
    sock, sender = udp
    receiver = Receiver(sock.fileno())
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    sender.send(b"first")
    [first] = receiver.receive(64)
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 0)
    sender.send(b"second")

    [second] = receiver.receive(64)

    assert first.ancdata
    assert second.ancdata == ()


def test_overflow_is_what_the_queue_dropped(udp: Pair) -> None:
    sock, sender = udp
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    receiver = Receiver(sock.fileno())
    assert receiver.overflow is None
    for _ in range(100):
        sender.send(bytes(1000))
    kept = len(receiver.receive(200))
    sender.send(b"tells of the drops before it")

    [packet] = receiver.receive(200)

    assert 0 < kept < 100
    assert receiver.overflow == 100 - kept
    assert packet.ancdata == ()


@pytest.mark.parametrize("count", [1, 253], ids=["one", "as many as there can be"])
def test_passed_descriptors_arrive_as_recvmsg_gives_them(count: int) -> None:
    sock, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sock, sender:
        reader, writer = os.pipe()
        socket.send_fds(sender, [b"hello"], [writer] * count)
        os.close(writer)

        [packet] = Receiver(sock.fileno()).receive(64)

    [(level, kind, data)] = packet.ancdata
    received = array.array("i", data)
    try:
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        assert len(set(received)) == count
        assert not any(os.get_inheritable(fd) for fd in received)
        os.write(received[-1], b"through it")
        assert os.read(reader, 100) == b"through it"
    finally:
        os.close(reader)
        for fd in received:
            os.close(fd)


def test_each_packet_has_its_own_time_to_live_whatever_the_last_one_had() -> None:
    ip_recvttl, ip_ttl = 12, 2  # linux/in.h
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        near.bind(("127.0.0.1", 0))
        near.setsockopt(socket.IPPROTO_IP, ip_recvttl, 1)
        hops = [5, 5, 9, 5, 200]
        for each in hops:
            far.setsockopt(socket.IPPROTO_IP, ip_ttl, each)
            far.sendto(b"x", near.getsockname())

        packets = Receiver(near.fileno()).receive(64)

        assert [packet.ancdata for packet in packets] == [
            ((socket.IPPROTO_IP, ip_ttl, each.to_bytes(4, "little")),) for each in hops
        ]
