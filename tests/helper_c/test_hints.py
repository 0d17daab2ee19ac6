"""What Python predicts of the policy, for its hints, is what the policy in C decides."""

import ipaddress
import socket

import pytest

from aioprocket.helper.policy import policy_refusal
from aioprocket.spec import DeviceSpec, PacketSpec, SocketSpec, Spec, TunSpec
from aioprocket.wire.request import encode_open
from helper_c.decoder import Decoder

MIB = 1 << 20
ADDRESSES = (
    "192.0.2.1/24", "192.0.2.1/23", "198.51.100.9/32", "203.0.113.1/24", "198.18.0.1/15",
    "198.19.255.1/16", "198.20.0.1/16", "10.0.0.1/8", "10.0.0.1/32", "172.16.0.1/12",
    "192.168.1.1/24", "8.8.8.8/32", "0.0.0.1/1", "2001:db8::1/32", "2001:db8::1/31",
    "2001:2::1/48", "2001:2:1::1/48", "fe80::1/10", "fe80::1/64", "fd00::1/64", "2000::1/3",
)  # fmt: skip


def inet(type: int, protocol: int, **options: object) -> SocketSpec:
    return SocketSpec(family=socket.AF_INET, type=type, protocol=protocol, **options)  # type: ignore[arg-type]


SPECS: list[Spec] = [
    *(TunSpec(addresses=(ipaddress.ip_interface(address),)) for address in ADDRESSES),
    *(TunSpec(name=name) for name in ("", "aio", "aio1", "ai", "tun0", "xaio")),
    *(inet(socket.SOCK_RAW, protocol) for protocol in (0, 1, 2, 58, 255)),
    *(inet(socket.SOCK_STREAM, 6, port=port) for port in (0, 1, 1023, 1024, 65535)),
    *(inet(socket.SOCK_DGRAM, 17, port=port) for port in (0, 53, 1023, 1024)),
    inet(socket.SOCK_DGRAM, 1),
    inet(socket.SOCK_DGRAM, 17, port=53, mark=1),
    *(PacketSpec(receive_buffer=size) for size in (1, 64 * MIB, 64 * MIB + 1)),
    *(PacketSpec(send_buffer=size) for size in (64 * MIB, 64 * MIB + 1)),
    *(PacketSpec(priority=priority) for priority in (0, 7, 8)),
    PacketSpec(mark=0),
    DeviceSpec(name="net/tun"),
    DeviceSpec(name="kmsg"),
]


def test_prediction_and_decision_are_the_same(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1000)

    predicted = [int(policy_refusal(spec) or 0) for spec in SPECS]

    assert predicted == decoder.decide(encode_open(spec, 1) for spec in SPECS)
