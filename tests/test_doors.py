"""The doors: arguments, both ways of entering, and what a cancelled or failed one leaves behind."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aioprocket
from aioprocket.wire.icmp import Echo

pytestmark = pytest.mark.netns


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: aioprocket.open(70000), "70000"),
        (lambda: aioprocket.open(-1), "-1"),
        (lambda: aioprocket.open(53, protocol="dns"), "dns"),
        (lambda: aioprocket.open(53, type="datagram"), "datagram"),
        (lambda: aioprocket.open(53, family="inet7"), "inet7"),
        (lambda: aioprocket.open(53, ip="localhost"), "localhost"),
        (lambda: aioprocket.open(53, ip="::1", family="inet"), "::1"),
        (lambda: aioprocket.open(53, ip="fe80::1"), "fe80::1"),
        (lambda: aioprocket.open(53, ip="fe80::1%eth0", interface="eth1"), "eth1"),
        (lambda: aioprocket.open(53, protocol="icmp"), "53"),
        (lambda: aioprocket.open(protocol="udp", backlog=5), "backlog"),
        (lambda: aioprocket.open(family="packet"), "tcp"),
        (lambda: aioprocket.open(80, family="packet", protocol="all"), "port"),
        (lambda: aioprocket.open(53, interface="a" * 16), "a" * 16),
        (lambda: aioprocket.open(53, interface="eth\x000"), "eth"),
        (lambda: aioprocket.open(53, namespace="pid:0"), "pid:0"),
        (lambda: aioprocket.open(device="../mem"), "../mem"),
        (lambda: aioprocket.open_packet("eth0", type="stream"), "stream"),
        (lambda: aioprocket.open_packet("eth0", snaplen=0), "0"),
        (lambda: aioprocket.open_packet(promiscuous=True), "promiscuous"),
        (lambda: aioprocket.open_icmp("packet"), "packet"),
        (lambda: aioprocket.open_tun("aio/0"), "aio/0"),
        (lambda: aioprocket.open_tun(queues=0), "0"),
        (lambda: aioprocket.open_tun(addresses=["10.0.0.300/8"]), "10.0.0.300"),
        (lambda: aioprocket.open_tun(mtu=10), "10"),
        (lambda: aioprocket.open_device("/dev/null"), "/dev/null"),
        (lambda: aioprocket.open(80, device="null"), "null"),
        (lambda: aioprocket.open(device="null", filter=aioprocket.bpf.accept_all), "stream"),
        (lambda: aioprocket.open(80, type="dgram"), "dgram"),
        (lambda: aioprocket.open(80, protocol="udp", type="stream"), "stream"),
        (lambda: aioprocket.open_icmp(type="stream"), "stream"),
        (lambda: aioprocket.open_icmp([]), "[]"),  # type: ignore[arg-type]
        (lambda: aioprocket.open(53, ip=1), "1"),  # type: ignore[arg-type]
        (lambda: aioprocket.open(53, timeout=0), "timeout"),
        (lambda: aioprocket.open(53, helper=""), "helper"),
        (lambda: aioprocket.open_icmp(helper="unix:"), "path"),
        (lambda: aioprocket.open_tun(helper=[]), "helper"),
        (lambda: aioprocket.open_packet("lo", lock_filter=0), "lock_filter"),  # type: ignore[arg-type]
        (lambda: aioprocket.open_tun(persist=0), "persist"),  # type: ignore[arg-type]
        (lambda: aioprocket.open(53, timeout=float("nan")), "nan"),
        (lambda: aioprocket.open_packet("lo", timeout="x"), "x"),  # type: ignore[arg-type]
        (lambda: aioprocket.open_packet("lo", read_packets=0), "read_packets"),
        (lambda: aioprocket.open_tun(addresses="10.0.0.1/24"), "10.0.0.1/24"),
        (lambda: aioprocket.open_tun(addresses=["10.0.0.1"]), "10.0.0.1"),
        (lambda: aioprocket.open_tun(addresses=[5]), "5"),  # type: ignore[list-item]
        (lambda: aioprocket.open_tun(addresses=["224.0.0.1/24"]), "224.0.0.1"),
    ],
)
def test_bad_argument_is_refused_at_the_call_and_named(
    call: Callable[[], object], names: str
) -> None:
    with pytest.raises(aioprocket.SpecError) as caught:
        call()

    assert names in str(caught.value)


@pytest.mark.parametrize(
    "program", [[], [(6, 0, 0)], [(6, 0, 0, 1 << 32)], [(0xFF, 0, 0, 0)], [(6, 0, 0, 0)] * 4097]
)
def test_bad_filter_is_a_filter_error(program: list[tuple[int, ...]]) -> None:
    with pytest.raises(aioprocket.FilterError):
        aioprocket.open_packet("lo", filter=program)


@pytest.mark.anyio
async def test_door_can_be_awaited_or_entered() -> None:
    channel = await aioprocket.open(protocol="udp", ip="127.0.0.1")
    number = channel.fileno()
    await channel.aclose()
    async with aioprocket.open(protocol="udp", ip="127.0.0.1") as again:
        assert again.fileno() >= 0

    assert number >= 0
    assert channel.fileno() == -1
    assert again.fileno() == -1


@pytest.mark.anyio
async def test_entered_door_is_not_entered_again_and_keeps_its_channel() -> None:
    door = aioprocket.open(protocol="udp", ip="127.0.0.1")
    async with door as channel:
        with pytest.raises(aioprocket.BusyError):
            async with door:
                pass
        assert channel.fileno() >= 0
    async with door as again:
        assert again.fileno() >= 0


@pytest.mark.anyio
async def test_unknown_interface_is_an_open_error_that_names_those_there_are() -> None:
    with pytest.raises(aioprocket.OpenError) as caught:
        await aioprocket.open_packet("nosuchif0")

    assert caught.value.step == "interface"
    assert "nosuchif0" in str(caught.value)
    assert "lo" in str(caught.value) + caught.value.hint


@pytest.mark.anyio
async def test_namespace_that_does_not_exist_or_is_another_kind_of_file_is_told(
    tmp_path: Path,
) -> None:
    with pytest.raises(aioprocket.OpenError) as missing:
        await aioprocket.open_packet("lo", namespace="no-such-namespace")
    with pytest.raises(aioprocket.OpenError) as other:
        await aioprocket.open_packet("lo", namespace="/etc/passwd")

    assert missing.value.step == other.value.step == "namespace"
    assert "no-such-namespace" in str(missing.value)
    assert "/etc/passwd" in str(other.value)


@pytest.mark.anyio
async def test_address_in_use_is_an_open_error_of_step_bind() -> None:
    async with aioprocket.open(protocol="udp", ip="127.0.0.1") as first:
        port = first.get_extra_info("sockname")[1]
        with pytest.raises(aioprocket.OpenError) as caught:
            await aioprocket.open(port, protocol="udp", ip="127.0.0.1")

    assert caught.value.step == "bind"
    assert str(port) in str(caught.value)


@pytest.mark.anyio
@pytest.mark.usefixtures("ping_sockets")
async def test_icmp_channel_shows_the_same_message_by_raw_and_by_ping_socket() -> None:
    seen = {}
    for kind in ("dgram", "raw"):
        async with aioprocket.open_icmp(type=kind) as channel:
            request = Echo(identifier=channel.identifier, sequence=7)
            await channel.sendto(request.emit(b"same"), ("127.0.0.1", 0))
            while True:
                data, addr, *_ = await channel.receive()
                echo, payload = Echo.parse(data)
                if echo.reply:
                    break
            seen[kind] = (echo.sequence, payload, addr[0])

    assert seen["dgram"] == seen["raw"] == (7, b"same", "127.0.0.1")


@pytest.mark.asyncio
async def test_hundred_cancelled_doors_leave_no_descriptor() -> None:
    before = open_descriptors()

    for turn in range(100):
        task = asyncio.ensure_future(_opened())
        for _ in range(turn % 5):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await task).close()

    assert open_descriptors() == before


async def _opened() -> aioprocket.Channel:
    return await aioprocket.open(protocol="udp", ip="127.0.0.1")


@pytest.mark.asyncio
async def test_create_endpoint_opens_the_door_and_the_transport_owns_the_channel() -> None:
    got = asyncio.get_running_loop().create_future()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            got.set_result((data, addr))

    transport, _ = await aioprocket.create_endpoint(
        Receiver, aioprocket.open(protocol="udp", ip="127.0.0.1")
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", transport.get_extra_info("sockname"))
        data, addr = await got
        assert addr == (*sender.getsockname(),) or addr[1] == sender.getsockname()[1]
    transport.close()
    await asyncio.sleep(0)

    assert data == b"hello"


@pytest.mark.asyncio
async def test_low_tcp_port_feeds_the_standard_librarys_server() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    channel = await aioprocket.open(79, protocol="tcp", ip="127.0.0.1", backlog=5)
    server = await asyncio.start_server(greet, sock=channel.to_socket())
    reader, writer = await asyncio.open_connection("127.0.0.1", 79)
    writer.write(b"finger\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()

    assert answer == b"finger\n"
    assert channel.fileno() == -1


@pytest.mark.asyncio
async def test_low_udp_port_feeds_the_loops_own_datagram_endpoint() -> None:
    got = asyncio.get_running_loop().create_future()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            got.set_result(data)

    channel = await aioprocket.open(69, protocol="udp", ip="127.0.0.1")
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Receiver, sock=channel.to_socket()
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"read me", ("127.0.0.1", 69))
        data = await got
    transport.close()
    await asyncio.sleep(0)

    assert data == b"read me"


async def each(packets: Any) -> None:
    async for _ in packets:
        pass


async def opened(door: Any) -> None:
    await door


def entered(channel: Any) -> None:
    with channel:
        pass


def test_a_door_that_is_taken_for_its_channel_says_how_to_open_it() -> None:
    door: Any = aioprocket.open_packet(helper="/nonexistent/helper")
    with pytest.raises(AttributeError, match="no 'receive': channel = await door"):
        door.receive()
    for misuse in (entered, list, lambda door: asyncio.run(each(door))):
        with pytest.raises(TypeError, match="channel = await door, or async with door"):
            misuse(door)
    with pytest.raises(aioprocket.HelperNotFoundError):
        asyncio.run(opened(door))
