"""What rules grant and impose, tried by an account without privilege at the setuid helper."""

import ctypes
import os
import select
import socket
import struct
from pathlib import Path
from typing import Final

import pytest

from helper_client import DROP, Kind, Reason, Session, Stage, open_request
from lab.policies import ACCOUNT, Asked, Policy, answers, system_log
from lab.traffic import frame

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

LOOPBACK: Final = socket.inet_aton("127.0.0.1")
# asm-generic/socket.h
SO_LOCK_FILTER: Final = 44
SO_BINDTOIFINDEX: Final = 62
SO_MARK: Final = 36
ETH_P_ALL: Final = 3
ACCEPT: Final = (0x06, 0, 0, 0x40000)
PATIENCE: Final = 20.0


def disconnect(sock: socket.socket) -> None:
    """connect(2) to AF_UNSPEC, which Python cannot say."""
    address = struct.pack("=H14x", socket.AF_UNSPEC)
    assert ctypes.CDLL(None).connect(sock.fileno(), address, len(address)) == 0


def bind_to_all(sock: socket.socket) -> None:
    """bind(2) to ifindex 0, which Python cannot say: struct sockaddr_ll, packet(7)."""
    address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(ETH_P_ALL), 0, 0, 0, 0)
    assert ctypes.CDLL(None).bind(sock.fileno(), address, len(address)) == 0


def option(sock: socket.socket, name: int) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, name)


def receive(sock: socket.socket) -> bytes:
    assert select.select([sock], [], [], PATIENCE)[0], "nothing came"
    return sock.recv(2048)


@pytest.mark.hostile(38)
@pytest.mark.hostile(40)
def test_only_what_a_rule_says_is_granted(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} icmp", f"uid={ACCOUNT} tcp port=80,8000-8001 addr=127.0.0.0/8")
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")

    assert asked(
        answers(
            (Kind.RAW4, {"protocol": 1}),
            (Kind.RAW4, {"protocol": 2}),
            (Kind.RAW6, {"protocol": 58}),
            (Kind.TCP4, {"port": 8001, "address": LOOPBACK}),
            (Kind.TCP4, {"port": 8002, "address": LOOPBACK}),
            (Kind.TCP4, {"port": 80}),
            (Kind.TCP4, {"port": 80, "address": socket.inet_aton("10.0.0.1")}),
            (Kind.TCP6, {"port": 80, "address": mapped}),
            (Kind.TCP4, {"port": 80, "address": LOOPBACK, "mark": 1}),
            (Kind.PACKET, {}),
        )
    ) == [
        0, Reason.PROTOCOL, Reason.KIND, 0, Reason.PORT, Reason.ADDRESS, Reason.ADDRESS,
        Reason.ADDRESS, Reason.MARK, Reason.KIND,
    ]  # fmt: skip


@pytest.mark.hostile(57)
def test_options_beyond_a_rule_are_refused_and_never_clamped(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} packet mark=16-31 buffer=1M priority=7")

    assert asked(
        answers(
            (Kind.PACKET, {"mark": 31, "receive_buffer": 1 << 20, "priority": 7}),
            (Kind.PACKET, {"mark": 32}),
            (Kind.PACKET, {"receive_buffer": (1 << 20) + 1}),
            (Kind.PACKET, {"send_buffer": 0x3FFFFFFF}),
            (Kind.PACKET, {"priority": 8}),
        )
    ) == [0, Reason.MARK, Reason.BUFFER, Reason.BUFFER, Reason.PRIORITY]


def test_the_options_that_a_rule_grants_are_set(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} udp port=53 mark=0x10")

    def mark(helper: Session) -> int:
        with helper.granted_socket(Kind.UDP4, port=53, mark=16) as opened:
            return option(opened, SO_MARK)

    assert asked(mark) == 16


@pytest.mark.hostile(41)
@pytest.mark.hostile(52)
def test_a_packet_socket_of_one_interface_reads_no_other_however_it_is_bound(
    policy: Policy, asked: Asked, veth: tuple[str, str]
) -> None:
    policy(f"uid={ACCOUNT} packet if={veth[0]}")
    ours = socket.if_nametoindex(veth[0])

    def seen(helper: Session) -> list[tuple[bytes, int]]:
        with (
            helper.granted_socket(Kind.PACKET) as opened,  # no interface was asked for
            helper.granted_socket(Kind.PACKET, interface=veth[0]) as sender,
        ):
            opened.bind((veth[1], ETH_P_ALL))
            bind_to_all(opened)
            for number, ifname in enumerate((*veth, *veth)):
                sender.sendto(frame(number), (ifname, 0))
            found: list[tuple[bytes, int]] = []
            while not found or found[-1][0] != frame(3):
                assert select.select([opened], [], [], PATIENCE)[0]
                data, (ifname, *_) = opened.recvfrom(2048)
                found.append((data, socket.if_nametoindex(ifname)))
            return found

    # Each once, though both ends of the cable are in this network.
    assert asked(seen) == [(frame(number), ours) for number in range(4)]


def test_another_interface_than_the_rules_is_refused(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} packet icmp if=eth7")

    assert asked(answers((Kind.PACKET, {"interface": "lo"}))) == [Reason.INTERFACE]


@pytest.mark.hostile(45)
def test_an_interface_of_a_rule_that_is_not_there_means_no_descriptor(
    policy: Policy, asked: Asked
) -> None:
    policy(f"uid={ACCOUNT} packet if=eth7")

    assert asked(lambda helper: helper.open(Kind.PACKET).stage) is Stage.INTERFACE


@pytest.mark.hostile(51)
def test_a_packet_socket_of_one_protocol_reads_no_other(
    policy: Policy, asked: Asked, veth: tuple[str, str]
) -> None:
    policy(f"uid={ACCOUNT} packet proto=0x0806,0x88b4-0x88b5,0x9999")
    other = frame(7).replace(b"\x88\xb5", b"\x88\xb6", 1)

    def seen(helper: Session) -> tuple[bytes, int]:
        with helper.granted_socket(Kind.PACKET, filter=[ACCEPT]) as opened:
            opened.bind((veth[1], ETH_P_ALL))
            opened.sendto(other, (veth[0], 0))
            opened.sendto(frame(8), (veth[0], 0))
            with pytest.raises(PermissionError):
                opened.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER
            return receive(opened), option(opened, SO_LOCK_FILTER)

    assert asked(seen) == (frame(8), 1)


@pytest.mark.hostile(52)
def test_a_udp_port_of_one_interface_hears_no_other_after_it_was_disconnected(
    policy: Policy, asked: Asked, veth: tuple[str, str]
) -> None:
    policy(f"uid={ACCOUNT} udp port=53 if={veth[0]}", f"uid={ACCOUNT} udp port=54")
    ours = socket.if_nametoindex(veth[0])

    def heard(helper: Session) -> bytes:
        with (
            helper.granted_socket(Kind.UDP4, port=53) as opened,
            helper.granted_socket(Kind.UDP4, port=54) as control,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            assert option(opened, SO_BINDTOIFINDEX) == ours
            disconnect(opened)
            assert option(opened, SO_BINDTOIFINDEX) == 0, "the kernel has become stricter"
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            sender.sendto(b"secret", ("127.0.0.1", 53))
            sender.sendto(b"known", ("127.0.0.1", 54))
            assert receive(control) == b"known"
            with pytest.raises(BlockingIOError):
                opened.recv(100)
            return b"nothing"

    assert asked(heard) == b"nothing"


@pytest.mark.hostile(52)
def test_a_raw_socket_of_one_interface_hears_no_other_after_it_was_disconnected(
    policy: Policy, asked: Asked, veth: tuple[str, str]
) -> None:
    # What the first rule does not grant, a mark, the second does without an interface.
    policy(f"uid={ACCOUNT} icmp if={veth[0]}", f"uid={ACCOUNT} icmp mark=5")
    echo = struct.pack("!BBHHH", 8, 0, 0xF7FF - 5, 5, 0)

    def heard(helper: Session) -> bytes:
        with (
            helper.granted_socket(Kind.RAW4, protocol=1) as opened,
            helper.granted_socket(Kind.RAW4, protocol=1, mark=5) as control,
        ):
            disconnect(opened)
            assert option(opened, SO_BINDTOIFINDEX) == 0
            control.sendto(echo, ("127.0.0.1", 0))
            receive(control)
            with pytest.raises(BlockingIOError):
                opened.recv(100)
            return b"nothing"

    assert asked(heard) == b"nothing"


def test_a_tcp_port_keeps_its_interface_when_it_is_disconnected(
    policy: Policy, asked: Asked
) -> None:
    policy(f"uid={ACCOUNT} tcp port=80 if=lo listen")

    def bound(helper: Session) -> int:
        with helper.granted_socket(Kind.TCP4, port=80, backlog=1) as opened:
            disconnect(opened)
            return option(opened, SO_BINDTOIFINDEX)

    assert asked(bound) == socket.if_nametoindex("lo")
    assert asked(answers((Kind.TCP4, {"port": 80}))) == [Reason.LISTEN]


@pytest.mark.hostile(50)
def test_a_rule_with_a_locked_filter_demands_one_and_locks_it(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} packet filter=locked")

    def locked(helper: Session) -> int:
        with helper.granted_socket(Kind.PACKET, filter=[DROP]) as opened:
            return option(opened, SO_LOCK_FILTER)

    assert asked(answers((Kind.PACKET, {}))) == [Reason.FILTER]
    assert asked(locked) == 1


@pytest.mark.hostile(49)
def test_a_filter_that_has_no_room_behind_what_a_rule_imposes_means_no_descriptor(
    policy: Policy, asked: Asked
) -> None:
    policy(f"uid={ACCOUNT} packet if=lo proto=0x0806")
    longest = [ACCEPT] * 4096

    assert asked(lambda helper: helper.open(Kind.PACKET, filter=longest).stage) is Stage.FILTER
    assert asked(lambda helper: helper.open(Kind.PACKET, filter=longest[:4085]).stage) is Stage.OK


def test_a_rule_may_limit_the_descriptors_of_a_session(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} icmp max=2", f"uid={ACCOUNT} udp port=53")
    ping = (Kind.RAW4, {"protocol": 1})

    assert asked(answers(ping, ping, ping, (Kind.UDP4, {"port": 53}))) == [0, 0, Reason.LIMIT, 0]


def test_what_a_network_is_asked_by_costs_none_of_them(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} packet max=1")
    kinds = (Kind.ROUTE, Kind.PACKET, Kind.PACKET, Kind.ROUTE)

    limit = Reason.LIMIT
    assert asked(answers(*((kind, {}) for kind in kinds))) == [0, 0, limit, limit]


def test_a_device_is_opened_if_it_is_the_one_of_the_rule(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} device=nothing:/dev/zero:1:5", "all device=wrong:/dev/zero:1:3")

    def zeros(helper: Session) -> bytes:
        return os.read(helper.granted(Kind.DEVICE, device="nothing").fd, 4)

    assert asked(zeros) == bytes(4)
    assert asked(lambda helper: helper.open(Kind.DEVICE, device="wrong").stage) is Stage.DEVICE


@pytest.mark.hostile(47)
def test_a_device_has_no_other_name_than_that_of_its_rule(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} device=nothing:/dev/zero:1:5")
    names = ("zero", "null", "nothing/x", "net/tun")

    assert asked(answers(*((Kind.DEVICE, {"device": name}) for name in names))) == [
        Reason.DEVICE
    ] * len(names)


@pytest.mark.hostile(48)
def test_a_device_that_became_something_else_is_not_opened(policy: Policy, asked: Asked) -> None:
    policy("all device=zero:/dev/zero:1:5")
    with system_log():
        Path("/dev/zero").rename("/dev/other")
        Path("/dev/zero").symlink_to("other")
        assert asked(lambda helper: helper.open(Kind.DEVICE, device="zero").stage) is Stage.DEVICE
        Path("/dev/zero").unlink()
        Path("/dev/zero").touch()
        assert asked(lambda helper: helper.open(Kind.DEVICE, device="zero").stage) is Stage.DEVICE


def test_a_session_of_a_denied_account_goes_on(policy: Policy, asked: Asked) -> None:
    policy("uid=1 icmp")

    def both(helper: Session) -> list[Stage]:
        first = helper.ask(open_request(Kind.RAW4, protocol=1)).stage
        return [first, helper.ask(open_request(Kind.RAW4, protocol=1)).stage]

    assert asked(both) == [Stage.POLICY, Stage.POLICY]
