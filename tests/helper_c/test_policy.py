"""The policy that is built in: who gets what where there is no policy file."""

import ipaddress

import pytest

import golden
from aioprocket.names import IP_PROTOCOLS
from aioprocket.wire.kinds import Kind
from aioprocket.wire.message import Op
from aioprocket.wire.reply import Reason
from aioprocket.wire.request import Request, encode_request
from helper_c.decoder import Decoder

ALLOWED = 0
MIB = 1 << 20
PRIVILEGED = ["setuid", "capabilities", "sudo"]


def tun(*addresses: str, namespace: bool = False) -> Request:
    wanted = tuple(ipaddress.ip_interface(address) for address in addresses)
    return Request(op=Op.OPEN, kind=Kind.TUN, addresses=wanted, namespace=namespace)


ICMP, IGMP, ICMPV6 = (IP_PROTOCOLS[name] for name in ("icmp", "igmp", "icmpv6"))

GRANTED = [
    Request(op=Op.OPEN, kind=Kind.PACKET),
    Request(op=Op.OPEN, kind=Kind.PACKET_DGRAM, interface="eth0", lock=True),
    Request(op=Op.OPEN, kind=Kind.RAW4, protocol=ICMP),
    Request(op=Op.OPEN, kind=Kind.RAW6, protocol=ICMPV6),
    Request(op=Op.OPEN, kind=Kind.PING4),
    Request(op=Op.OPEN, kind=Kind.PING6),
    Request(op=Op.OPEN, kind=Kind.TCP4, port=1, backlog=0),
    Request(op=Op.OPEN, kind=Kind.TCP6, port=1023),
    Request(op=Op.OPEN, kind=Kind.UDP4, port=53, reuse_port=True),
    Request(op=Op.OPEN, kind=Kind.UDP6, port=547),
    Request(op=Op.OPEN, kind=Kind.TUN),
    Request(op=Op.OPEN, kind=Kind.TUN, interface="aio"),
    Request(op=Op.OPEN, kind=Kind.TAP, interface="aio7", persist=True, queues=True),
    Request(op=Op.OPEN, kind=Kind.DEVICE, device="net/tun"),
    Request(op=Op.OPEN, kind=Kind.PACKET, priority=7),
    Request(op=Op.OPEN, kind=Kind.PACKET, receive_buffer=64 * MIB, send_buffer=64 * MIB),
    Request(op=Op.OPEN, kind=Kind.PACKET, namespace=True),
    tun("198.19.255.1/15", "192.0.2.1/24", "198.51.100.1/32", "203.0.113.1/24"),
    tun("fe80::1/10", "2001:db8:ffff::1/32", "2001:2::1/48", "2001:2:0:ffff::1/64"),
    tun("8.8.8.8/0", "10.0.0.1/8", "fd00::1/64", namespace=True),
]
DENIED = [
    (Request(op=Op.OPEN, kind=Kind.RAW4, protocol=IGMP), Reason.PROTOCOL),
    (Request(op=Op.OPEN, kind=Kind.RAW4, protocol=255), Reason.PROTOCOL),
    (Request(op=Op.OPEN, kind=Kind.RAW4, protocol=ICMPV6), Reason.PROTOCOL),
    (Request(op=Op.OPEN, kind=Kind.RAW6, protocol=ICMP), Reason.PROTOCOL),
    (Request(op=Op.OPEN, kind=Kind.RAW6, protocol=0), Reason.PROTOCOL),
    (Request(op=Op.OPEN, kind=Kind.TCP4), Reason.PORT),
    (Request(op=Op.OPEN, kind=Kind.TCP6, port=1024), Reason.PORT),
    (Request(op=Op.OPEN, kind=Kind.UDP4, port=65535), Reason.PORT),
    (Request(op=Op.OPEN, kind=Kind.UDP6), Reason.PORT),
    (Request(op=Op.OPEN, kind=Kind.TUN, interface="tun0"), Reason.NAME),
    (Request(op=Op.OPEN, kind=Kind.TAP, interface="ai"), Reason.NAME),
    (Request(op=Op.OPEN, kind=Kind.TAP, interface="Aio0"), Reason.NAME),
    (Request(op=Op.OPEN, kind=Kind.DEVICE, device="mem"), Reason.DEVICE),
    (Request(op=Op.OPEN, kind=Kind.DEVICE, device="net/tun0"), Reason.DEVICE),
    (Request(op=Op.OPEN, kind=Kind.DEVICE, device="net"), Reason.DEVICE),
    (Request(op=Op.OPEN, kind=Kind.PACKET, mark=0), Reason.MARK),
    (Request(op=Op.OPEN, kind=Kind.PACKET, priority=8), Reason.PRIORITY),
    (Request(op=Op.OPEN, kind=Kind.PACKET, receive_buffer=64 * MIB + 1), Reason.BUFFER),
    (Request(op=Op.OPEN, kind=Kind.PACKET, send_buffer=64 * MIB + 1), Reason.BUFFER),
    (tun("8.8.8.8/32"), Reason.ADDRESS),
    # The gateway or the resolver of a real network may have any of these.
    (tun("10.0.0.1/32"), Reason.ADDRESS),
    (tun("172.16.0.1/32"), Reason.ADDRESS),
    (tun("192.168.1.1/32"), Reason.ADDRESS),
    (tun("100.64.0.1/32"), Reason.ADDRESS),
    (tun("169.254.169.254/32"), Reason.ADDRESS),
    (tun("127.0.0.53/32"), Reason.ADDRESS),
    (tun("fd00::1/128"), Reason.ADDRESS),
    (tun("2001:4860:4860::8888/128"), Reason.ADDRESS),
    (tun("198.18.0.1/14"), Reason.ADDRESS),
    (tun("198.20.0.1/16"), Reason.ADDRESS),
    (tun("192.0.2.1/23"), Reason.ADDRESS),
    (tun("192.0.3.1/24"), Reason.ADDRESS),
    (tun("198.18.0.1/24", "10.0.0.1/24"), Reason.ADDRESS),
    (tun("2000::1/3"), Reason.ADDRESS),
    (tun("2001:2::1/47"), Reason.ADDRESS),
    (tun("2001:2:1::1/64"), Reason.ADDRESS),
    (tun("2001:db9::1/64"), Reason.ADDRESS),
    (tun("fe80::1/9"), Reason.ADDRESS),
    (tun("fe00::1/16"), Reason.ADDRESS),
    (tun("fec0::1/64"), Reason.ADDRESS),
]
EVERY_OPEN = [message.data for message in golden.good("request") if message["op"] == "open"]


@pytest.mark.parametrize("mode", PRIVILEGED)
def test_the_built_in_set_is_granted(decoder: Decoder, mode: str) -> None:
    decisions = decoder.decide(map(encode_request, GRANTED), mode=mode)
    assert decisions == [ALLOWED] * len(GRANTED)


@pytest.mark.parametrize("mode", PRIVILEGED)
def test_all_else_is_denied_with_its_reason(decoder: Decoder, mode: str) -> None:
    decisions = decoder.decide((encode_request(request) for request, _ in DENIED), mode=mode)
    assert decisions == [int(reason) for _, reason in DENIED]


@pytest.mark.parametrize("mode", ["setuid", "capabilities"])
def test_a_helper_for_everybody_grants_nothing(decoder: Decoder, mode: str) -> None:
    decisions = decoder.decide(map(encode_request, GRANTED), mode=mode, file_for_all=True)
    assert decisions == [int(Reason.EVERYBODY)] * len(GRANTED)


def test_in_sudo_mode_the_file_may_be_for_everybody(decoder: Decoder) -> None:
    decisions = decoder.decide(map(encode_request, GRANTED), mode="sudo", file_for_all=True)
    assert decisions == [ALLOWED] * len(GRANTED)


@pytest.mark.parametrize("mode", PRIVILEGED)
def test_a_file_that_others_can_change_grants_nothing(decoder: Decoder, mode: str) -> None:
    decisions = decoder.decide(map(encode_request, GRANTED), mode=mode, file_safe=False)
    assert decisions == [int(Reason.FILE)] * len(GRANTED)


@pytest.mark.parametrize("mode", PRIVILEGED)
def test_root_may_have_everything_but_an_unlisted_device(decoder: Decoder, mode: str) -> None:
    decisions = decoder.decide(EVERY_OPEN, mode=mode, uid=0, file_safe=False, file_for_all=True)
    assert set(decisions) <= {ALLOWED, int(Reason.DEVICE)}
    assert decisions.count(ALLOWED) >= len(EVERY_OPEN) - 2


def test_a_plain_helper_leaves_it_to_the_kernel(decoder: Decoder) -> None:
    requests = [request for request, reason in DENIED if reason is not Reason.DEVICE]
    decisions = decoder.decide(
        map(encode_request, requests), mode="plain", file_safe=False, file_for_all=True
    )
    assert decisions == [ALLOWED] * len(requests)


def test_a_plain_helper_opens_no_unlisted_device_either(decoder: Decoder) -> None:
    request = Request(op=Op.OPEN, kind=Kind.DEVICE, device="kmsg")
    assert decoder.decide([encode_request(request)], mode="plain") == [int(Reason.DEVICE)]
