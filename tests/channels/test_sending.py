import errno
import socket
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from aioprocket import Channel, ClosedError, LinkDownError, Packet, PacketChannel
from aioprocket._system import options
from aioprocket.channels.port import SocketPort
from channels.rig import cable, frame, number, pair
from sandbox import links

pytestmark = [pytest.mark.netns, pytest.mark.anyio]


async def test_what_is_sent_arrives_in_order(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        await wire.channel.send(frame(0))
        await wire.channel.send(bytearray(frame(1)))
        await wire.channel.send(memoryview(frame(2)))
        await wire.channel.send(Packet(frame(3), ("elsewhere", 0, 0, 0, b"")))
        await wire.channel.sendto(frame(4), (wire.ifname, 0))
        assert await wire.channel.sendmsg([frame(5)[:10], frame(5)[10:]]) == 64
        wire.channel.send_nowait(frame(6))
        assert await wire.channel.send_batch([frame(7), (frame(8), (wire.ifname, 0))]) == 2

        assert [number(wire.far.recv(2000)) for _ in range(9)] == list(range(9))
        stats = wire.channel.stats()
        assert (stats.tx_packets, stats.tx_bytes, stats.tx_refused) == (9, 9 * 64, 0)


async def test_a_packet_channel_of_protocol_0_sends_and_receives_nothing(
    veth: tuple[str, str],
) -> None:
    with cable(veth, protocol=0) as wire:
        wire.send(0)

        assert await wire.channel.send_batch([frame(1), frame(2)]) == 2

        assert [number(wire.far.recv(2000)) for _ in range(2)] == [1, 2]
        with pytest.raises(BlockingIOError):
            wire.channel.receive_nowait()
        assert isinstance(wire.channel, PacketChannel)
        assert (wire.channel.protocol, wire.channel.ring_size) == (0, 0)
        stats = wire.channel.stats()
        assert (stats.rx_packets, stats.rx_dropped, stats.tx_packets) == (0, 0, 2)
        # Asked for by one socket, the kernel reads a clock for each packet of the host.
        assert wire.channel._port.sock is not None
        assert not options.timestamps_are_enabled(wire.channel._port.sock)


async def test_a_datagram_socket_replies_to_where_a_packet_came_from() -> None:
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("127.0.0.1", 0))
    address = near.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        async with Channel.from_fd(near) as channel:
            far.sendto(b"echo", address)

            await channel.send(await channel.receive())

            assert far.recvfrom(100) == (b"echo", address)


@pytest.fixture
def full() -> Iterator[tuple[Channel, socket.socket, int]]:
    """A channel that has no room, its other end, and how many packets are on the way."""
    with pair(socket.SOCK_SEQPACKET) as (channel, far):
        sent = 0
        try:
            while True:
                channel.send_nowait(sent.to_bytes(4, "big") + bytes(2000))
                sent += 1
        except BlockingIOError:
            yield channel, far, sent


async def test_send_nowait_says_that_there_is_no_room(
    full: tuple[Channel, socket.socket, int],
) -> None:
    channel, _, sent = full

    with pytest.raises(BlockingIOError) as raised:
        channel.send_nowait(b"x")

    assert raised.value.errno == errno.EAGAIN
    assert channel.stats().tx_packets == sent
    assert channel.stats().tx_refused == 2


async def test_sends_wait_for_room_and_keep_their_order(
    full: tuple[Channel, socket.socket, int],
) -> None:
    channel, far, sent = full
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for each in range(sent, sent + 5):
                tasks.start_soon(channel.send, each.to_bytes(4, "big") + bytes(2000))
                await anyio.wait_all_tasks_blocked()
            got: list[int] = []
            while len(got) < sent + 5:
                try:
                    data = far.recv(3000, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    await anyio.sleep(0.001)
                else:
                    got.append(int.from_bytes(data[:4], "big"))

    assert got == list(range(sent + 5))
    assert channel.stats().tx_refused <= 1 + 5


async def test_close_ends_every_send_that_waits(full: tuple[Channel, socket.socket, int]) -> None:
    channel, _, _ = full
    ended: list[int] = []

    async def sending(each: int) -> None:
        with pytest.raises(ClosedError):
            await channel.send(b"never")
        ended.append(each)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for each in range(3):
                tasks.start_soon(sending, each)
            await anyio.wait_all_tasks_blocked()
            channel.close()

    assert sorted(ended) == [0, 1, 2]


async def test_a_cancelled_send_was_not_sent(full: tuple[Channel, socket.socket, int]) -> None:
    channel, far, sent = full

    with anyio.move_on_after(0.01) as scope:
        await channel.send(b"cancelled")
    for _ in range(sent):
        far.recv(3000)
    await channel.send(b"after")

    assert scope.cancelled_caught
    assert far.recv(3000) == b"after"


async def test_a_stream_takes_all_bytes_however_many() -> None:
    with pair(socket.SOCK_STREAM) as (channel, far), anyio.fail_after(5):
        data = bytes(range(256)) * 8000
        got = bytearray()

        def reading() -> None:
            while len(got) < len(data):
                got.extend(far.recv(100_000))

        reader = threading.Thread(target=reading)
        reader.start()
        await channel.send(data)
        reader.join()

        assert got == data


async def test_a_closed_channel_sends_nothing() -> None:
    with pair() as (channel, _):
        channel.close()

        with pytest.raises(ClosedError):
            await channel.send(b"x")
        with pytest.raises(ClosedError):
            channel.send_nowait(b"x")
        with pytest.raises(ClosedError):
            await channel.sendto(b"x", "/nowhere")
        with pytest.raises(ClosedError):
            await channel.sendmsg([b"x"])


async def test_a_frame_above_the_mtu_is_refused_with_the_mtu(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        with pytest.raises(OSError, match="Message too long") as raised:
            await wire.channel.send(bytes(2000))

        assert raised.value.errno == errno.EMSGSIZE
        assert "the MTU of v1 is 1500" in raised.value.__notes__


async def test_a_frame_without_a_whole_header_is_refused_with_its_length(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        with pytest.raises(OSError, match=r"send 13 bytes on .*Invalid argument") as raised:
            await wire.channel.send(bytes(13))
        sent = await wire.channel.send_batch([frame(1), b"short"])

        assert raised.value.errno == errno.EINVAL
        assert "14 bytes on Ethernet" in raised.value.__notes__[0]
        assert sent == 1
        assert "send 5 bytes" in str(sent.error)


async def test_a_frame_for_a_link_that_is_down_is_refused(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        links.set_down(wire.ifname)

        with pytest.raises(LinkDownError) as raised:
            await wire.channel.send(frame(1))

        assert raised.value.errno == errno.ENETDOWN
        assert raised.value.interface == wire.ifname


async def test_a_batch_stops_at_the_first_that_fails(veth: tuple[str, str]) -> None:
    with cable(veth) as wire:
        assert await wire.channel.send_batch([frame(0), frame(1), bytes(2000), frame(2)]) == 2
        with pytest.raises(OSError, match="Message too long"):
            await wire.channel.send_batch([bytes(2000), frame(2)])


async def test_a_channel_without_a_destination_says_what_is_missing() -> None:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    async with Channel.from_fd(sock) as channel:
        with pytest.raises(OSError, match="No such device or address") as raised:
            await channel.send(frame(1))

        assert any("sendto" in note for note in raised.value.__notes__)


class BusyQueue(SocketPort):
    """A socket whose interface has no room for the first few packets."""

    def __init__(self, sock: socket.socket, refusals: int) -> None:
        super().__init__(sock)
        self.refusals = refusals
        self.attempts = 0
        self.send = self._send

    def _send(self, data: Any) -> int:
        self.attempts += 1
        if self.attempts <= self.refusals:
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return self.sock.send(data)


@pytest.fixture
def busy(request: pytest.FixtureRequest) -> Iterator[tuple[Channel, BusyQueue, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    port = BusyQueue(near, request.param)
    channel = Channel(port)
    with far:
        yield channel, port, far
        channel.close()


@pytest.mark.parametrize("busy", [3], indirect=True)
async def test_a_full_interface_queue_is_tried_again(
    busy: tuple[Channel, BusyQueue, socket.socket],
) -> None:
    channel, port, far = busy

    await channel.send(b"patience")

    assert far.recv(100) == b"patience"
    assert port.attempts == 4
    assert channel.stats().tx_refused == 1


@pytest.mark.parametrize("busy", [1000], indirect=True)
async def test_an_interface_queue_that_stays_full_is_an_error_in_the_end(
    busy: tuple[Channel, BusyQueue, socket.socket],
) -> None:
    channel, port, _ = busy

    with anyio.fail_after(2), pytest.raises(OSError, match="No buffer space") as raised:
        await channel.send(b"patience")

    assert raised.value.errno == errno.ENOBUFS
    assert 5 <= port.attempts <= 10
    with pytest.raises(OSError, match="No buffer space"):
        channel.send_nowait(b"no patience")
    assert channel.stats().tx_refused == 2


async def test_a_sender_without_pause_gives_others_their_turn() -> None:
    with pair() as (channel, far), anyio.fail_after(5):
        turns = 0

        async def watching() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watching)
            for _ in range(640):
                await channel.send(b"x")
                far.recv(10)
            tasks.cancel_scope.cancel()

        assert turns >= 5
