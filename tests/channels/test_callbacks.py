"""What a callback changes in the midst of a delivery: the protocol, the count of packets."""

from collections.abc import Callable
from typing import Any

import pytest

from aioprocket import Packet, RawProtocol, create_endpoint
from channels.protocols import ended
from channels.rig import cable, number
from channels.ring_rig import arrived
from contract import Recorder, until

pytestmark = [pytest.mark.netns]

KINDS: dict[str, dict[str, Any]] = {
    "ring": {"ring": True},
    "frames": {"ring": True, "latency": "low"},
    "queue": {},
}
METHODS = ("packets_received", "packet_received", "datagram_received")


def noting(method: str, note: Callable[[list[int]], None]) -> RawProtocol:
    """A protocol whose one method that receives notes the numbers that it gets."""

    def received(self: RawProtocol, data: Any, addr: Any = None) -> None:
        note([number(each) for each in data] if method == "packets_received" else [number(data)])

    protocol: RawProtocol = type("Noting", (RawProtocol,), {method: received})()
    return protocol


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", METHODS)
@pytest.mark.parametrize("after", METHODS)
async def test_a_protocol_that_takes_over_in_a_callback_gets_all_that_follows(
    veth: tuple[str, str], kind: str, before: str, after: str
) -> None:
    with cable(veth, **KINDS[kind]) as wire:
        old: list[int] = []
        new: list[int] = []

        def hand_over(numbers: list[int]) -> None:
            old.extend(numbers)
            transport.set_protocol(noting(after, new.extend))

        transport, _ = await create_endpoint(
            lambda: noting(before, hand_over), wire.channel, active=False
        )
        for first in range(0, 40, 10):
            wire.send(*range(first, first + 10))
            if kind == "ring":
                arrived(wire.channel)  # a block each
        transport.set_active(True)
        await until(lambda: old)
        wire.send(*range(40, 50))
        await until(lambda: len(old) + len(new) == 50)
        await ended(transport)

        assert old + new == list(range(50))
        assert len(old) == 1 or before == "packets_received"
        assert len(old) <= 10 or kind != "ring"


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
async def test_each_count_that_is_used_up_is_told_of(
    veth: tuple[str, str], kind: str, method: str
) -> None:
    with cable(veth, **KINDS[kind]) as wire:
        calls: list[int | str] = []

        def count_anew(numbers: list[int]) -> None:
            calls.extend(numbers)
            if numbers[-1] % 2 and numbers[-1] < 19:
                transport.set_active(2)

        protocol = noting(method, count_anew)
        protocol.passive = lambda: calls.append("passive")  # type: ignore[method-assign]
        transport, _ = await create_endpoint(lambda: protocol, wire.channel, active=False)
        wire.send(*range(30))
        transport.set_active(2)
        await until(lambda: calls.count("passive") == 10)
        active = transport.active
        await ended(transport)

        pairs = [[first, first + 1, "passive"] for first in range(0, 20, 2)]
        assert calls == [call for pair in pairs for call in pair]
        assert active is False


@pytest.mark.asyncio
async def test_a_count_that_is_used_up_is_told_of_after_two_other_modes(
    veth: tuple[str, str],
) -> None:
    with cable(veth) as wire:
        transport, protocol = await create_endpoint(Recorder, wire.channel, active=1)

        def change(packet: Packet) -> None:
            transport.set_active(7)
            transport.set_active(True)

        protocol.on_packet = change
        wire.send(0)
        await until(lambda: "passive" in protocol.calls)
        active = transport.active
        await ended(transport)

        assert active is True
