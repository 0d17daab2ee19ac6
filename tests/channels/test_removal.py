"""The end of an interface, heard of by sockets to which the kernel says nothing of it."""

import asyncio
import errno
import inspect
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import Channel, LinkDownError, testing
from aioprocket.channels import removal
from aioprocket.readiness import checkpoint
from lab.must import require
from sandbox import links
from sandbox.namespaces import new_network

pytestmark = pytest.mark.netns

PORT = 6000
ADDRESS = "10.88.0.1"
PATIENCE = 60.0

Ways = dict[str, Callable[[Channel], Awaitable[object]]]


async def _last_of(packets: AsyncIterator[object]) -> None:
    async for _ in packets:
        pass


WAYS: Ways = {
    "receive": lambda channel: channel.receive(),
    "iteration": lambda channel: _last_of(aiter(channel)),
    "batches": lambda channel: _last_of(channel.batches()),
    "serve": lambda channel: channel.serve(lambda packet: None),
    "recvmsg": lambda channel: channel.recvmsg(100),
}


class Cable:
    """An interface nvd, at whose other end is a host."""

    def __init__(self, sender: socket.socket) -> None:
        self._sender = sender

    def remove(self) -> None:
        links.delete_link("nvd")

    def send(self, data: bytes) -> None:
        self._sender.sendto(data, (ADDRESS, PORT))


@contextmanager
def cable() -> Iterator[Cable]:
    with new_network() as other:
        links.add_veth("nvd", "nve", peer_namespace=other.fd)
        _plug("nvd", ADDRESS)
        with other.entered():
            _plug("nve", "10.88.0.2")
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            yield Cable(sender)
        finally:
            sender.close()
            with suppress(OSError):
                links.delete_link("nvd")


def _plug(name: str, address: str) -> None:
    links.disable_ipv6(name)
    links.add_address(name, f"{address}/24")
    links.set_up(name)


@asynccontextmanager
async def removed_while(
    wait: Callable[[], Awaitable[object]], remove: Callable[[], object]
) -> AsyncIterator[BaseException | None]:
    """What a task that waits raises when the interface is taken away."""
    raised: list[BaseException] = []

    async def waiting() -> None:
        try:
            with anyio.fail_after(PATIENCE):
                await wait()
        except (OSError, TimeoutError) as error:
            raised.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(waiting)
        await anyio.wait_all_tasks_blocked()
        done = remove()
        if inspect.isawaitable(done):
            await done
    yield raised[0] if raised else None


def opened(kind: str) -> Any:
    if kind == "udp":
        return aioprocket.open(PORT, protocol="udp", interface="nvd")
    return aioprocket.open_icmp(type="raw", interface="nvd")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["udp", "icmp"])
@pytest.mark.parametrize("way", WAYS)
async def test_who_waits_hears_that_the_interface_was_removed(kind: str, way: str) -> None:
    with cable() as line:
        async with opened(kind) as channel:
            async with removed_while(lambda: WAYS[way](channel), line.remove) as error:
                assert isinstance(error, LinkDownError)
                assert (error.errno, error.interface) == (errno.ENODEV, "nvd")

            links.add_veth("nvd", "nvf")  # another one, under the name of the first
            with pytest.raises(LinkDownError):
                channel.receive_nowait()
            assert channel.stats().link_down == 1


@pytest.mark.anyio
async def test_who_has_received_already_hears_of_it_too() -> None:
    with cable() as line:
        async with opened("udp") as channel:
            packets = aiter(channel)

            async def next_two() -> None:
                await anext(packets)
                await anext(packets)

            async def second() -> None:
                # By the second wait the loop goes on with the task within its call.
                line.send(b"one")
                await next_two()

            async with removed_while(second, line.remove) as error:
                assert isinstance(error, LinkDownError)


@pytest.mark.anyio
async def test_what_came_before_the_removal_is_delivered_first() -> None:
    with cable() as line:
        async with opened("udp") as channel:
            line.send(b"0")
            await _queued(channel, 1)
            one = channel.stats().rx_queued
            line.send(b"1")
            line.send(b"2")
            await _queued(channel, 3 * one)
            line.remove()

            received = [bytes(await channel.receive()) for _ in range(3)]
            with pytest.raises(LinkDownError), anyio.fail_after(PATIENCE):
                await channel.receive()

    assert received == [b"0", b"1", b"2"]


async def _queued(channel: Channel, size: int) -> None:
    with anyio.fail_after(PATIENCE):
        while channel.stats().rx_queued < size:
            await checkpoint()


@pytest.mark.anyio
async def test_an_interface_that_is_down_for_a_while_is_no_end() -> None:
    with cable() as line:
        async with opened("udp") as channel:
            got: list[bytes] = []

            async def receive() -> None:
                with anyio.fail_after(PATIENCE):
                    got.append(bytes(await channel.receive()))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                links.set_down("nvd")
                await anyio.sleep(1.2)  # the link is looked at twice
                links.set_up("nvd")
                line.send(b"up")

    assert got == [b"up"]


class Told(asyncio.DatagramProtocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@pytest.mark.asyncio
async def test_a_protocol_is_told_as_that_of_a_packet_socket_is() -> None:
    async def told(door: Any, remove: Callable[[], None]) -> tuple[list[type], type]:
        _, protocol = await aioprocket.create_endpoint(Told, door)
        remove()
        end = await asyncio.wait_for(protocol.lost, PATIENCE)
        return [type(error) for error in protocol.errors], type(end)

    with cable() as line:
        datagrams = await told(opened("udp"), line.remove)
    with cable() as line:
        frames = await told(aioprocket.open_packet("nvd"), line.remove)

    assert datagrams == frames == ([LinkDownError], LinkDownError)


@pytest.mark.anyio
async def test_the_interface_is_that_of_the_sockets_network() -> None:
    # What of this network has that index or name does not matter.
    with testing.network() as (near, _):
        door = aioprocket.open(PORT, protocol="udp", interface="eth0", helper=near.helper)
        async with door as channel:
            ip = [require("ip"), "link", "delete", near.interface]

            async def delete() -> None:
                await anyio.run_process(near.command(*ip))

            async with removed_while(channel.receive, delete) as error:
                assert isinstance(error, LinkDownError)


@pytest.mark.asyncio
async def test_channels_that_wait_are_looked_at_twice_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[object] = []
    is_over = removal._is_over

    def counted(channel: Any) -> bool:
        looked.append(channel)
        return is_over(channel)

    monkeypatch.setattr(removal, "_is_over", counted)
    with cable():
        async with opened("udp") as one, opened("icmp") as other:
            waiting = [asyncio.ensure_future(each.receive()) for each in (one, other)]
            began = time.monotonic()
            while len(looked) < 6:  # noqa: ASYNC110 (nobody could set an event)
                await asyncio.sleep(0.05)
            took = time.monotonic() - began
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    assert set(looked) == {one, other}
    assert took > 2 * removal.LINK_CHECK  # a busy machine makes it more
