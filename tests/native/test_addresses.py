"""Each address against what the socket module's recvfrom() gives for the very same packet."""

import select
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from aioprocket._system._native import Packet, Receiver
from lab.traffic import ETH_P_LOCAL, frame
from sandbox import links
from sandbox.namespaces import Namespace

BROADCAST = b"\xff" * 6
MULTICAST = bytes.fromhex("01 00 5e 00 00 01")
ETH_P_ALL = 0x0003  # linux/if_ether.h
NETLINK_USERSOCK = 2  # linux/netlink.h
NLMSG_DONE = 3  # linux/netlink.h


def receive_with_both(sock: socket.socket) -> tuple[Packet, Any]:
    """The next packet, and the address that recvfrom() has for it."""
    _, expected = sock.recvfrom(65535, socket.MSG_PEEK)
    [packet] = Receiver(sock.fileno()).receive(1)
    return packet, expected


def packet_socket(ifname: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.settimeout(5)
    sock.bind((ifname, ETH_P_ALL))
    return sock


@pytest.mark.netns
@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")],
    ids=["inet", "inet6"],
)
def test_udp_sender_is_as_recvfrom_gives_it(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        sock.sendto(b"hello", sock.getsockname())

        packet, expected = receive_with_both(sock)

    assert packet.addr == expected
    assert packet.addr[0] == host
    assert packet.direction == "in"


@pytest.mark.netns
def test_link_local_sender_is_as_recvfrom_gives_it(veth: tuple[str, str]) -> None:
    ifname, _ = veth
    Path(f"/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6").write_text("0")
    links.add_address(ifname, "fe80::1234/64")
    scope = socket.if_nametoindex(ifname)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("fe80::1234", 0, 0, scope))
        # The kernel adds the route to a new address in the background.
        while not select.select([sock], [], [], 0.01)[0]:
            sock.sendto(b"hello", sock.getsockname())

        packet, expected = receive_with_both(sock)

    assert packet.addr == expected
    assert packet.addr[0].startswith("fe80::1234")
    assert packet.addr[3] == scope


@pytest.mark.netns
def test_raw_sender_is_as_recvfrom_gives_it() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 253) as sock:
        sock.sendto(b"hello", ("127.0.0.1", 0))

        packet, expected = receive_with_both(sock)

    assert packet.addr == expected == ("127.0.0.1", 0)


@pytest.mark.netns
def test_frame_sender_is_as_recvfrom_gives_it(veth: tuple[str, str]) -> None:
    near, far = veth
    with packet_socket(near) as sock, packet_socket(far) as sender:
        sender.send(frame(1))

        packet, expected = receive_with_both(sock)

    assert packet.addr == expected
    assert packet.addr[:2] == (near, int.from_bytes(ETH_P_LOCAL, "big"))
    assert packet.ifindex != 0


@pytest.mark.netns
def test_frame_from_another_namespace_names_the_interface_there(namespace: Namespace) -> None:
    with namespace.entered():
        links.add_veth("there0", "there1")
        links.set_up("there0")
        links.set_up("there1")
        sock, sender = packet_socket("there0"), packet_socket("there1")
    with sock, sender:
        sender.send(frame(1))

        packet, _ = receive_with_both(sock)

    assert packet.addr[0] == "there0"


@pytest.mark.netns
def test_frame_of_an_interface_that_is_gone_has_no_name(veth: tuple[str, str]) -> None:
    near, far = veth
    with packet_socket(near) as sock, packet_socket(far) as sender:
        sender.send(frame(1))
        receiver = Receiver(sock.fileno())
        links.delete_link(near)
        with pytest.raises(OSError, match="Network is down"):
            receiver.receive(1)

        [packet] = receiver.receive(1)

    assert packet.addr[0] == ""


@pytest.mark.netns
@pytest.mark.parametrize(
    ("target", "direction"),
    [
        pytest.param(BROADCAST, "broadcast", id="broadcast"),
        pytest.param(MULTICAST, "multicast", id="multicast"),
        pytest.param(frame(0)[:6], "otherhost", id="otherhost"),
        pytest.param(None, "in", id="in"),
    ],
)
def test_direction_tells_whom_a_frame_was_for(
    veth: tuple[str, str], target: bytes | None, direction: str
) -> None:
    near, far = veth
    with packet_socket(near) as sock, packet_socket(far) as sender:
        own: bytes = sock.getsockname()[4]
        sender.send((target or own) + frame(1)[6:])

        packet, expected = receive_with_both(sock)

    assert packet.direction == direction
    assert packet.addr == expected


@pytest.mark.netns
def test_direction_of_a_frame_that_this_machine_sent_is_out(veth: tuple[str, str]) -> None:
    near, _ = veth
    with packet_socket(near) as sock, packet_socket(near) as sender:
        sender.send(frame(1))

        packet, _ = receive_with_both(sock)

    assert packet.direction == "out"


def test_netlink_sender_is_as_recvfrom_gives_it() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK) as sock:
        sock.bind((0, 0))
        sock.sendto(struct.pack("=IHHII", 16, NLMSG_DONE, 0, 0, 0), sock.getsockname())

        packet, expected = receive_with_both(sock)

    assert packet.addr == expected
    assert packet.addr[0] != 0


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_unix_sender_is_as_recvfrom_gives_it(tmp_path: Path, abstract: bool) -> None:
    name = "\0aioprocket test" if abstract else str(tmp_path / "söcket")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sock.bind(str(tmp_path / "receiver"))
        sender.bind(name)
        sender.sendto(b"hello", sock.getsockname())

        packet, expected = receive_with_both(sock)

    assert packet.addr == expected == (name.encode() if abstract else name)


def test_unix_sender_of_the_longest_name_is_as_recvfrom_gives_it() -> None:
    name = b"\0" + b"n" * 107  # sun_path holds 108, unix(7)
    receiver, sender = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    with receiver, sender:
        receiver.bind(b"\0aioprocket receiver")
        sender.bind(name)
        sender.sendto(b"hello", receiver.getsockname())

        packet, expected = receive_with_both(receiver)

    assert packet.addr == expected == name


def test_sender_without_a_name_is_none() -> None:
    sock, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sock, sender:
        sender.send(b"hello")

        packet, expected = receive_with_both(sock)

    assert packet.addr is None
    assert expected is None


def test_address_is_built_once() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK) as sock:
        sock.bind((0, 0))
        sock.sendto(struct.pack("=IHHII", 16, NLMSG_DONE, 0, 0, 0), sock.getsockname())
        [packet] = Receiver(sock.fileno()).receive(1)

    assert packet.addr is packet.addr
