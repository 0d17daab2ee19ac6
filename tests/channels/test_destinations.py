"""Sending looks no name up: that would block the loop for as long as the name servers take."""

import socket
from typing import Any

import pytest

import aioprocket
from aioprocket import Channel, ChannelError, SpecError

pytestmark = [pytest.mark.netns, pytest.mark.anyio]


def open_udp(family: int) -> Channel:
    return Channel.from_fd(socket.socket(family, socket.SOCK_DGRAM))


@pytest.mark.parametrize(
    ("family", "host"),
    [
        (socket.AF_INET, "localhost"),
        (socket.AF_INET, b"localhost"),
        (socket.AF_INET, "bad\0name"),
        (socket.AF_INET, "a" * 70),
        (socket.AF_INET6, "localhost"),
        (socket.AF_INET6, "<broadcast>"),
        (socket.AF_INET6, "fe80::1%nope0"),
    ],
)
async def test_what_would_be_looked_up_is_refused_by_every_send(family: int, host: Any) -> None:
    address = (host, 9)
    async with open_udp(family) as channel:
        for _ in range(2):
            with pytest.raises(SpecError, match="not looked up") as raised:
                await channel.sendto(b"x", address)
            assert "getaddrinfo" in raised.value.hint
        with pytest.raises(SpecError, match="not looked up"):
            channel.send_nowait(b"x", address)
        with pytest.raises(SpecError, match="not looked up"):
            await channel.send_batch([(b"x", address)])
        with pytest.raises(SpecError, match="not looked up"):
            await channel.sendmsg([b"x"], address=address)

        assert channel.stats().tx_packets == 0


@pytest.mark.parametrize(
    ("family", "host", "version"),
    [(socket.AF_INET, "::1", "IPv4"), (socket.AF_INET6, "127.0.0.1", "IPv6")],
)
async def test_an_address_of_the_other_family_is_not_taken_for_a_name(
    family: int, host: str, version: str
) -> None:
    async with open_udp(family) as channel:
        with pytest.raises(SpecError, match=f"the socket is one of {version}") as raised:
            await channel.sendto(b"x", (host, 9))

        assert "getaddrinfo" not in raised.value.hint


@pytest.mark.parametrize(
    ("family", "hosts"),
    [
        (socket.AF_INET, ["127.0.0.1", b"127.0.0.1", bytearray(b"127.0.0.1"), "127.1", ""]),
        (socket.AF_INET6, ["::1", b"::1", "::1%1", ""]),
    ],
)
async def test_addresses_in_any_form_are_sent_to(family: int, hosts: list[Any]) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as far:
        far.bind(("", 0))
        async with open_udp(family) as channel:
            for host in hosts * 2:
                await channel.sendto(b"x", (host, far.getsockname()[1]))
                assert far.recv(10, socket.MSG_DONTWAIT) == b"x"


async def test_an_address_that_changes_in_place_is_checked_again() -> None:
    host = bytearray(b"127.0.0.1")
    async with open_udp(socket.AF_INET) as channel:
        await channel.sendto(b"x", (host, 9))
        host[:] = b"localhost"

        with pytest.raises(SpecError, match="not looked up"):
            await channel.sendto(b"x", (host, 9))


async def test_broadcast_has_a_name() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    async with Channel.from_fd(sock) as channel:
        with pytest.raises(OSError, match=r"unreachable|Permission") as raised:
            await channel.sendto(b"x", ("<broadcast>", 9))

        assert not isinstance(raised.value, SpecError)


async def test_broadcasts_are_for_who_asked_for_them() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("", 0))
        everybody = ("127.255.255.255", far.getsockname()[1])
        async with aioprocket.open(0, protocol="udp") as channel:
            with pytest.raises(PermissionError) as raised:
                await channel.sendto(b"x", everybody)
            assert "broadcast=True" in str(getattr(raised.value, "hint", ""))
        async with aioprocket.open(0, protocol="udp", broadcast=True) as channel:
            await channel.sendto(b"to all", everybody)

        assert far.recv(10, socket.MSG_DONTWAIT) == b"to all"


async def test_a_datagram_that_no_mtu_would_carry_is_told_its_limit() -> None:
    async with aioprocket.open(0, protocol="udp") as channel:
        await channel.sendto(bytes(65_507), ("127.0.0.1", 9))
        with pytest.raises(ChannelError) as raised:
            await channel.sendto(bytes(65_508), ("127.0.0.1", 9))

        assert "65,507 bytes at most" in raised.value.hint


async def test_what_is_no_address_is_the_socket_modules_to_refuse() -> None:
    async with open_udp(socket.AF_INET) as channel:
        for wrong in ("127.0.0.1", (), (7, 9), ("127.0.0.1",)):
            with pytest.raises(TypeError):
                await channel.sendto(b"x", wrong)
