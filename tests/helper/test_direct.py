import ctypes
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest

from aioprocket._system import interfaces, tun
from aioprocket._system.descriptor import Opened, borrowed
from aioprocket._system.numbers import SocketOption, TunFlag
from aioprocket.errors import NotPermittedError, OpenError
from aioprocket.helper import Helper, direct
from aioprocket.helper.direct import open_directly
from aioprocket.spec import DeviceSpec, Instruction, PacketSpec, SocketSpec, Spec, TunSpec
from sandbox import links
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.netns

ACCEPT: tuple[Instruction, ...] = ((0x06, 0, 0, 0xFFFF),)
INET, INET6 = socket.AF_INET, socket.AF_INET6
LOOPBACK6 = ipaddress.ip_address("::1")


def tcp(family: int = INET, **options: Any) -> SocketSpec:
    return SocketSpec(
        family=family, type=socket.SOCK_STREAM, protocol=socket.IPPROTO_TCP, **options
    )


def udp(family: int = INET, **options: Any) -> SocketSpec:
    return SocketSpec(family=family, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_UDP, **options)


def raw(**options: Any) -> SocketSpec:
    return SocketSpec(family=INET, type=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP, **options)


needs_tun = pytest.mark.usefixtures("tun_device")


@contextmanager
def opened_socket(spec: Spec) -> Iterator[socket.socket]:
    with opened(spec) as found, borrowed(found.descriptor.fileno()) as sock:
        yield sock


@contextmanager
def opened(spec: Spec) -> Iterator[Opened]:
    found = open_directly(spec)
    try:
        yield found
    finally:
        found.descriptor.close()


def program_of(fd: int) -> bytes:
    """The attached filter. SO_GET_FILTER counts in instructions, so getsockopt() cannot."""
    memory = ctypes.create_string_buffer(8 * 64)
    count = ctypes.c_uint(64)
    failed = ctypes.CDLL(None).getsockopt(
        fd, socket.SOL_SOCKET, SocketOption.ATTACH_FILTER, memory, ctypes.byref(count)
    )
    assert not failed
    return memory.raw[: 8 * count.value]


def state_of(fd: int) -> dict[str, object]:
    """All of a socket that its receiver could notice."""
    with borrowed(fd) as sock:
        found: dict[str, object] = {
            option: sock.getsockopt(socket.SOL_SOCKET, number)
            for option, number in {
                "domain": socket.SO_DOMAIN,
                "type": socket.SO_TYPE,
                "protocol": socket.SO_PROTOCOL,
                "reuse address": socket.SO_REUSEADDR,
                "reuse port": socket.SO_REUSEPORT,
                "mark": socket.SO_MARK,
                "priority": socket.SO_PRIORITY,
                "receive buffer": socket.SO_RCVBUF,
                "send buffer": socket.SO_SNDBUF,
                "interface": SocketOption.BINDTOIFINDEX,
                "locked": SocketOption.LOCK_FILTER,
                "listening": socket.SO_ACCEPTCONN,
            }.items()
        }
        found["address"] = sock.getsockname()
        if sock.family == INET6:
            found["IPv6 only"] = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    found["filter"] = program_of(fd)
    found["blocks"] = os.get_blocking(fd)
    found["inheritable"] = os.get_inheritable(fd)
    return found


SPECS: dict[str, Callable[[], Spec]] = {
    "packet": lambda: PacketSpec(),
    "packet, cooked": lambda: PacketSpec(type=socket.SOCK_DGRAM, interface="lo"),
    "packet, filter": lambda: PacketSpec(filter=ACCEPT),
    "packet, locked to lo": lambda: PacketSpec(interface="lo", lock_filter=True),
    "packet, locked filter on lo": lambda: PacketSpec(
        interface="lo", filter=ACCEPT, lock_filter=True
    ),
    "packet, forced buffers": lambda: PacketSpec(
        mark=0xFFFFFFFF, priority=7, receive_buffer=1 << 22, send_buffer=1 << 22
    ),
    "raw": lambda: raw(),
    "raw, everything, forced buffers": lambda: raw(
        ip=ipaddress.ip_address("127.0.0.1"), interface="lo", mark=5, priority=7,
        receive_buffer=1 << 22, send_buffer=1 << 22, filter=ACCEPT, lock_filter=True,
    ),
    "raw6": lambda: SocketSpec(
        family=INET6, type=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMPV6, ip=LOOPBACK6
    ),
    "tcp, listening": lambda: tcp(port=80, backlog=5),
    "tcp, neither bound nor listening": lambda: tcp(),
    "tcp6": lambda: tcp(INET6, port=443, backlog=5, reuse_port=True),
    "udp": lambda: udp(port=53),
    "udp, everything, forced buffers": lambda: udp(
        port=53, ip=ipaddress.ip_address("127.0.0.1"), interface="lo", mark=1, priority=6,
        receive_buffer=1 << 22, send_buffer=1 << 22, filter=ACCEPT, lock_filter=True,
        reuse_port=True,
    ),
    "udp6": lambda: udp(INET6, port=53),
}  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "spec",
    [
        # SO_RCVBUFFORCE wants CAP_NET_ADMIN over the whole machine, not over a user namespace.
        pytest.param(spec, id=name, marks=[pytest.mark.realroot] if "forced" in name else [])
        for name, spec in SPECS.items()
    ],
)
async def test_socket_is_in_the_same_state_from_the_helper(
    spec: Callable[[], Spec], helper_binary: Path
) -> None:
    with opened(spec()) as mine:
        state, ifindex = state_of(mine.descriptor.fileno()), mine.ifindex
    async with Helper(helper_binary) as helper:
        its = await helper.open_descriptor(spec())
        try:
            assert state_of(its.descriptor.fileno()) == state
            assert its.ifindex == ifindex
        finally:
            its.descriptor.close()


def tun_state_of(found: Opened) -> dict[str, object]:
    with socket.socket(INET, socket.SOCK_DGRAM) as sock:
        fd = sock.fileno()
        ipv6 = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        return {
            "kind": tun.device_flags(found.descriptor.fileno()),
            "mtu": interfaces.mtu(fd, found.name),
            "flags": interfaces.interface_flags(fd, found.name),
            "IPv4": interfaces.ipv4_address(fd, found.name),
            # address, prefix, scope, flags: /proc/net/if_inet6, all but the interface's index
            "IPv6": [(fields[0], *fields[2:5]) for fields in map(str.split, ipv6)
                     if fields[5] == found.name and fields[0].startswith("fd00")],
            "blocks": os.get_blocking(found.descriptor.fileno()),
            **{setting: Path(f"/proc/sys/net/ipv6/conf/{found.name}/{setting}").read_text()
               for setting in ("accept_ra", "accept_redirects")},
        }  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["tun", "tap"])
@needs_tun
async def test_tun_is_in_the_same_state_from_the_helper(
    mode: Literal["tun", "tap"], helper_binary: Path
) -> None:
    addresses = ("10.9.0.1/24", "fd00:9::1/64")
    spec = TunSpec(mode=mode, mtu=1400, addresses=tuple(map(ipaddress.ip_interface, addresses)))
    with opened(spec) as mine:
        state = tun_state_of(mine)
    async with Helper(helper_binary) as helper:
        its = await helper.open_descriptor(spec)
        try:
            assert tun_state_of(its) == state
            assert its.name == mine.name == "aio0"
        finally:
            its.descriptor.close()


@needs_tun
def test_tun_address_can_be_used_at_once() -> None:
    spec = TunSpec(addresses=(ipaddress.ip_interface("fd00:9::1/64"),))
    with opened(spec), socket.socket(INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("fd00:9::1", 0))


@needs_tun
def test_tun_that_exists_is_attached_to() -> None:
    spec = TunSpec(name="aio7", multi_queue=True)
    with opened(spec) as first, opened(spec) as second:
        assert second.ifindex == first.ifindex


@needs_tun
def test_tun_takes_no_router_from_its_holder() -> None:
    with opened(TunSpec(mode="tap")) as found:
        state = tun_state_of(found)

    assert (state["accept_ra"], state["accept_redirects"]) == ("0\n", "0\n")


@needs_tun
def test_tun_with_a_foreign_queue_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_owner = tun.set_owner
    foreign = os.open(tun.CLONE_DEVICE, os.O_RDWR)

    def attach_before(fd: int, uid: int) -> None:
        flags = TunFlag.TUN | TunFlag.NO_PI | TunFlag.MULTI_QUEUE
        tun.make_device(foreign, tun.device_name(fd), flags)
        set_owner(fd, uid)

    monkeypatch.setattr(tun, "set_owner", attach_before)
    try:
        error = failure(TunSpec(name="aio7", multi_queue=True))
    finally:
        os.close(foreign)

    assert (error.step, error.errno) == ("verify", errno.EPROTO)


@needs_tun
def test_tun_is_prepared_in_the_order_of_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def note(place: object, name: str) -> None:
        real = getattr(place, name)

        def noted(*given: object) -> None:
            order.append(name)
            real(*given)

        monkeypatch.setattr(place, name, noted)

    note(interfaces, "set_mtu")
    note(direct, "ignore_routers")
    note(interfaces, "set_up")
    note(direct, "add_address")
    note(tun, "set_persistent")
    address = ipaddress.ip_interface("198.18.98.1/24")
    with opened(TunSpec(name="aio7", mtu=1400, addresses=(address,), persist=True)) as found:
        tun.set_persistent(found.descriptor.fileno(), False)

    assert order[:5] == ["set_mtu", "ignore_routers", "set_up", "add_address", "set_persistent"]


@needs_tun
def test_tun_that_somebody_uses_is_busy() -> None:
    with opened(TunSpec(name="aio7")), pytest.raises(OpenError) as caught:
        open_directly(TunSpec(name="aio7"))

    assert (caught.value.step, caught.value.errno) == ("tun", errno.EBUSY)


@needs_tun
def test_interface_of_another_kind_is_no_tun(veth: tuple[str, str]) -> None:
    with pytest.raises(OpenError) as caught:
        open_directly(TunSpec(name=veth[0]))

    assert (caught.value.step, caught.value.errno) == ("tun", errno.EINVAL)


@needs_tun
def test_persistent_tun_outlives_its_descriptor_and_can_be_had_again() -> None:
    with opened(TunSpec(name="aio7", persist=True)) as first:
        ifindex = first.ifindex

    try:
        with opened(TunSpec(name="aio7")) as second:
            assert second.ifindex == ifindex
            tun.set_persistent(second.descriptor.fileno(), False)
    finally:
        with suppress(OSError):
            links.delete_link("aio7")


@needs_tun
def test_tun_that_cannot_be_configured_is_not_left_behind() -> None:
    multicast = ipaddress.ip_interface("ff02::1/64")  # no interface's own: EADDRNOTAVAIL
    with pytest.raises(OpenError) as caught:
        open_directly(TunSpec(name="aio7", addresses=(multicast,), persist=True))

    assert caught.value.step == "address"
    assert "aio7" not in interfaces.interface_names_here()


def test_packet_socket_receives_nothing_before_its_receiver_binds_it() -> None:
    with opened_socket(PacketSpec(interface="lo")) as sock:
        with socket.socket(INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", 9))

        with pytest.raises(BlockingIOError):
            sock.recv(100)


@pytest.mark.parametrize(("locked_to", "heard"), [("lo", True), ("v0", False)])
@pytest.mark.usefixtures("veth")
def test_packet_socket_locked_to_an_interface_hears_no_other(locked_to: str, heard: bool) -> None:
    with opened_socket(PacketSpec(interface=locked_to, lock_filter=True)) as sock:
        sock.bind(("lo", 3))
        with socket.socket(INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", 9))

        if heard:
            assert sock.recv(100).endswith(b"x")
        else:
            with pytest.raises(BlockingIOError):
                sock.recv(100)


def test_raw_socket_has_nothing_from_before_its_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    set_options = direct._set_options

    def ping_meanwhile(spec: SocketSpec | PacketSpec, sock: socket.socket) -> None:
        set_options(spec, sock)
        with socket.socket(INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sender:
            sender.sendto(struct.pack("!BBHHH", 8, 0, 0xF7FF, 0, 0), ("127.0.0.1", 0))
            sender.recv(100)

    monkeypatch.setattr(direct, "_set_options", ping_meanwhile)
    asked = raw(ip=ipaddress.IPv4Address("127.0.0.1"))
    with opened_socket(asked) as sock, pytest.raises(BlockingIOError):
        sock.recv(100)


def test_one_program_can_have_a_port_of_both_versions() -> None:
    with opened(tcp(port=80, backlog=5)), opened(tcp(INET6, port=80, backlog=5)):
        pass


def test_socket_opens_in_another_namespace(namespace: Namespace) -> None:
    with namespace.entered():
        links.add_veth("there0", "there1")

    with opened(PacketSpec(interface="there0", namespace=namespace.path)) as found:
        assert interfaces.interface_name(found.descriptor.fileno(), found.ifindex) == "there0"


def test_namespace_is_found_by_its_name(named_namespace: str) -> None:
    with opened(udp(port=53, namespace=named_namespace)), opened(udp(port=53)):
        pass


def test_namespace_is_found_by_a_process(namespace: Namespace) -> None:
    with opened(udp(namespace=f"pid:{os.getpid()}", port=53)), pytest.raises(OpenError):
        open_directly(udp(port=53))


@needs_tun
def test_relative_path_of_a_namespace_is_from_the_working_directory(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(namespace.path).parent)
    name = Path(namespace.path).name
    with opened(PacketSpec(namespace=f"./{name}")):
        pass


def test_namespace_of_no_process_says_so() -> None:
    with pytest.raises(OpenError, match="No such process") as caught:
        open_directly(PacketSpec(namespace="pid:4194304"))  # pid_max's own limit, one too many

    assert "no such process" in caught.value.hint


@needs_tun
def test_tun_opens_in_another_namespace(namespace: Namespace) -> None:
    spec = TunSpec(addresses=(ipaddress.ip_interface("10.9.0.1/24"),), namespace=namespace.path)
    with opened(spec) as found:
        assert found.name not in interfaces.interface_names_here()
        with namespace.entered():
            setting = Path(f"/proc/sys/net/ipv6/conf/{found.name}/accept_ra")
            assert setting.read_text() == "0\n"


def failure(spec: Spec) -> OpenError:
    with pytest.raises(OpenError) as caught:
        open_directly(spec)
    return caught.value


def test_unknown_namespace_names_the_known_ones(named_namespace: str) -> None:
    error = failure(udp(namespace="nowhere"))

    assert (error.step, error.errno) == ("namespace", errno.ENOENT)
    assert named_namespace in error.hint


@pytest.mark.parametrize("path", ["/etc/passwd", "/dev/zero", "/proc/self/ns/mnt", "/"])
def test_file_of_another_kind_is_no_namespace(path: str) -> None:
    error = failure(udp(namespace=path))

    assert (error.step, error.errno) == ("namespace", errno.EINVAL)


@pytest.mark.parametrize("spec", [PacketSpec(interface="eth9"), raw(interface="eth9")])
def test_unknown_interface_names_the_known_ones(spec: Spec) -> None:
    error = failure(spec)

    assert (error.step, error.errno) == ("interface", errno.ENODEV)
    assert "lo" in error.hint


def test_port_in_use_says_how_to_find_its_holder() -> None:
    with opened(udp(port=53)):
        error = failure(udp(port=53))

    assert (error.step, error.errno) == ("bind", errno.EADDRINUSE)
    assert "ss -lunp" in error.hint


def test_filter_that_the_kernel_refuses_is_told() -> None:
    error = failure(PacketSpec(filter=((0x05, 0, 0, 100),)))  # a jump past the end

    assert (error.step, error.errno) == ("filter", errno.EINVAL)


def test_device_is_opened_without_blocking() -> None:
    with opened(DeviceSpec(name="zero")) as found:
        assert os.read(found.descriptor.fileno(), 3) == bytes(3)
        assert not os.get_blocking(found.descriptor.fileno())


def test_missing_device_is_told() -> None:
    error = failure(DeviceSpec(name="no/such"))

    assert (error.step, error.errno) == ("device", errno.ENOENT)


def test_folder_is_no_device() -> None:
    error = failure(DeviceSpec(name="net"))

    assert (error.step, error.errno) == ("device", errno.EINVAL)


def test_netlink_socket_needs_no_privilege() -> None:
    spec = SocketSpec(family=socket.AF_NETLINK, type=socket.SOCK_RAW, protocol=0)
    with opened(spec) as found:
        assert found.origin == "direct"


@pytest.mark.parametrize(
    ("spec", "step"),
    [
        (PacketSpec(), "socket"),
        (raw(), "socket"),
        (udp(port=53), "bind"),
        (udp(mark=1), "option"),
        (udp(receive_buffer=1 << 29), "option"),
    ],
    ids=["packet", "raw", "low port", "mark", "large buffer"],
)
def test_refusal_names_its_step(
    spec: Spec, step: str, as_nobody: Callable[[Callable[[], None]], None]
) -> None:
    with pytest.raises(NotPermittedError) as caught:
        as_nobody(lambda: open_directly(spec).descriptor.close())

    assert caught.value.step == step
    assert caught.value.errno in (errno.EPERM, errno.EACCES)


def test_small_buffer_needs_no_privilege(as_nobody: Callable[[Callable[[], int]], int]) -> None:
    def size() -> int:
        with opened_socket(udp(receive_buffer=4096)) as sock:
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    assert as_nobody(size) == 8192
