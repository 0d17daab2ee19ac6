"""A host's time and mask: Linux tells the one, a host that the test makes up the other."""

import ipaddress
import time

import pytest

import aioprocket
from aioprocket import SpecError
from aioprocket.wire.icmp_queries import AddressMask, Timestamp
from aioprocket.wire.ip import IPv4Header
from lab.answering import answering

pytestmark = [pytest.mark.netns, pytest.mark.anyio]

US, HOST = ipaddress.IPv4Address("10.56.0.1"), ipaddress.IPv4Address("10.56.0.9")


async def test_this_machine_tells_its_time() -> None:
    found = await aioprocket.icmp_timestamp("127.0.0.1", timeout=20)

    assert found is not None
    now = time.time_ns() // 1_000_000 % 86_400_000
    assert str(found.address) == "127.0.0.1"
    assert found.offset is not None
    assert abs(found.offset) <= found.rtt + 0.002
    assert (now - found.received) % 86_400_000 < 60_000
    assert 0 < found.rtt < 20


def host(packet: bytes) -> list[bytes]:
    """Its mask is 255.255.240.0, its clock an hour ahead."""
    try:
        _, message = IPv4Header.parse(packet)
        header = IPv4Header(source=HOST, destination=US, protocol=1)
        if message[0] == 17:
            asked, _ = AddressMask.parse(message)
            mask = AddressMask(
                identifier=asked.identifier, sequence=asked.sequence, reply=True,
                mask=ipaddress.IPv4Address("255.255.240.0"),
            )  # fmt: skip
            forged = AddressMask(
                identifier=asked.identifier ^ 1, sequence=asked.sequence, reply=True
            )
            return [header.emit(forged.emit()), header.emit(mask.emit())]
        question, _ = Timestamp.parse(message)
        ahead = (question.originate + 3_600_000) % 86_400_000
        told = Timestamp(
            identifier=question.identifier, sequence=question.sequence, reply=True,
            originate=question.originate, receive=ahead, transmit=ahead,
        )  # fmt: skip
        return [header.emit(told.emit())]
    except aioprocket.WireError:
        return []


async def test_a_host_that_is_asked_for_its_mask_tells_it() -> None:
    with answering(host, f"{US}/24"):
        mask = await aioprocket.address_mask(HOST, timeout=20)

    assert str(mask) == "255.255.240.0"


async def test_a_clock_that_is_ahead_is_said_to_be() -> None:
    with answering(host, f"{US}/24"):
        found = await aioprocket.icmp_timestamp(HOST, timeout=20)

    assert found is not None
    assert found.offset == pytest.approx(3600, abs=found.rtt + 0.002)


async def test_no_answer_is_none() -> None:
    with answering(lambda packet: [], f"{US}/24"):
        assert await aioprocket.address_mask(HOST, timeout=0.05, retries=1) is None
        assert await aioprocket.icmp_timestamp(HOST, timeout=0.05, retries=0) is None


async def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SpecError, match="timeout 0"):
        await aioprocket.icmp_timestamp("127.0.0.1", timeout=0)
    with pytest.raises(aioprocket.ResolutionError):
        await aioprocket.address_mask("::1")
