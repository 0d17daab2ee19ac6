"""Sweeps by the link to hosts that lose, repeat, forge and damage: every frame is a test's own."""

import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import pytest

import aioprocket
from aioprocket import Pinger
from aioprocket._system import interfaces
from aioprocket.channels import PacketChannel
from aioprocket.wire.arp import ArpPacket, Operation
from aioprocket.wire.checksum import checksum
from aioprocket.wire.ethernet import EthernetHeader, VlanTag, mac_text
from sandbox import links

from .responder import Request

pytestmark = [pytest.mark.anyio, pytest.mark.netns, pytest.mark.usefixtures("address")]

PATIENT = 30.0
# Of nobody's interface: the kernel at the other end of the cable leaves its frames alone.
HWADDR: Final = "02:00:00:00:00:99"
NETWORK = "198.18.3."
HOSTS = [f"{NETWORK}{number}" for number in range(10, 110)]
Answer = Callable[[Request], list[bytes]]


@pytest.fixture
def address(veth: tuple[str, str]) -> None:
    links.add_address(veth[0], f"{NETWORK}1/24")


class Hosts:
    """What has been asked at the other end of the cable, and how it is answered."""

    def __init__(self, channel: PacketChannel, answer: Answer, deaf: int) -> None:
        self._channel = channel
        self.answer = answer
        self._deaf = deaf  # to so many questions about each address
        self.questions: Counter[str] = Counter()
        self.requests: list[bytes] = []

    async def run(self) -> None:
        async for packet in self._channel:
            header, rest = EthernetHeader.parse(bytes(packet))
            if header.source == HWADDR:
                continue
            if header.protocol == 0x0806:
                await self._identify(ArpPacket.parse(rest)[0])
            elif header.protocol == 0x0800 and header.destination == HWADDR:
                self.requests.append(bytes(packet))
                for answer in self.answer(Request(rest, 20)):
                    await self._channel.send(answer)

    async def _identify(self, question: ArpPacket) -> None:
        name = str(question.target_ip)
        self.questions[name] += 1
        if question.operation != Operation.REQUEST or self.questions[name] <= self._deaf:
            return
        answer = ArpPacket(
            operation=Operation.REPLY,
            sender_mac=HWADDR,
            sender_ip=question.target_ip,
            target_mac=question.sender_mac,
            target_ip=question.sender_ip,
        )
        header = EthernetHeader(destination=question.sender_mac, source=HWADDR, protocol=0x0806)
        await self._channel.send(header.emit(answer.emit()))


@asynccontextmanager
async def answering(answer: Answer, *, deaf: int = 0) -> AsyncIterator[Hosts]:
    async with (
        aioprocket.open_packet("v1", protocol="all", ring=False) as channel,
        anyio.create_task_group() as group,
    ):
        hosts = Hosts(channel, answer, deaf)
        group.start_soon(hosts.run)
        yield hosts
        group.cancel_scope.cancel()


@pytest.fixture
def near(veth: tuple[str, str]) -> str:
    """The hardware address that replies go to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return mac_text(interfaces.hardware_address(sock.fileno(), veth[0]))


def framed(near: str, packet: bytes, **more: Any) -> bytes:
    header = EthernetHeader(destination=near, source=HWADDR, protocol=0x0800, **more)
    return header.emit(packet)


async def swept(pinger: Pinger, hosts: list[str] = HOSTS, **arguments: Any) -> Counter[str]:
    arguments = {"timeout": PATIENT, **arguments}
    echoes = [echo async for echo in pinger.sweep(hosts, path="link", **arguments)]
    assert Counter(echo.host for echo in echoes) == Counter(hosts)
    return Counter(
        echo.error.kind if echo.error else "ok" if echo.ok else "lost" for echo in echoes
    )


async def test_frames_are_what_another_kernel_would_take(near: str) -> None:
    async with answering(lambda asked: [framed(near, asked.reply())]) as hosts, Pinger() as pinger:
        found = await swept(pinger)

    assert found == {"ok": 100}
    assert hosts.questions == Counter(HOSTS)
    for frame in hosts.requests:
        packet = frame[14:]
        assert frame[:14] == bytes.fromhex(HWADDR.replace(":", "") + near.replace(":", "") + "0800")
        assert len(packet) == int.from_bytes(packet[2:4], "big") == 84
        assert checksum(packet[:20]) == checksum(packet[20:]) == 0
    assert len({frame[18:20] for frame in hosts.requests}) == 100  # identification


async def test_what_is_lost_is_lost_and_nothing_else(near: str) -> None:
    def some(asked: Request) -> list[bytes]:
        return [framed(near, asked.reply())] if asked.number % 3 else []

    async with answering(some), Pinger() as pinger:
        found = await swept(pinger, timeout=2)

    lost = sum((3 << 8 | int(host.rpartition(".")[2])) % 3 == 0 for host in HOSTS)
    assert found == {"ok": 100 - lost, "lost": lost}


async def test_questions_that_are_lost_are_asked_again(near: str) -> None:
    async with (
        answering(lambda asked: [framed(near, asked.reply())], deaf=2) as hosts,
        Pinger() as pinger,
    ):
        found = await swept(pinger, HOSTS[:5], timeout=2)

    assert found == {"ok": 5}
    assert set(hosts.questions.values()) == {3}


async def test_second_replies_are_counted(near: str) -> None:
    async with (
        answering(lambda asked: [framed(near, asked.reply())] * 3),
        Pinger() as pinger,
    ):
        assert await swept(pinger) == {"ok": 100}
        # The last ones may still be on their way.
        with anyio.fail_after(PATIENT):
            while pinger.stats().duplicate < 200:
                await swept(pinger, HOSTS[:1])


def false_cookie(message: bytearray) -> None:
    message[8] ^= 1


def damaged(message: bytearray) -> None:
    message[40] ^= 1


@pytest.mark.parametrize(
    ("forge", "counter"),
    [
        (lambda asked: asked.reply(change=false_cookie), "spoofed"),
        (lambda asked: asked.reply(right=False), "corrupted"),
        (lambda asked: asked.reply(change=damaged), "corrupted"),
        (lambda asked: asked.reply(sender=asked.source), "spoofed"),
    ],
    ids=["cookie", "checksum", "contents", "sender"],
)
async def test_forged_replies_change_no_result(
    near: str, forge: Callable[[Request], bytes], counter: str
) -> None:
    def flood(asked: Request) -> list[bytes]:
        return [framed(near, forge(asked))] * 5 + [framed(near, asked.reply())]

    async with answering(flood), Pinger() as pinger:
        found = await swept(pinger)
        stats = pinger.stats()

    assert found == {"ok": 100}
    assert getattr(stats, counter) == sum(stats) == 500


def with_header(packet: bytes, change: Callable[[bytearray], None], *, right: bool) -> bytes:
    header, message = bytearray(packet[:20]), packet[20:]
    change(header)
    if right:
        header[10:12] = bytes(2)
        header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    return bytes(header) + message


def older(header: bytearray) -> None:
    header[8] -= 1


def in_parts(header: bytearray) -> None:
    header[6] |= 0x20


def longer(header: bytearray) -> None:
    header[3] += 1


# What IP throws away, the kernel's as ours, without a word.
BAD: dict[str, Callable[[str, Request], bytes]] = {
    "a header that is damaged": lambda near, asked: framed(
        near, with_header(asked.reply(), older, right=False)
    ),
    "the first of several fragments": lambda near, asked: framed(
        near, with_header(asked.reply(), in_parts, right=True)
    ),
    "less than its header says": lambda near, asked: framed(
        near, with_header(asked.reply(), longer, right=True)
    ),
    "to another station": lambda near, asked: framed("02:00:00:00:00:77", asked.reply()),
    "of a virtual network": lambda near, asked: framed(near, asked.reply(), tags=(VlanTag(id=5),)),
    "a part": lambda near, asked: framed(near, asked.reply()[:30]),
}


@pytest.mark.parametrize("bad", BAD)
async def test_what_ip_throws_away_is_no_reply(near: str, bad: str) -> None:
    """If it were one, the true reply behind it would be the second."""

    def answer(asked: Request) -> list[bytes]:
        return [BAD[bad](near, asked), framed(near, asked.reply())]

    async with answering(answer), Pinger() as pinger:
        found = await swept(pinger, HOSTS[:20])

        assert sum(pinger.stats()) == 0

    assert found == {"ok": 20}


def with_options(packet: bytes) -> bytes:
    header = bytearray(packet[:20])
    header[0] = 0x46
    header[2:4] = (len(packet) + 4).to_bytes(2, "big")
    header[10:12] = bytes(2)
    header += bytes([1, 1, 1, 0])  # no operation, end of the list: RFC 791
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    return bytes(header) + packet[20:]


@pytest.mark.parametrize("padding", [0, 7])
async def test_replies_with_options_and_padding_are_replies(near: str, padding: int) -> None:
    def answer(asked: Request) -> list[bytes]:
        return [framed(near, with_options(asked.reply())) + bytes(padding)]

    async with answering(answer), Pinger() as pinger:
        found = await swept(pinger)

    assert found == {"ok": 100}


async def test_errors_that_quote_a_probe_end_it(near: str) -> None:
    def refuse(asked: Request) -> list[bytes]:
        return [framed(near, asked.error(3, 13, 0, asked.target))]

    async with answering(refuse), Pinger() as pinger:
        found = await swept(pinger)

    assert found == {"prohibited": 100}


async def test_late_replies_are_late(near: str) -> None:
    kept: list[bytes] = []

    def keep(asked: Request) -> list[bytes]:
        kept.append(framed(near, asked.reply()))
        return []

    async with answering(keep) as hosts, Pinger() as pinger:
        assert await swept(pinger, HOSTS[:3], timeout=1) == {"lost": 3}
        hosts.answer = lambda asked: [*kept, framed(near, asked.reply())]
        assert await swept(pinger, HOSTS[3:4]) == {"ok": 1}

        assert pinger.stats().late == 3
