import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from aioprocket._system import interfaces
from aioprocket._system.namespace import namespace_path, open_namespace, run_inside
from aioprocket._system.numbers import InterfaceFlag
from aioprocket._system.rtnetlink import add_address
from sandbox import links
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.netns

FAMILIES = [
    (socket.AF_INET, socket.SOCK_DGRAM),
    (socket.AF_INET6, socket.SOCK_DGRAM),
    (socket.AF_PACKET, socket.SOCK_RAW),
    (socket.AF_NETLINK, socket.SOCK_RAW),
    (socket.AF_UNIX, socket.SOCK_DGRAM),
]


@pytest.fixture(params=FAMILIES, ids=lambda family: family[0].name)
def sock(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.socket(*request.param) as found:
        yield found


def test_any_socket_knows_the_interfaces(sock: socket.socket, veth: tuple[str, str]) -> None:
    fd, name = sock.fileno(), veth[0]
    index = socket.if_nametoindex(name)
    links.set_mtu(name, 1400)

    assert interfaces.interface_index(fd, name) == index
    assert interfaces.interface_name(fd, index) == name
    assert interfaces.mtu(fd, name) == 1400
    assert interfaces.hardware_type(fd, name) == 1
    assert InterfaceFlag.UP in interfaces.interface_flags(fd, name)
    address = Path(f"/sys/class/net/{name}/address")
    if address.exists():
        assert interfaces.hardware_address(fd, name).hex(":") == address.read_text().strip()


def test_loopback_is_what_it_is(sock: socket.socket) -> None:
    assert interfaces.hardware_type(sock.fileno(), "lo") == 772
    assert interfaces.hardware_address(sock.fileno(), "lo") == bytes(6)
    assert InterfaceFlag.LOOPBACK in interfaces.interface_flags(sock.fileno(), "lo")


def test_address_is_told_where_the_family_can(sock: socket.socket) -> None:
    found = interfaces.ipv4_address(sock.fileno(), "lo")

    can = sock.family in (socket.AF_INET, socket.AF_PACKET)
    assert found == (ipaddress.IPv4Address("127.0.0.1") if can else None)


def test_interface_without_address_has_none(veth: tuple[str, str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert interfaces.ipv4_address(sock.fileno(), veth[0]) is None


def test_unknown_interface_is_no_device(sock: socket.socket) -> None:
    for ask in (interfaces.interface_index, interfaces.mtu, interfaces.interface_flags):
        with pytest.raises(OSError, match="No such device") as caught:
            ask(sock.fileno(), "eth9")
        assert caught.value.errno == errno.ENODEV
    with pytest.raises(OSError, match="No such device"):
        interfaces.interface_name(sock.fileno(), 4711)


def test_socket_of_another_namespace_answers_for_that(namespace: Namespace) -> None:
    with namespace.entered():
        links.add_veth("there0", "there1")
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        index = interfaces.interface_index(sock.fileno(), "there0")

        assert interfaces.interface_name(sock.fileno(), index) == "there0"
    assert "there0" not in interfaces.interface_names_here()


def test_mtu_and_link_are_set(veth: tuple[str, str]) -> None:
    links.set_down(veth[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        interfaces.set_mtu(sock.fileno(), veth[0], 1300)
        interfaces.set_up(sock.fileno(), veth[0])
        interfaces.set_up(sock.fileno(), veth[0])

        assert interfaces.mtu(sock.fileno(), veth[0]) == 1300
        assert InterfaceFlag.UP in interfaces.interface_flags(sock.fileno(), veth[0])


def test_address_may_be_given_twice(veth: tuple[str, str]) -> None:
    address = ipaddress.ip_interface("10.9.0.1/24")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(2):
            add_address(socket.if_nametoindex(veth[0]), address)

        assert interfaces.ipv4_address(sock.fileno(), veth[0]) == address.ip


def test_address_of_no_interface_is_refused() -> None:
    with pytest.raises(OSError, match="No such device"):
        add_address(4711, ipaddress.ip_interface("10.9.0.1/24"))


@pytest.mark.parametrize(
    ("namespace", "path"),
    [("blue", "/run/netns/blue"), ("pid:12", "/proc/12/ns/net"), ("/a/b", "/a/b"), ("a/b", "a/b")],
)
def test_namespace_has_three_forms(namespace: str, path: str) -> None:
    assert namespace_path(namespace) == path


def test_function_runs_inside_a_namespace_and_the_caller_stays_out(namespace: Namespace) -> None:
    with namespace.entered():
        links.add_veth("there0", "there1")
    found = open_namespace(namespace.path)
    try:
        assert stat.S_ISREG(os.fstat(found.fileno()).st_mode)
        inside = run_inside(found.fileno(), interfaces.interface_names_here)
    finally:
        found.close()

    assert "there0" in inside
    assert "there0" not in interfaces.interface_names_here()


def test_failure_inside_a_namespace_is_the_callers(namespace: Namespace) -> None:
    with pytest.raises(ZeroDivisionError):
        run_inside(namespace.fd, lambda: 1 // 0)


def test_namespace_of_another_kind_is_not_entered() -> None:
    fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            run_inside(fd, lambda: None)
    finally:
        os.close(fd)
