"""A socket bound to an interface, and the other interface by which its holder sends."""

import errno
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from helper_client import Kind
from hostile.ways import Way, as_account
from sandbox import links

Cable: TypeAlias = tuple[str, str]
Send: TypeAlias = Callable[[socket.socket, int], object]

SAID = Path(__file__).parents[2] / "SECURITY.md"
# linux/in.h, linux/if_ether.h, linux/if_packet.h
IP_PKTINFO, ETH_P_ALL, PACKET_OUTGOING = 8, 3, 4
ALL_HOSTS, ALL_NODES = "224.0.0.1", "ff02::1"
ECHO = b"\x08\0\xf7\xff\0\0\0\0"
ECHO6 = b"\x80\0\0\0\0\0\0\0escape"


@pytest.fixture
def pair(veth: Cable) -> Cable:
    """Two interfaces with an IPv4 address and an IPv6 address each."""
    for number, ifname in enumerate(veth, 1):
        Path(f"/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6").write_text("0")
        links.add_address(ifname, f"192.0.2.{number}/32")
        links.add_address(ifname, f"fe80::{number}/64")
    return veth


def by_pktinfo(opened: socket.socket, ifindex: int) -> None:
    info = struct.pack("=i4s4s", ifindex, b"", b"")
    opened.sendmsg([ECHO], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, (ALL_HOSTS, 0))


def by_pktinfo6(opened: socket.socket, ifindex: int) -> None:
    info = struct.pack("=16si", b"", ifindex)
    control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
    opened.sendmsg([ECHO6], control, 0, (ALL_NODES, 0))


def by_scope(opened: socket.socket, ifindex: int) -> None:
    opened.sendto(ECHO6, (ALL_NODES, 0, 0, ifindex))


@pytest.mark.hostile(54)
@pytest.mark.parametrize(
    ("kind", "protocol", "send", "end"),
    [
        (Kind.RAW4, socket.IPPROTO_ICMP, by_pktinfo, ECHO),
        (Kind.RAW6, socket.IPPROTO_ICMPV6, by_scope, b"escape"),
    ],
    ids=["IP_PKTINFO", "scope"],
)
def test_a_bound_socket_sends_by_another_interface_as_is_said(
    way: Way, pair: Cable, kind: Kind, protocol: int, send: Send, end: bytes
) -> None:
    assert "(not of TCP); sending can leave by another |" in SAID.read_text()
    bound, other = pair
    with (
        way.session() as running,
        running.granted_socket(kind, protocol=protocol, interface=bound) as opened,
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as witness,
    ):
        assert interface_of(opened) == bound
        witness.bind((other, ETH_P_ALL))
        witness.settimeout(20)
        as_account(lambda: send(opened, socket.if_nametoindex(other)))
        while not left_with(end, *witness.recvfrom(2048)):
            pass
        assert interface_of(opened) == bound


def interface_of(opened: socket.socket) -> str:
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode()


def left_with(end: bytes, packet: bytes, address: tuple[str, int, int, int, bytes]) -> bool:
    return address[2] == PACKET_OUTGOING and packet.endswith(end)


@pytest.mark.hostile(54)
def test_a_bound_socket_of_ipv6_names_no_other_interface_in_its_ancillary_data(
    way: Way, pair: Cable
) -> None:
    bound, other = pair
    with (
        way.session() as running,
        running.granted_socket(
            Kind.RAW6, protocol=socket.IPPROTO_ICMPV6, interface=bound
        ) as opened,
    ):
        as_account(lambda: by_pktinfo6(opened, socket.if_nametoindex(bound)))
        with pytest.raises(OSError, match="Invalid argument") as refused:
            as_account(lambda: by_pktinfo6(opened, socket.if_nametoindex(other)))
        assert refused.value.errno == errno.EINVAL
