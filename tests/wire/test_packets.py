"""The codecs on whole packets that other tools made."""

import dataclasses
from itertools import groupby
from typing import Any

import pytest

import golden
from aioprocket.wire.arp import ArpPacket
from aioprocket.wire.ethernet import EthernetHeader
from aioprocket.wire.icmp import Echo, IcmpError
from aioprocket.wire.ip import IPv4Header, IPv6Header, skip_extensions
from aioprocket.wire.udp import UdpHeader
from golden import Golden

CODECS: dict[str, Any] = {
    "ethernet": EthernetHeader.parse,
    "arp": ArpPacket.parse,
    "ipv4": IPv4Header.parse,
    "ipv6": IPv6Header.parse,
    "udp": UdpHeader.parse,
    "echo4": Echo.parse,
    "echo6": lambda data: Echo.parse(data, 6),
    "icmp4_error": IcmpError.parse,
    "icmp6_error": lambda data: IcmpError.parse(data, 6),
}


@pytest.mark.parametrize("packet", golden.good("packets"), ids=golden.name_of)
def test_packet_of_another_tool_is_read(packet: Golden) -> None:
    values, payload = parse(packet)

    assert [fields_of(value) for value in values] == expected(packet)
    assert payload.hex() == dict(packet.meaning).get("payload", "")


@pytest.mark.parametrize("packet", golden.good("packets"), ids=golden.name_of)
def test_view_of_a_packet_is_read_without_a_copy(packet: Golden) -> None:
    view = Golden(packet.name, packet.meaning, memoryview(packet.data))  # type: ignore[arg-type]

    values, payload = parse(view)

    assert values == parse(packet)[0]
    assert isinstance(payload, memoryview)
    assert payload.obj is packet.data


@pytest.mark.parametrize(
    "packet",
    [
        packet
        for packet in golden.good("packets")
        # Extension headers are skipped, not written.
        if not any(key.startswith("extensions.") for key, _ in packet.meaning)
    ],
    ids=golden.name_of,
)
def test_packet_of_another_tool_is_written_byte_for_byte(packet: Golden) -> None:
    payload = packet.data
    chain: list[Any] = []
    for name in headers(packet):
        value, payload = CODECS[name](payload)
        chain.append(value)
        # What an error quotes need not be whole, nor right in its checksums.
        if isinstance(value, IcmpError):
            break

    assert emit(chain, payload) == packet.data


def emit(chain: list[Any], payload: bytes) -> bytes:
    """The headers around the payload, from the innermost outwards."""
    data = payload
    for number in range(len(chain) - 1, -1, -1):
        value, outer = chain[number], chain[number - 1] if number else None
        covers_addresses = isinstance(value, UdpHeader) or isinstance(outer, IPv6Header)
        if isinstance(value, ArpPacket):
            data = value.emit() + data
        elif covers_addresses:
            assert outer is not None
            data = value.emit(data, source=outer.source, destination=outer.destination)
        else:
            data = value.emit(data)
    return data


def headers(packet: Golden) -> list[str]:
    keys = [key for key, _ in packet.meaning if key != "payload"]
    return [name for name, _ in groupby(keys, key=lambda key: key.partition(".")[0])]


def parse(packet: Golden) -> tuple[list[Any], bytes]:
    payload = packet.data
    values: list[Any] = []
    for name in headers(packet):
        if name == "extensions":
            protocol, payload = skip_extensions(values[-1].next_header, payload)
            values.append(protocol)
        else:
            value, payload = CODECS[name](payload)
            values.append(value)
    return values, payload


def fields_of(value: Any) -> dict[str, str]:
    """The fields that differ from their defaults, as text."""
    if isinstance(value, int):
        return {"protocol": str(value)}
    return {
        field.name: str(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    }


def expected(packet: Golden) -> list[dict[str, str]]:
    lines = [(*key.partition("."), text) for key, text in packet.meaning if key != "payload"]
    return [
        {field: text for _, _, field, text in group}
        for _, group in groupby(lines, key=lambda line: line[0])
    ]
