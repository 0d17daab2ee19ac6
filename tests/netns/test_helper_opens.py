"""The helper opens what it is asked for, just so, or nothing."""

import ctypes
import errno
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import DROP, Kind, Session, Stage, session
from lab.must import unavailable
from lab.traffic import frame
from sandbox import links
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.netns

# asm-generic/socket.h
SO_PRIORITY: Final = 12
SO_LOCK_FILTER: Final = 44
SO_BINDTOIFINDEX: Final = 62
SO_ATTACH_FILTER: Final = 26
SO_DETACH_FILTER: Final = 27
SO_GET_FILTER: Final = 26

# linux/if_ether.h has no names for the two EtherTypes of local experiments (IEEE 802).
ETH_P_LOCAL: Final = 0x88B5
ETH_P_OTHER: Final = 0x88B6
OTHER_FRAME: Final = bytes(12) + ETH_P_OTHER.to_bytes(2, "big") + bytes(46)
ACCEPT: Final = (0x06, 0, 0, 0x40000)
ACCEPT_IF_A: Final = (0x16, 0, 0, 0)  # BPF_RET | BPF_A: as many bytes as A says
# Of the network of the thread that opens it.
PING_GROUPS: Final = Path("/proc/sys/net/ipv4/ping_group_range")
LOOPBACK4 = socket.inet_pton(socket.AF_INET, "127.0.0.1")
LOOPBACK6 = socket.inet_pton(socket.AF_INET6, "::1")
ABSENT4 = socket.inet_pton(socket.AF_INET, "192.0.2.1")


@pytest.fixture
def helper(helper_binary: Path) -> Iterator[Session]:
    with session(helper_binary) as running:
        yield running


@pytest.fixture
def cable(veth: tuple[str, str]) -> tuple[str, str]:
    """The two interfaces, once frames go both ways: the kernel starts a link's queue on its own."""
    for near, far in (veth, veth[::-1]):
        with (
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender,
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as receiver,
        ):
            sender.bind((near, 0))
            receiver.bind((far, ETH_P_OTHER))
            while not select.select([receiver], [], [], 0.01)[0]:
                sender.send(OTHER_FRAME)
    return veth


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (Kind.PACKET, {}, (socket.AF_PACKET, socket.SOCK_RAW, 0)),
        (Kind.PACKET_DGRAM, {}, (socket.AF_PACKET, socket.SOCK_DGRAM, 0)),
        (Kind.RAW4, {"protocol": 1}, (socket.AF_INET, socket.SOCK_RAW, 1)),
        (Kind.RAW4, {"protocol": 255}, (socket.AF_INET, socket.SOCK_RAW, 255)),
        (Kind.RAW4, {"protocol": 2}, (socket.AF_INET, socket.SOCK_RAW, 2)),
        (Kind.RAW6, {"protocol": 58}, (socket.AF_INET6, socket.SOCK_RAW, 58)),
        (Kind.PING4, {}, (socket.AF_INET, socket.SOCK_DGRAM, 1)),
        (Kind.PING6, {}, (socket.AF_INET6, socket.SOCK_DGRAM, 58)),
        (Kind.TCP4, {"port": 80}, (socket.AF_INET, socket.SOCK_STREAM, 6)),
        (Kind.TCP6, {"port": 80}, (socket.AF_INET6, socket.SOCK_STREAM, 6)),
        (Kind.UDP4, {"port": 53}, (socket.AF_INET, socket.SOCK_DGRAM, 17)),
        (Kind.UDP6, {"port": 53}, (socket.AF_INET6, socket.SOCK_DGRAM, 17)),
        (Kind.ROUTE, {}, (socket.AF_NETLINK, socket.SOCK_RAW, 0)),
    ],
)
def test_each_kind_is_what_it_should_be(
    ping_sockets: None,
    helper: Session,
    kind: Kind,
    fields: dict[str, Any],
    expected: tuple[int, int, int],
) -> None:
    reply = helper.granted(kind, **fields)
    assert (reply.domain, reply.type, reply.protocol) == expected
    assert reply.port == fields.get("port", 0)
    assert os.get_blocking(reply.fd) is False
    with helper.socket_of(reply) as opened:
        assert (opened.family, opened.type, opened.proto) == expected
        assert opened.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER) == 0


def test_a_device_of_the_list_is_opened(helper: Session) -> None:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError:
        unavailable("tun", "this account may not open /dev/net/tun")
    reply = helper.granted(Kind.DEVICE, device="net/tun")
    assert os.fstat(reply.fd).st_rdev == os.makedev(10, 200)
    assert os.get_blocking(reply.fd) is False
    assert (reply.domain, reply.type, reply.protocol) == (0, 0, 0)


def test_a_packet_socket_is_not_bound_yet(helper: Session, cable: tuple[str, str]) -> None:
    with helper.granted_socket(Kind.PACKET) as opened:
        _deliver(cable[0], cable[1])
        assert opened.getsockname()[:2] == ("", 0)
        assert _waiting(opened) == []
        opened.bind((cable[1], ETH_P_LOCAL))
        _deliver(cable[0], cable[1])
        assert _received(opened) == [frame(1), frame(2)]


def test_tcp_of_both_versions_listens_on_one_port(helper: Session) -> None:
    with (
        helper.granted_socket(Kind.TCP4, port=80, backlog=5) as listener4,
        helper.granted_socket(Kind.TCP6, port=80, backlog=5) as listener6,
        socket.create_connection(("127.0.0.1", 80)) as client4,
        socket.create_connection(("::1", 80)) as client6,
    ):
        for listener, client in ((listener4, client4), (listener6, client6)):
            with listener.accept()[0] as accepted:
                assert accepted.getpeername() == client.getsockname()


def test_a_port_that_is_taken_can_be_shared_only_if_asked(helper: Session) -> None:
    assert helper.granted(Kind.UDP4, port=53, reuse_port=True)
    assert helper.granted(Kind.UDP4, port=53, reuse_port=True)
    assert helper.open(Kind.UDP4, port=53).refusal == (Stage.BIND, errno.EADDRINUSE)


def test_the_helper_keeps_no_port_taken(helper: Session) -> None:
    for _ in range(3):
        helper.granted_socket(Kind.UDP4, port=53).close()


def test_a_listener_without_a_port_tells_which_it_got(helper: Session) -> None:
    reply = helper.granted(Kind.TCP4, address=LOOPBACK4, backlog=1)
    with helper.socket_of(reply) as opened:
        assert opened.getsockname() == ("127.0.0.1", reply.port)
        assert reply.port > 0


@pytest.mark.parametrize(
    ("kind", "address", "name"),
    [(Kind.UDP4, LOOPBACK4, "127.0.0.1"), (Kind.UDP6, LOOPBACK6, "::1")],
)
def test_an_address_is_bound_to(helper: Session, kind: Kind, address: bytes, name: str) -> None:
    with helper.granted_socket(kind, address=address, port=53) as opened:
        assert opened.getsockname()[:2] == (name, 53)


@pytest.mark.parametrize("kind", [Kind.RAW4, Kind.TCP4, Kind.UDP4])
def test_an_absent_address_is_an_error_of_bind(helper: Session, kind: Kind) -> None:
    reply = helper.open(kind, address=ABSENT4, protocol=_protocol(kind))
    assert reply.refusal == (Stage.BIND, errno.EADDRNOTAVAIL)


# Ping sockets want the scope with the address; the others know it from their interface, too.
@pytest.mark.parametrize("kind", [Kind.RAW6, Kind.PING6, Kind.TCP6, Kind.UDP6])
def test_a_link_local_address_has_its_interface_as_scope(
    helper_binary: Path, namespace: Namespace, kind: Kind
) -> None:
    with namespace.entered():
        links.add_address("lo", "fe80::7/64")
        PING_GROUPS.write_text("0 0")
        with session(helper_binary) as helper:
            address = socket.inet_pton(socket.AF_INET6, "fe80::7")
            reply = helper.granted(kind, address=address, interface="lo", protocol=_protocol(kind))
            with helper.socket_of(reply) as opened:
                host, _, _, scope = opened.getsockname()
                assert (host, scope) == ("fe80::7", reply.ifindex)


@pytest.mark.parametrize("kind", [Kind.RAW4, Kind.RAW6, Kind.TCP4, Kind.TCP6, Kind.UDP4])
def test_an_interface_is_bound_to_by_its_index(
    helper: Session, cable: tuple[str, str], kind: Kind
) -> None:
    reply = helper.granted(kind, interface=cable[1], protocol=_protocol(kind))
    assert reply.ifindex == socket.if_nametoindex(cable[1])
    with helper.socket_of(reply) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX) == reply.ifindex


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind <= Kind.UDP6])
def test_no_such_interface_means_no_descriptor(
    ping_sockets: None, helper: Session, kind: Kind
) -> None:
    reply = helper.open(kind, interface="nosuch0", protocol=_protocol(kind))
    assert reply.refusal == (Stage.INTERFACE, errno.ENODEV)


@pytest.mark.parametrize("kind", [Kind.PACKET, Kind.RAW4, Kind.TCP4, Kind.UDP6])
def test_mark_and_priority_are_set(helper: Session, kind: Kind) -> None:
    with helper.granted_socket(kind, mark=77, priority=7, protocol=_protocol(kind)) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 77
        assert opened.getsockopt(socket.SOL_SOCKET, SO_PRIORITY) == 7


@pytest.mark.realroot
@pytest.mark.parametrize("kind", [Kind.PACKET_DGRAM, Kind.RAW6, Kind.TCP6, Kind.UDP4])
def test_buffers_may_exceed_the_limit_for_all(helper: Session, kind: Kind) -> None:
    size = 1 + int(Path("/proc/sys/net/core/rmem_max").read_text())
    opened = helper.granted_socket(
        kind, receive_buffer=size, send_buffer=size, protocol=_protocol(kind)
    )
    with opened:  # the kernel doubles it: socket(7)
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * size
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * size


@pytest.mark.parametrize("kind", [Kind.PACKET, Kind.RAW4, Kind.UDP4, Kind.PING6])
def test_a_locked_filter_cannot_be_changed(ping_sockets: None, helper: Session, kind: Kind) -> None:
    with helper.granted_socket(kind, filter=[DROP], lock=True, protocol=_protocol(kind)) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER) == 1
        for option in (SO_DETACH_FILTER, SO_LOCK_FILTER):
            with pytest.raises(PermissionError):
                opened.setsockopt(socket.SOL_SOCKET, option, 0)


def test_a_filter_without_lock_can_be_changed(helper: Session) -> None:
    with helper.granted_socket(Kind.RAW4, protocol=1, filter=[DROP]) as opened:
        opened.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def test_no_filter_is_left_where_none_was_asked_for(helper: Session) -> None:
    with (
        helper.granted_socket(Kind.RAW4, protocol=1) as opened,
        pytest.raises(FileNotFoundError),
    ):
        opened.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


@pytest.mark.parametrize(
    "program",
    [
        [(0, 0, 0, 0)],
        [(0x06, 0, 0, 0), (0x05, 0, 0, 0)],
        [(0x05, 0, 0, 0xFFFFFFFF), ACCEPT],
        [(0xFFFF, 0, 0, 0), ACCEPT],
        [(0x34, 0, 0, 0), ACCEPT],
    ],
    ids=["all zero", "no return at the end", "jump too far", "no such opcode", "division by zero"],
)
@pytest.mark.parametrize("kind", [Kind.PACKET, Kind.RAW4, Kind.UDP6])
def test_a_filter_that_the_kernel_refuses_means_no_descriptor(
    helper: Session, kind: Kind, program: list[tuple[int, int, int, int]]
) -> None:
    assert helper.open(kind, filter=program, protocol=_protocol(kind)).refusal == (
        Stage.FILTER,
        errno.EINVAL,
    )


def test_a_socket_locked_to_an_interface_sees_no_other(
    helper: Session, cable: tuple[str, str]
) -> None:
    near, far = cable
    with helper.granted_socket(Kind.PACKET, interface=far, lock=True) as opened:
        opened.bind((far, ETH_P_LOCAL))
        _deliver(near, far)
        assert _received(opened) == [frame(1), frame(2)]
        # The receiver may bind it anew, to another interface or to all. It helps nothing.
        for anew in (socket.if_nametoindex(near), 0):
            _bind_by_index(opened, anew)
            _deliver(far, near)
            assert _waiting(opened) == []
        _deliver(near, far)
        assert _received(opened) == [frame(1), frame(2)]


@pytest.mark.parametrize(
    ("program", "seen"),
    [
        ([(0x06, 0, 0, 20)], [frame(1)[:20], frame(2)[:20]]),
        # A filter may count on A being zero at its start: this one then takes nothing.
        ([ACCEPT_IF_A], []),
    ],
)
def test_a_clients_filter_works_behind_the_lock_to_an_interface(
    helper: Session,
    cable: tuple[str, str],
    program: list[tuple[int, int, int, int]],
    seen: list[bytes],
) -> None:
    near, far = cable
    opened = helper.granted_socket(Kind.PACKET, filter=program, interface=far, lock=True)
    with opened:
        opened.bind((far, ETH_P_LOCAL))
        _deliver(near, far)
        assert (_received(opened) if seen else _waiting(opened)) == seen


@pytest.mark.parametrize(("count", "fits"), [(4092, True), (4093, False)])
def test_the_lock_to_an_interface_takes_four_instructions(
    helper: Session, cable: tuple[str, str], count: int, fits: bool
) -> None:
    program = [ACCEPT] * count
    reply = helper.open(Kind.PACKET, filter=program, interface=cable[1], lock=True)
    assert reply.refusal == ((Stage.OK, 0) if fits else (Stage.FILTER, errno.EINVAL))


def test_nothing_from_before_its_filter_is_ever_readable(helper: Session) -> None:
    with _icmp_flood():
        for _ in range(300):
            with helper.granted_socket(Kind.RAW4, protocol=1, filter=[DROP]) as opened:
                assert _waiting(opened) == []
        with helper.granted_socket(Kind.RAW4, protocol=1) as opened:
            opened.settimeout(20)
            assert opened.recv(2048)  # or the flood had not reached the others either


def _protocol(kind: Kind) -> int:
    return 1 if kind in (Kind.RAW4, Kind.RAW6) else 0


def _bind_by_index(opened: socket.socket, ifindex: int) -> None:
    """As the socket module cannot: 0 is all interfaces."""
    address = struct.pack("=HHi12x", socket.AF_PACKET, socket.htons(ETH_P_LOCAL), ifindex)
    assert ctypes.CDLL(None).bind(opened.fileno(), address, len(address)) == 0


def _deliver(ifname: str, to: str) -> None:
    """Send frames 1 and 2 from one interface to the other end of its cable, and see them there.

    Then everybody has been given frame 1: no frame comes to anybody before the one before it has
    come to all.
    """
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as witness,
    ):
        witness.bind((to, ETH_P_LOCAL))
        sender.bind((ifname, 0))
        sender.send(frame(1))
        sender.send(frame(2))
        assert _received(witness) == [frame(1), frame(2)]


def _received(opened: socket.socket) -> list[bytes]:
    """The next two packets, which must come."""
    opened.settimeout(20)
    return [opened.recv(2048), opened.recv(2048)]


def _waiting(opened: socket.socket) -> list[bytes]:
    """Everything that is there to read now."""
    opened.setblocking(False)
    found = []
    while True:
        try:
            found.append(opened.recv(2048))
        except BlockingIOError:
            return found


@contextmanager
def _icmp_flood() -> Iterator[None]:
    """Echo replies to the loopback, which nobody answers, as fast as a process can."""
    program = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1);"
        "print(flush=True)\n"
        "while True: s.sendto(bytes(8), ('127.0.0.1', 0))"
    )
    command = [sys.executable, "-I", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield
        finally:
            child.kill()
