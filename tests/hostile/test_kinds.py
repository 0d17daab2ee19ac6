"""Kinds, names and numbers: what can be asked for, and what its holder can do with it."""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import BY_FILE, DROP, Kind, Reason, Stage, open_request
from hostile.ways import Way, as_account, descriptors, resident
from sandbox import links
from sandbox.accounts import NOBODY

EPERM, EPROTO = 1, 71
LO4 = bytes([127, 0, 0, 1])
# asm-generic/socket.h, linux/filter.h, linux/if_packet.h, linux/mroute.h, linux/if_tun.h
SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER, SO_BINDTOIFINDEX = 26, 27, 44, 62
SOL_PACKET, PACKET_RX_RING = 263, 5
IP_HDRINCL, MRT_INIT = 3, 200
TUNSETPERSIST: Final = 0x400454CB
SIOCSIFNAME: Final = 0x8923
ACCEPT = (0x06, 0, 0, 0x40000)
MEM = open_request(Kind.DEVICE, device="mem")

EVERY: list[tuple[Kind, dict[str, Any]]] = [
    (Kind.PACKET, {}),
    (Kind.PACKET_DGRAM, {}),
    (Kind.RAW4, {"protocol": 1}),
    (Kind.RAW6, {"protocol": 58}),
    (Kind.TCP4, {"port": 80}),
    (Kind.TCP6, {"port": 80}),
    (Kind.UDP4, {"port": 53}),
    (Kind.UDP6, {"port": 53}),
]
INTERFACE = 40, 16  # offset, size
DEVICE = 56, 32


def with_name(message: bytes, place: tuple[int, int], name: bytes) -> bytes:
    offset, size = place
    assert len(name) <= size
    return message[:offset] + name.ljust(size, b"\0") + message[offset + size :]


@pytest.mark.hostile(36)
def test_only_the_kinds_of_sockets_there_are_can_be_had(way: Way) -> None:
    with way.session() as running:
        for kind, fields in EVERY:
            with running.granted_socket(kind, **fields) as opened:
                assert opened.type in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW)
                assert opened.family in (socket.AF_INET, socket.AF_INET6, socket.AF_PACKET)


@pytest.mark.hostile(36)
def test_who_may_ask_about_a_network_changes_nothing_in_it(way: Way) -> None:
    def try_to_change(opened: socket.socket) -> list[int]:
        # struct nlmsghdr, and of ifaddrmsg and ifinfomsg so much that the right is looked at:
        # RTM_NEWADDR, RTM_DELADDR, RTM_NEWLINK, RTM_DELLINK; NLM_F_REQUEST, NLM_F_ACK.
        found = []
        for kind, body in ((20, 8), (21, 8), (16, 16), (17, 16)):
            opened.send(struct.pack("=IHHII", 16 + body, kind, 5, 1, 0) + bytes(body))
            found.append(-struct.unpack_from("=i", opened.recv(4096), 16)[0])
        return found

    with way.session() as running, running.granted_socket(Kind.ROUTE) as opened:
        opened.settimeout(20)
        assert as_account(lambda: try_to_change(opened)) == [EPERM] * 4


@pytest.mark.hostile(36)
@pytest.mark.hostile(39)
def test_families_and_types_have_no_number_in_a_request(way: Way) -> None:
    # SOCK_PACKET; AF_NETLINK, AF_PACKET, AF_ALG, AF_XDP; a kind and SOCK_CLOEXEC, SOCK_NONBLOCK.
    for number in (15, 16, 17, 38, 40, 44, 0x80 | Kind.TCP4, 0x800 | Kind.PACKET):
        way.refuses(open_request(number))


@pytest.mark.hostile(37)
def test_a_protocol_is_of_one_byte(way: Way) -> None:
    for kind in (Kind.RAW4, Kind.RAW6):
        for protocol in (256, 257, 0x8001, 0xFFFF):
            way.refuses(open_request(kind, protocol=protocol))


@pytest.mark.hostile(40)
def test_a_port_that_is_none_is_a_fault(way: Way) -> None:
    way.refuses(open_request(Kind.TCP4, port=0))
    way.refuses(open_request(Kind.UDP6, port=0))


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([b""], marks=pytest.mark.hostile(42), id="empty"),
        pytest.param(
            [b"x" * 16, b"eth0\0x", b"eth0\n", b".", b"..", b"a/b", b"-rf", b"\x01", "é".encode(),
             b"%d", b"lo ", b"lo:1", b"lo@x", b"*"],
            marks=pytest.mark.hostile(43),
            id="odd",
        ),
        pytest.param([b"eth0" + b"x" * 12], marks=pytest.mark.hostile(44), id="a byte too long"),
    ],
)  # fmt: skip
def test_odd_names_of_interfaces_are_faults(way: Way, names: list[bytes]) -> None:
    asked = open_request(Kind.PACKET, interface="lo")
    for name in names:
        way.refuses(with_name(asked, INTERFACE, name))


@pytest.mark.hostile(45)
def test_without_its_interface_there_is_no_descriptor(way: Way) -> None:
    with way.session() as running:
        pid = way.worker(running)
        before = descriptors(pid)
        for kind, fields in EVERY:
            refused = running.open(kind, interface="nosuch0", **fields)
            assert refused.refusal == (Stage.INTERFACE, errno.ENODEV)
        running.ask(MEM)
        assert descriptors(pid) == before


@pytest.mark.hostile(46)
def test_an_interface_is_the_same_throughout_whatever_its_name_becomes(
    way: Way, veth: tuple[str, str]
) -> None:
    indices = [socket.if_nametoindex(name) for name in veth]
    for name in veth:
        links.set_down(name)
    with way.session() as running, _names_change(*veth):
        stages = []
        for number in range(300):
            reply = running.open(Kind.UDP4, port=100 + number, interface=veth[0])
            stages.append(reply.stage)
            if reply.stage is not Stage.OK:
                assert reply.stage in (Stage.INTERFACE, Stage.VERIFY)
                continue
            with running.socket_of(reply) as opened:
                bound = opened.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX)
                assert bound == reply.ifindex
                assert bound in indices
        assert Stage.OK in stages
    links.delete_link(socket.if_indextoname(indices[0]))


@contextmanager
def _names_change(one: str, other: str) -> Iterator[None]:
    """Two interfaces take each other's name, over and over."""
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            _swap_for_ever(one, other)
        os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _swap_for_ever(one: str, other: str) -> None:
    libc = ctypes.CDLL(None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while os.getppid() != 1:
            for old, new in ((one, "between"), (other, one), ("between", other)):
                libc.ioctl(sock.fileno(), SIOCSIFNAME, struct.pack("16s16s8x", old.encode(),
                                                                   new.encode()))  # fmt: skip


@pytest.mark.hostile(47)
def test_odd_names_of_devices_are_faults(way: Way) -> None:
    asked = open_request(Kind.DEVICE, device="mem")
    for name in (
        b"", b"../mem", b"net/../mem", b"/dev/mem", b"./mem", b"net//tun", b"net/", b".", b"..",
        b"x" * 32, b"net/tun\0x", b"net/.tun", b"net/t\n",
    ):  # fmt: skip
        way.refuses(with_name(asked, DEVICE, name))


@pytest.mark.hostile(47)
def test_the_name_of_a_device_is_nothing_but_a_key(way: Way) -> None:
    with way.session() as running:
        for name in ("mem", "kmsg", "null", "tun", "net", "net/tun0", "sda", "port"):
            denied = running.open(Kind.DEVICE, device=name)
            assert (denied.stage, denied.detail & ~BY_FILE) == (Stage.POLICY, Reason.DEVICE)


FILTERS: dict[str, list[tuple[int, int, int, int]]] = {
    "all zero": [(0, 0, 0, 0)],
    "no such opcode": [(0xFFFF, 0, 0, 0), ACCEPT],
    "jump backwards": [ACCEPT, (0x05, 0, 0, 0xFFFFFFFE), ACCEPT],
    "jump too far": [(0x15, 255, 255, 0), ACCEPT],
    "no return": [(0x00, 0, 0, 1)],
    "division by zero": [(0x34, 0, 0, 0), ACCEPT],
    "memory that was never written": [(0x60, 0, 0, 5), ACCEPT],
    "memory beyond": [(0x02, 0, 0, 16), ACCEPT],
    "all ones": [(0xFFFF, 0xFF, 0xFF, 0xFFFFFFFF)] * 4096,
    "none returns": [(0x00, 0, 0, 1)] * 4096,
}


@pytest.mark.hostile(49)
def test_a_filter_that_is_none_means_no_descriptor(way: Way) -> None:
    with way.session() as running:
        pid = way.worker(running)
        before = descriptors(pid)
        for name, program in FILTERS.items():
            for kind, fields in EVERY:
                if kind in (Kind.TCP4, Kind.TCP6):
                    continue
                refused = running.open(kind, filter=program, **fields)
                assert refused.refusal == (Stage.FILTER, errno.EINVAL), (name, kind)
        running.ask(MEM)
        assert descriptors(pid) == before


@pytest.mark.hostile(49)
def test_a_filter_has_the_kernels_length_and_the_lock_counts(way: Way) -> None:
    with way.session() as running:
        longest = [ACCEPT] * 4096
        running.granted(Kind.PACKET, filter=longest)
        for room, expected in ((4, (Stage.OK, 0)), (3, (Stage.FILTER, errno.EINVAL))):
            asked = running.open(Kind.PACKET, filter=longest[room:], interface="lo", lock=True)
            assert asked.refusal == expected
    way.refuses(open_request(Kind.PACKET, filter=longest)[:200])


@pytest.mark.hostile(51)
def test_a_lock_is_for_good(way: Way) -> None:
    def try_all(opened: socket.socket) -> list[int]:
        program = ctypes.create_string_buffer(struct.pack("<HBBI", *ACCEPT))
        attached = struct.pack("@HP", 1, ctypes.addressof(program))
        found = []
        for option, value in (
            (SO_DETACH_FILTER, struct.pack("=i", 0)),
            (SO_ATTACH_FILTER, attached),
            (SO_LOCK_FILTER, struct.pack("=i", 0)),
        ):
            try:
                opened.setsockopt(socket.SOL_SOCKET, option, value)
                found.append(0)
            except OSError as error:
                found.append(error.errno or -1)
        return found

    with way.session() as running:
        for kind, fields in EVERY:
            if kind in (Kind.TCP4, Kind.TCP6):
                continue
            with running.granted_socket(kind, filter=[DROP], lock=True, **fields) as opened:
                assert as_account(lambda: try_all(opened)) == [EPERM] * 3
        with running.granted_socket(Kind.PACKET, interface="lo", lock=True) as opened:
            assert as_account(lambda: try_all(opened)) == [EPERM] * 3


@pytest.mark.hostile(53)
def test_nothing_from_before_its_filter_is_readable(way: Way) -> None:
    with way.session() as running, _echo_flood():
        for _ in range(25):
            with running.granted_socket(Kind.RAW4, protocol=1, filter=[DROP]) as opened:
                opened.setblocking(False)
                with pytest.raises(BlockingIOError):
                    opened.recv(2048)
        with running.granted_socket(Kind.RAW4, protocol=1) as opened:
            opened.settimeout(20)
            assert opened.recv(2048)  # or there was no flood


@contextmanager
def _echo_flood() -> Iterator[None]:
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException), socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as sock:
            while os.getppid() != 1:
                sock.sendto(bytes(8), ("127.0.0.1", 0))
        os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


# What the documents say that a holder can do. If it becomes impossible, they are wrong.
SAID = Path(__file__).parents[2] / "SECURITY.md"


@pytest.mark.hostile(54)
def test_a_raw_socket_sends_with_any_source_as_is_said(way: Way) -> None:
    assert "IP_HDRINCL is the holder's to set" in SAID.read_text()
    source = bytes([127, 9, 9, 9])

    def send(opened: socket.socket) -> None:
        opened.setsockopt(socket.SOL_IP, IP_HDRINCL, 1)
        header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 1, 0, source, LO4)
        opened.sendto(header + bytes(8), ("127.0.0.1", 0))

    with (
        way.session() as running,
        running.granted_socket(Kind.RAW4, protocol=1) as opened,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as witness,
    ):
        witness.settimeout(20)
        as_account(lambda: send(opened))
        while witness.recv(2048)[12:16] != source:
            pass


@pytest.mark.hostile(54)
def test_a_device_can_be_made_to_stay_as_is_said(way: Way, tun_device: Path) -> None:
    assert "the device may be made persistent" in SAID.read_text()
    libc = ctypes.CDLL(None)
    with way.session() as running:
        made = running.granted(Kind.TUN, interface="aio7")
        assert as_account(lambda: libc.ioctl(made.fd, TUNSETPERSIST, 1)) == 0
        running.release()
        assert "aio7" in _interfaces()
    links.delete_link("aio7")


def _interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


@pytest.mark.hostile(55)
def test_a_ring_is_the_memory_of_its_holder(way: Way) -> None:
    assert "large kernel buffers" in SAID.read_text()
    # 64 MiB of it, for the machine has not a GiB to spare for each of these tests.
    block, count = 1 << 20, 64
    request = struct.pack("=4I", block, count, 2048, block // 2048 * count)
    with way.session() as running:
        pid = way.worker(running)
        before = resident(pid)
        with running.granted_socket(Kind.PACKET) as opened:
            opened.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
            running.granted(Kind.PACKET)
            assert resident(pid) <= before + (64 << 10)


@pytest.mark.hostile(56)
@pytest.mark.parametrize(("owner", "error"), [(NOBODY + 1, EPERM), (0, EPERM)])
def test_a_device_of_somebody_else_stays_his(
    way: Way, tun_device: Path, owner: int, error: int
) -> None:
    with _device("aio8", owner), way.session() as running:
        pid = way.worker(running)
        before = descriptors(pid)
        refused = running.open(Kind.TUN, interface="aio8")
        assert refused.refusal in ((Stage.TUN, errno.EBUSY), (Stage.TUN, error))
        running.ask(MEM)
        assert descriptors(pid) == before


@pytest.mark.hostile(56)
def test_a_name_that_is_taken_is_nobody_elses(way: Way, tun_device: Path) -> None:
    with way.session() as running:
        running.granted(Kind.TUN, interface="aio7")
        assert running.open(Kind.TUN, interface="aio7").refusal == (Stage.TUN, errno.EBUSY)
        assert running.open(Kind.TAP, interface="aio7").stage is Stage.TUN


@contextmanager
def _device(name: str, owner: int) -> Iterator[None]:
    """A device that stays, of this account."""
    libc = ctypes.CDLL(None)
    fd = os.open("/dev/net/tun", os.O_RDWR)
    try:
        request = struct.pack("16sH22x", name.encode(), 0x1001)  # IFF_TUN, IFF_NO_PI
        assert libc.ioctl(fd, 0x400454CA, request) == 0
        assert libc.ioctl(fd, 0x400454CC, owner) == 0
        assert libc.ioctl(fd, TUNSETPERSIST, 1) == 0
    finally:
        os.close(fd)
    try:
        yield
    finally:
        links.delete_link(name)


@pytest.mark.hostile(57)
def test_numbers_out_of_range_are_faults(way: Way) -> None:
    for mtu in (0, 67, 65522, 65535):
        way.refuses(open_request(Kind.TUN, mtu=mtu))
    for size in (0, 0x40000000, 0xFFFFFFFF):
        way.refuses(open_request(Kind.PACKET, receive_buffer=size))
        way.refuses(open_request(Kind.PACKET, send_buffer=size))


@pytest.mark.hostile(57)
def test_numbers_beyond_what_is_granted_are_refused_and_never_changed(way: Way) -> None:
    with way.session() as running:
        beyond: list[tuple[dict[str, Any], Reason]] = [
            ({"mark": 0}, Reason.MARK),
            ({"mark": 0xFFFFFFFF}, Reason.MARK),
            ({"receive_buffer": (64 << 20) + 1}, Reason.BUFFER),
            ({"send_buffer": (64 << 20) + 1}, Reason.BUFFER),
            ({"priority": 8}, Reason.PRIORITY),
        ]
        for fields, reason in beyond:
            denied = running.open(Kind.PACKET, **fields)
            assert (denied.refusal, denied.detail) == ((Stage.POLICY, EPERM), reason)
        # The kernel's own limit on this one is silent, and known: net.core.somaxconn.
        running.granted(Kind.TCP4, port=80, backlog=65535)
        largest = running.granted_socket(Kind.PACKET, receive_buffer=64 << 20)
        with largest:
            # Twice, as SO_RCVBUF has it (socket(7)).
            assert largest.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 128 << 20
