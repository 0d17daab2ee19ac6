"""The broker: who its clients are, and what they get."""

import errno
import os
import signal
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import Kind, Reason, Session, Stage, hello
from lab.accounts import Unprivileged
from lab.brokers import GRANTED, POLICY_REFUSED, Broker, connect, running_broker
from lab.forks import in_child
from lab.must import require
from lab.policies import hide_etc
from sandbox import kernel
from sandbox.accounts import NOBODY
from sandbox.namespaces import Namespace

# A broker is a service of the machine: it needs accounts beside that of its client.
pytestmark = [pytest.mark.netns, pytest.mark.realroot]

BROKER: Final = 5  # helper/PROTOCOL.md, mode
SYS_ADMIN: Final = 1 << 21


def test_only_its_group_may_connect(broker: Broker) -> None:
    assert broker.path.stat().st_mode & 0o777 == 0o660


@pytest.mark.realroot
def test_a_client_is_known_by_his_account(for_nobody: Broker, as_nobody: Unprivileged) -> None:
    def look() -> Any:
        with for_nobody.session(greet=False) as client:
            greeting = client.greeted()
            child = for_nobody.only_child()
            lines = Path(f"/proc/{child}/status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines)
            names = ("Uid", "Gid", "CapEff", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
            return greeting.mode, greeting.uid, [status[name].split() for name in names]

    nothing, nobody = ["0" * 16], [str(NOBODY)] * 4
    expected = [nobody, nobody, nothing, nothing, nothing, nothing, ["1"], ["2"]]
    assert as_nobody(look) == (BROKER, NOBODY, expected)


@pytest.mark.realroot
def test_nobody_else_gets_in(broker: Broker, as_nobody: Unprivileged) -> None:
    with pytest.raises(PermissionError):
        as_nobody(lambda: connect(broker.path))


DENIED: list[tuple[Kind, dict[str, Any], Reason]] = [
    (Kind.RAW4, {"protocol": 2}, Reason.PROTOCOL),
    (Kind.TCP4, {"port": 8080}, Reason.PORT),
    (Kind.PACKET, {"mark": 1}, Reason.MARK),
    (Kind.DEVICE, {"device": "mem"}, Reason.DEVICE),
]


# Also root, for root of a container without capabilities is uid 0 as well.
def test_the_built_in_set_is_granted_and_nothing_else(broker: Broker) -> None:
    with broker.session() as client:
        for kind, fields in GRANTED:
            client.granted(kind, **fields)
        for kind, fields, reason in DENIED:
            denied = client.open(kind, **fields)
            assert (denied.refusal, denied.detail) == (POLICY_REFUSED, reason)


def test_what_is_served_is_in_the_network_of_the_client(
    broker: Broker, namespace: Namespace
) -> None:
    with broker.session() as client, client.granted_socket(Kind.PACKET) as here:
        assert _network_of(here) == _network_here()
    with namespace.entered():
        there = _network_here()
        with broker.session() as client:
            opened = [client.granted_socket(kind, **fields) for kind, fields in GRANTED]
    with ExitStack() as stack:
        assert {_network_of(stack.enter_context(one)) for one in opened} == {there}


def test_a_device_does_not_reach_another_network_by_accident(
    broker: Broker, namespace: Namespace, tun_device: Path
) -> None:
    devices: list[tuple[Kind, dict[str, Any]]] = [
        (Kind.TUN, {}),
        (Kind.TAP, {}),
        (Kind.DEVICE, {"device": "net/tun"}),
    ]
    with namespace.entered(), broker.session() as client:
        for kind, fields in devices:
            denied = client.open(kind, **fields)
            assert (denied.refusal, denied.detail) == (POLICY_REFUSED, Reason.KIND)


def test_a_network_that_two_witnesses_disagree_on_is_nobodys(
    broker: Broker, namespace: Namespace
) -> None:
    # A socket of this network, used by a process of another.
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with line, namespace.entered():
        line.settimeout(20)
        line.connect(str(broker.path))
        _assert_lost(line)


@pytest.mark.hostile(85)
def test_a_process_that_is_gone_has_no_network(broker: Broker) -> None:
    # The broker is held until the client has ended, and another has its connection.
    broker.process.send_signal(signal.SIGSTOP)
    try:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.settimeout(20)
        pid = os.posix_spawn(
            require("python3"),
            ["python3", "-c", "import socket, sys; socket.socket(fileno=3).connect(sys.argv[1])",
             str(broker.path)],
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, line.fileno(), 3)],
        )  # fmt: skip
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        broker.process.send_signal(signal.SIGCONT)
    with line:
        _assert_lost(line)


@pytest.mark.hostile(84)
@pytest.mark.hostile(108)
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_kernel_that_knows_no_process_of_a_peer_serves_this_network_alone(
    helper_binary: Path, folder: Path, namespace: Namespace, tmp_path: Path, where: str
) -> None:
    # Of a child's questions to getsockopt(2), SO_PEERPIDFD is the third.
    fault = "inject=getsockopt:error=ENOPROTOOPT:when=3"
    traced = [
        require("strace"),
        "-D",
        "-f",
        "-o",
        str(tmp_path / "trace"),
        "-e",
        "trace=getsockopt",
    ]
    with running_broker([*traced, "-e", fault, str(helper_binary)], folder / "socket") as broker:
        if where == "here":
            with broker.session() as client:
                client.granted(Kind.PACKET)
        else:
            with namespace.entered(), connect(broker.path) as line:
                _assert_lost(line)
    made = [line for line in (tmp_path / "trace").read_text().splitlines() if "INJECTED" in line]
    assert made
    assert all("SO_PEERPIDFD" in line or "0x4d" in line for line in made)


def _assert_lost(line: socket.socket) -> None:
    line.send(hello())
    reply = line.recv(96)
    stage, error = struct.unpack_from("<H", reply, 10)[0], struct.unpack_from("<I", reply, 16)[0]
    assert (stage, error) == (Stage.NAMESPACE, errno.EPERM)
    assert line.recv(96) == b""


def test_the_hosts_network_is_no_containers_by_a_descriptor(
    broker: Broker, namespace: Namespace
) -> None:
    # Both belong to uid 0, and so does this client.
    with open("/proc/self/ns/net", "rb") as host, namespace.entered(), broker.session() as client:
        refused = client.open(Kind.PACKET, [host.fileno()], namespace=True)
        assert refused.refusal == (Stage.NAMESPACE, errno.EPERM)


@pytest.mark.realroot
@pytest.mark.hostile(80)
@pytest.mark.hostile(81)
@pytest.mark.hostile(82)
def test_a_session_stays_with_the_account_that_connected(
    broker: Broker, as_nobody: Unprivileged
) -> None:
    with broker.session(greet=False) as client:
        assert as_nobody(lambda: client.greeted().uid) == 0
        client.granted(Kind.PACKET)


@pytest.mark.realroot
def test_root_keeps_no_way_into_networks_that_no_rule_lets_it_use(broker: Broker) -> None:
    def kept() -> int:
        with broker.session():
            child = broker.only_child()
            lines = Path(f"/proc/{child}/status").read_text().splitlines()
            return int(dict(line.split(":\t", 1) for line in lines)["CapPrm"], 16)

    with hide_etc() as etc:
        policy = etc / "policy"
        for places, way_in in (("host", 0), ("host,own", SYS_ADMIN)):
            policy.write_text(f"version 1\nallow uid=0 packet netns={places}\n")
            policy.chmod(0o644)
            assert kept() & SYS_ADMIN == way_in


# Root of a container has what it takes to raise the device's MTU no more than others have.
def test_roots_device_is_not_too_small_for_ipv6(broker: Broker, tun_device: Path) -> None:
    with broker.session() as client:
        assert client.open(Kind.TUN, mtu=1279).refusal == (Stage.ADDRESS, errno.EPERM)
        client.granted(Kind.TUN, mtu=1280)


@pytest.mark.realroot
@pytest.mark.hostile(83)
def test_an_id_of_no_account_of_ours_is_nobodys(helper_binary: Path, folder: Path) -> None:
    # Of a broker in a user namespace that knows root alone, all others are the same.
    apart = [require("unshare"), "--user", "--map-root-user", str(helper_binary)]
    with running_broker(apart, folder / "socket") as broker:
        broker.path.chmod(0o666)

        def greet() -> None:
            os.setresgid(1234, 1234, 1234)
            os.setresuid(1234, 1234, 1234)
            kernel.set_dumpable()
            with broker.session(greet=False) as client:
                assert client.ask(hello()).refusal == (Stage.IDENTITY, errno.EPERM)

        in_child(greet)


def _network_of(opened: socket.socket) -> bytes:
    return opened.getsockopt(socket.SOL_SOCKET, 71, 8)  # SO_NETNS_COOKIE


def _network_here() -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as local:
        return _network_of(local)


def test_requests_are_refused_one_by_one_and_the_session_goes_on(broker: Broker) -> None:
    with broker.session() as client:
        _refuse_and_go_on(client)


def _refuse_and_go_on(client: Session) -> None:
    assert client.open(Kind.PACKET, interface="nosuch0").stage is Stage.INTERFACE
    client.granted(Kind.PACKET)
