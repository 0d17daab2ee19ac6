"""What UDP channels with offload=True send: the same on the wire, and the same said of it."""

import asyncio
import ctypes
import errno
import fcntl
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aioprocket
from aioprocket import Channel, create_endpoint
from channels.test_sending_batches import shape
from contract import until
from lab.must import require
from lab.udp import UDP_GRO, numbered, receive_in_one, settled
from sandbox import links
from sandbox.namespaces import Namespace

pytestmark = [pytest.mark.netns]

NEAR, FAR = "198.18.5.1", "198.18.5.2"
IP_RECVERR, IP_MTU_DISCOVER, IP_PMTUDISC_DO = 11, 10, 2  # linux/in.h
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17  # linux/sockios.h, linux/ethtool.h
SIZES = [0, 1, 2, 511, 512, 513, 1471, 1472, 1473, 8973, 32700, 32701, 65400, 65506, 65507]

both_ways = pytest.mark.parametrize("offload", [False, True], ids=["plain", "offload"])


def bound(ip: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    sock = settled(socket.socket(family, socket.SOCK_DGRAM))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind((ip, 0))
    return sock


def received(sock: socket.socket, count: int) -> list[bytes]:
    return [sock.recv(70_000) for _ in range(count)]


@contextmanager
def without_waiting(sock: socket.socket) -> Iterator[None]:
    """All that arrives is there: on loopback before the call that sends it returns."""
    before = sock.gettimeout()
    sock.setblocking(False)
    yield
    with pytest.raises(BlockingIOError):
        sock.recv(70_000)
    sock.settimeout(before)


# ---------------------------------------------------------------------- on loopback


@pytest.mark.anyio
@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("to_offload", [False, True], ids=["to plain", "to offload"])
async def test_every_size_arrives_as_it_was_sent(ip: str, to_offload: bool) -> None:
    async with (
        aioprocket.open(protocol="udp", ip=ip, offload=True) as source,
        aioprocket.open(
            protocol="udp", ip=ip, offload=to_offload, receive_buffer=200_000
        ) as target,
    ):
        sent = []
        for size in SIZES:
            some = [bytes([number]) * size for number in range(3)]
            assert await source.send_batch([(each, target.address) for each in some]) == 3
            assert [await target.recv() for _ in range(3)] == some
            sent += some
        stats, got = source.stats(), target.stats()

        assert (stats.tx_packets, stats.tx_bytes) == (len(sent), sum(map(len, sent)))
        assert (got.rx_packets, got.rx_bytes) == (stats.tx_packets, stats.tx_bytes)
        assert (got.rx_truncated, got.rx_dropped, stats.tx_refused) == (0, 0, 0)


@pytest.mark.anyio
async def test_what_is_too_large_for_udp_is_said_of_its_own_packet() -> None:
    with bound() as far:
        async with aioprocket.open(protocol="udp", offload=True) as channel:
            items = [(bytes(size), far.getsockname()) for size in (100, 100, 65508, 100)]

            sent = await channel.send_batch(items)

            assert sent == 2
            assert sent.error is not None
            assert sent.error.errno == errno.EMSGSIZE
            assert "65508 bytes" in str(sent.error)
            with without_waiting(far):
                assert received(far, 2) == [bytes(100)] * 2


# Runs of one size to one of three, and single ones.
MIXED = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([0, 4, 5, 60, 1000, 1200, 1201]),
        st.integers(1, 30),
        st.booleans(),
    ),
    max_size=6,
)


@given(MIXED)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_nothing_is_lost_doubled_or_out_of_order(runs: list[tuple[int, int, int, bool]]) -> None:
    numbers = iter(range(100_000))
    items: list[tuple[int, bytes]] = []
    for where, size, count, shorter in runs:
        some = [next(numbers).to_bytes(4, "big").ljust(size, b".")[:size] for _ in range(count)]
        if shorter and size:
            some.append(some[-1][:-1])
        items += [(where, each) for each in some]

    async def send() -> None:
        doors = [
            aioprocket.open(protocol="udp", ip="127.0.0.1", offload=flag) for flag in (1 > 0, 1 < 0)
        ]
        with bound() as plain:
            async with (
                doors[0] as channel,
                doors[1] as other,
                aioprocket.open(protocol="udp", offload=True) as source,
            ):
                addresses = [plain.getsockname(), channel.address, other.address]
                took = 0
                while took < len(items):
                    # No more than the default buffer of a socket holds.
                    some = items[took : took + 50]
                    pairs = [(each, addresses[where]) for where, each in some]
                    assert await source.send_batch(pairs) == len(some)
                    got: list[list[bytes]] = [[], [], []]
                    expected = [[each for where, each in some if where == at] for at in range(3)]
                    with without_waiting(plain):
                        got[0] = received(plain, len(expected[0]))
                    for at, target in ((1, channel), (2, other)):
                        got[at] = [target.receive_nowait().data for _ in expected[at]]
                        with pytest.raises(BlockingIOError):
                            target.receive_nowait()
                    assert got == expected
                    took += len(some)
                assert source.stats().tx_packets == len(items)
                assert source.stats().tx_bytes == sum(len(each) for _, each in items)

    anyio.run(send)


@pytest.mark.anyio
async def test_a_packet_sent_for_its_timestamp_goes_alone() -> None:
    with bound() as far:
        far.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        far_address = far.getsockname()
        async with aioprocket.open(protocol="udp", ip="127.0.0.1", offload=True) as channel:
            sent, stamps = await channel.send_batch_stamped(
                [(each, far_address) for each in numbered(0, 4)]
            )

            assert sent == 4
            assert all(stamp is not None and stamp.timestamp_ns for stamp in stamps)
            assert [receive_in_one(far) for _ in range(4)] == [(each, 0) for each in numbered(0, 4)]
            assert await channel.send_batch([(each, far_address) for each in numbered(4, 4)]) == 4
            assert receive_in_one(far) == (b"".join(numbered(4, 4)), 8)


# ---------------------------------------------------------------------- through a cable


@pytest.fixture
def cabled(namespace: Namespace) -> Iterator[socket.socket]:
    """A socket in another network, to which there is a cable of 1500 bytes: u0."""
    with open(namespace.path) as network:
        links.add_veth("u0", "u1", peer_namespace=network.fileno())
    links.disable_ipv6("u0")
    links.add_address("u0", f"{NEAR}/24")
    links.set_up("u0")
    with namespace.entered():
        links.disable_ipv6("u1")
        links.add_address("u1", f"{FAR}/24")
        links.set_up("u1")
        sock = bound(FAR)
    with sock:
        yield sock
        links.delete_link("u0")


async def reach(channel: Channel, far: socket.socket) -> None:
    """Until the first datagram has arrived: then nothing is asked for by ARP any more."""
    far.settimeout(0.05)
    while True:
        await channel.sendto(b"?", far.getsockname())
        try:
            far.recv(100)
            break
        except TimeoutError:
            continue
    try:
        while True:
            far.recv(100)
    except TimeoutError:
        settled(far)


def no_checksums(ifname: str) -> None:
    """The device can neither add checksums nor cut: the kernel does both before it."""
    value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sQ16x", ifname.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, request)


@pytest.mark.anyio
@pytest.mark.parametrize("cuts", [True, False], ids=["device cuts", "kernel cuts"])
async def test_a_cable_carries_them(cabled: socket.socket, cuts: bool) -> None:
    if not cuts:
        no_checksums("u0")
    async with aioprocket.open(protocol="udp", ip=NEAR, offload=True) as channel:
        await reach(channel, cabled)
        for size in (1, 100, 512, 1200, 1472):
            some = numbered(0, 30, size)
            if size == 1:
                some = [bytes([number]) for number in range(30)]

            assert await channel.send_batch([(each, cabled.getsockname()) for each in some]) == 30

            assert received(cabled, 30) == some


@pytest.mark.anyio
async def test_what_is_larger_than_the_mtu_is_fragmented_as_ever(cabled: socket.socket) -> None:
    async with aioprocket.open(protocol="udp", ip=NEAR, offload=True) as channel:
        await reach(channel, cabled)
        to = cabled.getsockname()
        sizes = [1473] * 5 + [1200] * 5 + [3000] * 5 + [1472] * 3 + [1473] * 2
        some = [bytes([number]) * size for number, size in enumerate(sizes)]
        before = channel.stats().tx_packets

        assert await channel.send_batch([(each, to) for each in some]) == len(some)

        assert received(cabled, len(some)) == some
        assert channel.stats().tx_packets - before == len(some)


@pytest.mark.anyio
@both_ways
async def test_what_may_not_be_fragmented_is_refused_where_it_is_too_large(
    cabled: socket.socket, offload: bool
) -> None:
    async with aioprocket.open(protocol="udp", ip=NEAR, offload=offload) as channel:
        await reach(channel, cabled)
        sock = channel.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        some = [bytes([number]) * 1200 for number in range(20)] + [bytes(1473)] * 3

        sent = await channel.send_batch([(each, cabled.getsockname()) for each in some])

        assert sent == 20
        assert sent.error is not None
        assert sent.error.errno == errno.EMSGSIZE
        assert received(cabled, 20) == some[:20]


@pytest.mark.anyio
@both_ways
async def test_a_slow_link_is_waited_for(cabled: socket.socket, offload: bool) -> None:
    async with aioprocket.open(
        protocol="udp", ip=NEAR, offload=offload, send_buffer=50_000
    ) as channel:
        await reach(channel, cabled)
        shape("u0", rate="4mbit", burst="20000", limit="4000000")
        to = cabled.getsockname()
        some = numbered(0, 400, 1000)
        got: list[bytes] = []

        async def receive() -> None:
            got.extend(await anyio.to_thread.run_sync(received, cabled, 400))

        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                # More than such a buffer lets the socket have on the way.
                assert await channel.send_batch((each, to) for each in some) == 400

        assert got == some
        assert channel.stats().tx_refused >= 1


@pytest.mark.asyncio
@both_ways
async def test_a_transport_keeps_what_there_is_no_room_for(
    cabled: socket.socket, offload: bool
) -> None:
    transport, _ = await create_endpoint(
        asyncio.DatagramProtocol,
        aioprocket.open(protocol="udp", ip=NEAR, offload=offload, send_buffer=50_000),
    )
    await reach(transport.channel, cabled)
    shape("u0", rate="4mbit", burst="20000", limit="4000000")
    before = transport.stats().tx_packets
    to = cabled.getsockname()
    some = numbered(0, 400, 1000)
    taken = transport.send_batch([(each, to) for each in some[:300]])
    for each in some[300:]:
        transport.sendto(each, to)

    assert 0 < taken < 300
    assert transport.get_write_buffer_size() == (400 - taken) * 1008
    got = await asyncio.to_thread(received, cabled, 400)

    assert got == some
    assert transport.stats().tx_packets - before == 400
    transport.close()
    await until(lambda: transport.channel.fileno() < 0)


@pytest.mark.anyio
@both_ways
async def test_a_full_queue_is_told_of_in_the_end(cabled: socket.socket, offload: bool) -> None:
    async with aioprocket.open(protocol="udp", ip=NEAR, offload=offload) as channel:
        await reach(channel, cabled)
        # Without it the kernel keeps to itself what a queue drops: udp_send_skb(), net/ipv4/udp.c.
        sock = channel.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        # Where there is room for a part of what goes together, nothing is said of the rest: so
        # one that lets all of it through or nothing, tbf_enqueue() in net/sched/sch_tbf.c.
        shape("u0", rate="8kbit", burst="80000", limit="6000")
        before = channel.stats().tx_packets
        with anyio.fail_after(20):
            sent = await channel.send_batch(
                [(each, cabled.getsockname()) for each in numbered(0, 200, 1000)]
            )

        assert 1 <= sent < 200
        assert sent.error is not None
        assert sent.error.errno == errno.ENOBUFS
        assert channel.stats().tx_packets - before == sent
        assert received(cabled, 30) == numbered(0, 30, 1000)


@contextmanager
def tcpdump(ifname: str, count: int, largest: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The program, which writes the next UDP datagrams on an interface and ends after them."""
    command = [require("tcpdump"), "-i", ifname, "--immediate-mode", "-Z", "root", "-n"]
    # Frames get slots of the largest's size: large ones are few.
    command += ["-s", str(largest), "-B", "8192", "-c", str(count), "-w", "-", "udp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if b"listening on" in line:
                    break
            yield process
        finally:
            process.kill()


def payloads(pcap: bytes) -> list[bytes]:
    """Of each frame that tcpdump saw; its headers are of Ethernet, IPv4 and UDP."""
    found, at = [], 24
    while at < len(pcap):
        length = struct.unpack_from("=I", pcap, at + 8)[0]
        frame = pcap[at + 16 : at + 16 + length]
        assert struct.unpack_from(">H", frame, 16)[0] == length - 14  # of the IP packet
        found.append(frame[42:])
        at += 16 + length
    return found


@pytest.mark.realroot  # tcpdump sets its groups, which a user namespace does not allow
@pytest.mark.anyio
async def test_tcpdump_sees_single_datagrams_where_the_device_cannot_cut(
    cabled: socket.socket,
) -> None:
    no_checksums("u0")
    sizes: Sequence[int] = [100] * 40 + [60] + [1200] * 40 + [1472, 1471, 0, 1]
    some = [bytes([number]) * size for number, size in enumerate(sizes)]
    async with aioprocket.open(protocol="udp", ip=NEAR, offload=True) as channel:
        await reach(channel, cabled)
        with tcpdump("u0", len(some), 2000) as process:
            items: Any = [(each, cabled.getsockname()) for each in some]
            assert await channel.send_batch(items) == len(some)
            pcap, _ = await anyio.to_thread.run_sync(process.communicate)

    assert payloads(pcap) == some
    assert received(cabled, len(some)) == some


@pytest.mark.realroot
@pytest.mark.anyio
async def test_tcpdump_sees_them_in_one_where_the_device_can(cabled: socket.socket) -> None:
    some = numbered(0, 40, 1200)
    async with aioprocket.open(protocol="udp", ip=NEAR, offload=True) as channel:
        await reach(channel, cabled)
        with tcpdump("u0", 1, 65535) as process:
            await channel.send_batch([(each, cabled.getsockname()) for each in some])
            pcap, _ = await anyio.to_thread.run_sync(process.communicate)

    assert payloads(pcap) == [b"".join(some)]
