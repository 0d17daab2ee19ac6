"""What cannot be is refused at once, in words about the argument, and leaves nothing behind."""

import ipaddress
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import anyio
import pytest

import aioprocket
from aioprocket import pcapng, testing
from aioprocket.resolve import check_host

WRONG: list[Any] = [None, 0, 1.5, True, b"\x7f\0\0\1", object, ["127.0.0.1"]]


def _kind(value: object) -> str:
    return repr(value) if not callable(value) else "object"


async def _of(found: Awaitable[Any] | AsyncIterator[Any]) -> None:
    """What a call gives, to its end; nothing here may take long."""
    with anyio.fail_after(20):
        if isinstance(found, Awaitable):
            await found
        else:
            async for _ in found:
                break


@pytest.mark.anyio
@pytest.mark.parametrize("host", WRONG, ids=_kind)
@pytest.mark.parametrize(
    "ask",
    [
        aioprocket.ping,
        aioprocket.traceroute,
        aioprocket.mtr,
        aioprocket.path_mtu,
        aioprocket.icmp_timestamp,
        aioprocket.Pinger().ping,
        aioprocket.Pinger().echoes,
        aioprocket.Pinger().resolve,
    ],
    ids=lambda ask: ask.__qualname__,
)
async def test_a_host_is_text_or_an_address(ask: Any, host: Any) -> None:
    with pytest.raises(aioprocket.SpecError, match="neither a name nor an address"):
        await _of(ask(host))


@pytest.mark.parametrize("text", ["192.0.2.1/24", "fe80::1%lo/64"])
def test_an_address_with_its_network_is_that_address(text: str) -> None:
    address = ipaddress.ip_address(text.partition("/")[0])

    assert check_host(ipaddress.ip_interface(text)) == address


@pytest.mark.netns
@pytest.mark.anyio
async def test_an_interface_of_ipaddress_can_be_pinged() -> None:
    with testing.network() as (near, far):
        host = ipaddress.ip_interface(f"{far.address}/24")
        result = await aioprocket.ping(host, count=1, timeout=30.0, helper=near.helper)

    assert (result.address, result.received) == (host.ip, 1)


@pytest.mark.anyio
@pytest.mark.parametrize("ip", WRONG, ids=_kind)
async def test_a_neighbour_is_text_or_an_address(ip: Any) -> None:
    with pytest.raises(aioprocket.SpecError, match="is no address"):
        await aioprocket.arp(ip, interface="lo")
    with pytest.raises(aioprocket.SpecError, match="is no address"):
        await aioprocket.ndp(ip, interface="lo")


@pytest.mark.parametrize("network", [0, 1.5, True, b"\x7f\0\0\1", object], ids=_kind)
def test_a_network_to_scan_is_text_or_an_object_of_ipaddress(network: Any) -> None:
    with pytest.raises(aioprocket.SpecError, match="is no network"):
        aioprocket.scan("lo", network)


def test_a_source_of_pings_is_text_or_an_address() -> None:
    for source in (0, 1.5, True):
        with pytest.raises(aioprocket.SpecError, match="is no address"):
            aioprocket.Pinger(source=source)  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["", "no/such"])
async def test_an_empty_interface_is_not_the_one_of_the_route(name: str) -> None:
    with pytest.raises(aioprocket.AioprocketError, match="interface"):
        await aioprocket.arp("192.0.2.1", interface=name)


@pytest.mark.netns
@pytest.mark.anyio
async def test_a_reply_may_be_waited_for_as_long_as_numbers_go() -> None:
    with testing.network() as (near, far):
        result = await aioprocket.ping(
            far.address, count=1, timeout=2.0**64, interface=near.interface, helper=near.helper
        )

    assert result.received == 1


@pytest.mark.anyio
async def test_a_handler_that_cannot_be_called_is_refused_before_a_packet_comes() -> None:
    here, there = testing.pair()
    async with here, there:
        with anyio.fail_after(20), pytest.raises(TypeError, match="function to call"):
            await here.serve(None)  # type: ignore[arg-type]
        await there.send(b"a packet")
        assert (await here.receive()).data == b"a packet"


@pytest.mark.parametrize("what", [None, "3", 1.5, True, b"3", [3]], ids=_kind)
def test_only_a_descriptor_or_a_socket_is_adopted(what: Any) -> None:
    with pytest.raises(TypeError, match="a descriptor or a socket"):
        aioprocket.Channel.from_fd(what)


@pytest.mark.parametrize("file", [None, 3, b"name", object], ids=_kind)
def test_a_capture_file_is_a_path_or_can_be_read(file: Any) -> None:
    with pytest.raises(TypeError, match="a path or what has read"):
        pcapng.open(file)


@pytest.mark.netns
@pytest.mark.anyio
async def test_what_is_no_buffer_costs_no_packet_of_a_ring() -> None:
    with testing.network() as (near, far):
        async with (
            aioprocket.open_packet(near.interface, protocol=0x88B5, helper=near.helper) as reader,
            aioprocket.open_packet(far.interface, protocol=0, helper=far.helper) as writer,
        ):
            await writer.send(bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(46))
            with anyio.fail_after(20), pytest.raises(TypeError, match="bytes-like"):
                await reader.recv_into(None)  # type: ignore[arg-type]
            with anyio.fail_after(20):
                packet = await reader.receive()

    assert packet.data[12:14] == b"\x88\xb5"


@pytest.mark.netns
@pytest.mark.anyio
@pytest.mark.parametrize("timeout", [None, "1", 0, -1, float("nan")], ids=_kind)
async def test_a_timestamp_is_waited_for_some_seconds(timeout: Any) -> None:
    with testing.network() as (near, _):
        async with aioprocket.open_packet(near.interface, helper=near.helper) as channel:
            with pytest.raises(aioprocket.SpecError, match="seconds above 0"):
                await channel.send_stamped(bytes(60), timeout=timeout)
            assert channel.stats().tx_packets == 0
