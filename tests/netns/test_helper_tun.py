"""TUN and TAP devices, prepared by the helper."""

import errno
import fcntl
import ipaddress
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import Kind, Session, Stage, session
from lab.must import require, unavailable
from sandbox import links
from sandbox.namespaces import Namespace

# linux/if_tun.h, linux/if.h, linux/sockios.h
TUNSETIFF: Final = 0x400454CA
TUNSETPERSIST: Final = 0x400454CB
TUNSETOWNER: Final = 0x400454CC
TUNGETIFF: Final = 0x800454D2
IFF_TUN: Final = 0x0001
IFF_TAP: Final = 0x0002
IFF_MULTI_QUEUE: Final = 0x0100
IFF_PERSIST: Final = 0x0800
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
IFF_UP: Final = 0x1
SIOCGIFFLAGS: Final = 0x8913
SIOCGIFMTU: Final = 0x8921

EXAMPLE4 = (4, 24, ipaddress.ip_address("10.9.0.1").packed)
EXAMPLE6 = (6, 64, ipaddress.ip_address("fd00:9::1").packed)
IPV6_SETTINGS = Path("/proc/sys/net/ipv6/conf")


def _router_advertisement() -> bytes:
    """A frame by which fe80::99 offers itself as the default router, for 1800 seconds."""
    source, to = (ipaddress.ip_address(text).packed for text in ("fe80::99", "ff02::1"))
    advertised = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    summed = source + to + struct.pack("!II", len(advertised), socket.IPPROTO_ICMPV6) + advertised
    total = sum(struct.unpack(f"!{len(summed) // 2}H", summed))
    checksum = ~(total % 0xFFFF) & 0xFFFF
    packet = advertised[:2] + struct.pack("!H", checksum) + advertised[4:]
    header = struct.pack("!IHBB", 6 << 28, len(packet), socket.IPPROTO_ICMPV6, 255) + source + to
    return bytes.fromhex("333300000001 020000000099 86dd") + header + packet


ROUTER_ADVERTISEMENT = _router_advertisement()


@pytest.fixture
def helper(helper_binary: Path) -> Iterator[Session]:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        unavailable("tun", f"/dev/net/tun: {error.strerror}")
    try:
        with session(helper_binary) as running:
            yield running
    finally:
        if _exists("aio7"):  # what a test has made to persist
            links.delete_link("aio7")


pytestmark = pytest.mark.netns


@pytest.mark.parametrize(("kind", "type"), [(Kind.TUN, IFF_TUN), (Kind.TAP, IFF_TAP)])
def test_a_device_without_a_name_is_numbered(helper: Session, kind: Kind, type: int) -> None:
    reply = helper.granted(kind)
    assert reply.name == "aio0"
    assert reply.ifindex == socket.if_nametoindex("aio0")
    assert _kind_of(reply.fd) == ("aio0", type | IFF_NO_PI)
    assert os.get_blocking(reply.fd) is False
    assert helper.granted(kind).name == "aio1"


@pytest.mark.parametrize("kind", [Kind.TUN, Kind.TAP])
def test_a_device_is_up_with_its_mtu_and_addresses(helper: Session, kind: Kind) -> None:
    reply = helper.granted(
        kind, interface="aio7", mtu=1400, addresses=[EXAMPLE4, EXAMPLE6], up=True
    )
    assert reply.name == "aio7"
    assert _flags("aio7") & IFF_UP
    assert _mtu("aio7") == 1400
    # Bound to at once: the address of IPv6 does not wait for duplicates to answer.
    for family, address in ((socket.AF_INET, "10.9.0.1"), (socket.AF_INET6, "fd00:9::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as bound:
            bound.bind((address, 0))


def test_packets_go_through_a_device(helper: Session) -> None:
    reply = helper.granted(Kind.TUN, addresses=[EXAMPLE4], up=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"through the device", ("10.9.0.2", 9))
    assert _next_ipv4(reply.fd).endswith(b"through the device")


def test_what_is_not_asked_for_is_left_alone(helper: Session) -> None:
    helper.granted(Kind.TAP, interface="aio7")
    assert not _flags("aio7") & IFF_UP
    assert _mtu("aio7") == 1500


def test_a_device_goes_with_its_descriptor(helper: Session) -> None:
    os.close(helper.granted(Kind.TUN, interface="aio7", up=True).fd)
    helper.forget()
    # The helper closes its own before it reads on.
    helper.open(Kind.DEVICE, device="none")
    assert not _exists("aio7")


def test_a_device_that_persists_stays_and_can_be_had_again(helper: Session) -> None:
    wanted: dict[str, Any] = {"interface": "aio7", "addresses": [EXAMPLE4], "up": True}
    os.close(helper.granted(Kind.TUN, persist=True, **wanted).fd)
    helper.forget()
    assert _exists("aio7")
    again = helper.granted(Kind.TUN, **wanted)
    assert _kind_of(again.fd) == ("aio7", IFF_TUN | IFF_NO_PI | IFF_PERSIST)
    fcntl.ioctl(again.fd, TUNSETPERSIST, 0)


def test_queues_of_one_device_are_had_one_by_one(helper: Session) -> None:
    first = helper.granted(Kind.TUN, queues=True)
    second = helper.granted(Kind.TUN, interface=first.name, queues=True)
    assert second.ifindex == first.ifindex
    assert _kind_of(second.fd) == (first.name, IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE)


@pytest.mark.parametrize(("kind", "type"), [(Kind.TUN, IFF_TUN), (Kind.TAP, IFF_TAP)])
def test_a_device_with_offload_has_headers_before_its_packets(
    helper: Session, kind: Kind, type: int
) -> None:
    flags = type | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR
    first = helper.granted(kind, queues=True, offload=True)
    second = helper.granted(kind, interface=first.name, queues=True, offload=True)
    assert _kind_of(first.fd) == _kind_of(second.fd) == (first.name, flags)


def test_a_queue_that_came_before_the_owner_is_refused(
    helper: Session, helper_binary: Path, tmp_path: Path
) -> None:
    # TUNSETIFF, and then a second's time for the other one.
    with (
        _delayed(helper_binary, tmp_path, "ioctl:delay_exit=1000000:when=1") as slow,
        ThreadPoolExecutor(1) as pool,
        open("/dev/net/tun", "rb+", buffering=0) as foreign,
    ):
        attached = pool.submit(_attach_once_there, foreign.fileno())
        reply = slow.open(Kind.TUN, interface="aio7", queues=True)
        attached.result()
    assert reply.refusal == (Stage.VERIFY, errno.EPROTO)
    assert (reply.name, reply.ifindex) == ("", 0)


def test_an_acknowledgement_of_somebody_else_is_refused(
    helper: Session, helper_binary: Path, tmp_path: Path
) -> None:
    def forge() -> None:
        _wait_for(lambda: _exists("aio7") and _mtu("aio7") == 1400)
        strace = slow.process.pid
        [child] = Path(f"/proc/{strace}/task/{strace}/children").read_text().split()
        # struct nlmsghdr, struct nlmsgerr: NLMSG_ERROR, sequence 1, error 0
        acknowledgement = struct.pack("=IHHIIi16x", 36, 2, 0, 1, 0, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
            route.sendto(acknowledgement, (int(child), 0))

    # Of two messages: mtu, and up.
    with (
        _delayed(helper_binary, tmp_path, "sendto:delay_enter=1000000:when=2") as slow,
        ThreadPoolExecutor(1) as pool,
    ):
        forged = pool.submit(forge)
        reply = slow.open(Kind.TUN, interface="aio7", mtu=1400, up=True)
        forged.result()
    assert reply.refusal == (Stage.ADDRESS, errno.EPROTO)


@pytest.mark.parametrize("up", [True, False], ids=["up", "up later"])
def test_a_router_that_the_holder_advertises_changes_no_route(helper: Session, up: bool) -> None:
    tap = helper.granted(Kind.TAP, interface="aio7", mtu=1400, up=up)
    if not up:
        links.set_up("aio7")
    before = _routes6()
    os.write(tap.fd, ROUTER_ADVERTISEMENT)
    assert _routes6() == before
    # The packet is a good one: it is this setting that keeps it out.
    (IPV6_SETTINGS / "aio7/accept_ra").write_text("1")
    os.write(tap.fd, ROUTER_ADVERTISEMENT)
    assert len(_routes6()) == len(before) + 1
    assert (IPV6_SETTINGS / "aio7/accept_redirects").read_text() == "0\n"


def test_a_device_without_ipv6_is_granted(helper: Session) -> None:
    assert helper.granted(Kind.TUN, interface="aio7", mtu=1000, up=True, addresses=[EXAMPLE4]).name


@pytest.mark.parametrize("name", ["all", "default"])
def test_settings_of_all_devices_are_left_alone(helper: Session, name: str) -> None:
    setting = IPV6_SETTINGS / name / "accept_ra"
    before = setting.read_text()
    # The kernel has no devices of the names of those two folders.
    reply = helper.open(Kind.TUN, interface=name, up=True)
    assert reply.refusal == (Stage.TUN, errno.EINVAL)
    assert setting.read_text() == before != "0\n"


def test_settings_that_cannot_be_written_are_no_matter_to_a_plain_helper(
    helper: Session, helper_binary: Path, tmp_path: Path
) -> None:
    # strace speaks of openat(2) for open(2), too; it is the name that picks the call.
    fault = "openat:error=EROFS:when=1+"
    command = [
        require("strace"), "-o", str(tmp_path / "trace"), "-P", "accept_ra",
        "-e", "trace=openat", "-e", f"inject={fault}", str(helper_binary),
    ]  # fmt: skip
    with session(command) as running:
        reply = running.open(Kind.TAP, interface="aio7", up=True)
    assert reply.refusal == (Stage.OK, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"mtu": 1000, "addresses": [EXAMPLE4, EXAMPLE6]},
        {"addresses": [EXAMPLE4, (6, 64, ipaddress.ip_address("ff02::1").packed)]},
    ],
    ids=["mtu too small for IPv6", "multicast of IPv6"],
)
def test_a_failure_leaves_no_device(helper: Session, fields: dict[str, Any]) -> None:
    reply = helper.open(Kind.TAP, interface="aio7", persist=True, up=True, **fields)
    assert reply.stage is Stage.ADDRESS, reply
    assert (reply.name, reply.ifindex) == ("", 0)
    assert not _exists("aio7")


@pytest.mark.parametrize(
    ("kind", "fields", "refusal"),
    [
        (Kind.TAP, {}, (Stage.TUN, errno.EINVAL)),
        (Kind.TUN, {"queues": True}, (Stage.TUN, errno.EINVAL)),
        (Kind.TUN, {}, (Stage.TUN, errno.EBUSY)),
    ],
    ids=["of another kind", "without queues", "the same"],
)
def test_a_name_that_is_taken_is_refused(
    helper: Session, kind: Kind, fields: dict[str, Any], refusal: tuple[Stage, int]
) -> None:
    helper.granted(Kind.TUN, interface="aio7")
    assert helper.open(kind, interface="aio7", **fields).refusal == refusal


def test_a_name_of_another_kind_of_interface_is_refused(
    helper: Session, veth: tuple[str, str]
) -> None:
    reply = helper.open(Kind.TUN, interface=veth[0])
    assert reply.stage is Stage.TUN
    assert reply.errno in (errno.EINVAL, errno.EBUSY)


@pytest.mark.realroot
def test_a_device_of_somebody_else_is_refused(helper: Session) -> None:
    fd = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("=16sH22x", b"aio7", IFF_TUN | IFF_NO_PI))
        fcntl.ioctl(fd, TUNSETOWNER, 1234)
        fcntl.ioctl(fd, TUNSETPERSIST, 1)
    finally:
        os.close(fd)
    assert helper.open(Kind.TUN, interface="aio7").refusal == (Stage.TUN, errno.EBUSY)


def test_a_helper_that_is_killed_leaves_no_device(helper: Session) -> None:
    os.close(helper.granted(Kind.TUN, interface="aio7", up=True).fd)
    helper.forget()
    helper.send(b"")  # wakes it, so that it may be anywhere on its way out
    helper.process.kill()
    helper.process.wait(20)
    assert helper.process.returncode in (0, -signal.SIGKILL)
    assert not _exists("aio7")


def test_a_device_is_made_in_the_namespace_that_was_sent(
    helper: Session, namespace: Namespace
) -> None:
    reply = helper.granted(Kind.TUN, [namespace.fd], namespace=True, addresses=[EXAMPLE4], up=True)
    assert not _exists(reply.name)
    with namespace.entered():
        assert socket.if_nametoindex(reply.name) == reply.ifindex
        assert _flags(reply.name) & IFF_UP
        assert (IPV6_SETTINGS / reply.name / "accept_ra").read_text() == "0\n"


@contextmanager
def _delayed(helper: Path, folder: Path, when: str) -> Iterator[Session]:
    """A session with a helper that strace holds back at one system call."""
    options = ["-o", str(folder / "trace"), "-e", f"trace={when.split(':')[0]}"]
    with session([require("strace"), *options, "-e", f"inject={when}", str(helper)]) as running:
        yield running


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _attach_once_there(fd: int) -> None:
    _wait_for(lambda: _exists("aio7"))
    flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("=16sH22x", b"aio7", flags))


def _routes6() -> set[str]:
    """The default routes of IPv6, all but their counters."""
    lines = Path("/proc/thread-self/net/ipv6_route").read_text().splitlines()
    return {" ".join(line.split()[:5]) + line.split()[-1] for line in lines
            if line.startswith("0" * 32 + " 00 ") and line.split()[-1] != "lo"}  # fmt: skip


def _kind_of(fd: int) -> tuple[str, int]:
    name, flags = struct.unpack("=16sH22x", fcntl.ioctl(fd, TUNGETIFF, bytes(40)))
    return name.rstrip(b"\x00").decode(), flags


def _exists(ifname: str) -> bool:
    return ifname in {name for _, name in socket.if_nameindex()}


def _ask(ifname: str, request: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return fcntl.ioctl(any_socket, request, struct.pack("=16s24x", ifname.encode()))


def _flags(ifname: str) -> int:
    return int(struct.unpack_from("=H", _ask(ifname, SIOCGIFFLAGS), 16)[0])


def _mtu(ifname: str) -> int:
    return int(struct.unpack_from("=i", _ask(ifname, SIOCGIFMTU), 16)[0])


def _next_ipv4(fd: int) -> bytes:
    """The next packet of IPv4: the kernel speaks IPv6 on its own (router solicitations)."""
    while True:
        packet = os.read(fd, 2048)
        if packet[0] >> 4 == 4:
            return packet
