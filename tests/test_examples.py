"""Every example does what its first line says, run as a user without privilege."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import golden
from aioprocket.pcapng import Reader
from aioprocket.wire.icmp import Echo
from aioprocket.wire.ip import IPv4Header
from lab.chain import wait_for_answers
from lab.hosts import FAR, FAR6, NEAR, NEAR_TOO
from lab.programs import PROJECT, Runner, run_program
from sandbox import links
from sandbox.accounts import NOBODY
from sandbox.namespaces import Namespace, new_network

pytestmark = pytest.mark.netns


def test_every_example_is_tested() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    own_file = Path(__file__).parent.glob("test_example_*.py")
    tested |= {path.stem.removeprefix("test_example_") for path in own_file}

    assert {path.stem for path in (PROJECT / "examples").glob("*.py")} <= tested


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("echo_server", ["lo"]),
        ("message_echo", []),
        ("ping", ["127.0.0.1"]),
        ("ping6", ["::1"]),
        ("record", ["lo", "/nowhere/a.pcapng"]),
        ("sniff", ["lo"]),
        ("sniff_active", ["lo"]),
        ("sniff_namespaces", ["/proc/self/ns/net:lo", "/proc/self/ns/net:lo"]),
        ("sweep", ["127.0.0.1/32"]),
        ("tun_responder", []),
        ("dhcp_watch", ["lo"]),
        ("arp_watch", ["lo"]),
        ("top_talkers", ["lo"]),
    ],
)
def test_example_that_fails_says_why_and_no_more(
    name: str, arguments: list[str], capfd: pytest.CaptureFixture[str], namespace: Namespace
) -> None:
    helper = "--helper=/nowhere/helper"
    # In a new network nobody may have ping sockets yet: a helper is asked for one.
    with (
        namespace.entered(),
        run_program(f"examples/{name}.py", *arguments, helper, as_nobody=False) as program,
    ):
        assert program.finish() == 1

    said = capfd.readouterr().err
    assert "/nowhere/helper" in said.splitlines()[0]
    assert len(said.splitlines()) == 2, said


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("ping", ["example.org"], "invalid IPv4Address value: 'example.org'"),
        ("ping6", ["example.org"], "invalid IPv6Address value: 'example.org'"),
        ("sniff_active", ["lo", "--size=0"], "--size goes from 1"),
        ("sniff_active", ["lo", "--portions=0"], "--portions starts at 1"),
    ],
)
def test_argument_that_makes_no_sense_is_refused(
    name: str, arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with run_program(f"examples/{name}.py", *arguments, as_nobody=False) as program:
        assert program.finish() == 2

    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    "name", ["echo_server", "sniff", "sniff_active", "dhcp_watch", "arp_watch", "top_talkers"]
)
def test_interrupted_example_ends_quietly(
    name: str, example: Runner, capfd: pytest.CaptureFixture[str]
) -> None:
    with example(name, "lo") as program:
        program.expect("listening|echo on port|watching|counting")
        os.kill(program.pid, signal.SIGINT)
        assert program.finish() == 130

    assert capfd.readouterr().err == ""


def test_ping(example: Runner, far: Namespace) -> None:
    with example("ping", FAR, "--count=2") as program:
        assert program.finish() == 0

    assert [line.split(",")[0] for line in program.lines] == [
        f"{FAR}: sequence 0",
        f"{FAR}: sequence 1",
    ]
    assert all(line.endswith(" ms") for line in program.lines)


def test_ping_without_a_route(example: Runner, far: Namespace) -> None:
    with example("ping", "192.0.2.1", "--count=1") as program:
        assert program.finish() == 0

    assert program.lines == ["192.0.2.1: sequence 0, Network is unreachable"]


def test_ping6(example: Runner, far: Namespace) -> None:
    with example("ping6", FAR6, "--count=2") as program:
        assert program.finish() == 0

    assert program.lines == [f"{FAR6}: sequence {number}, answered" for number in range(2)]


def test_sweep(example: Runner, far: Namespace) -> None:
    with example("sweep", "10.5.0.2/31", "--timeout=0.5") as program:
        assert program.finish() == 0

    assert program.lines[0].startswith(f"{FAR}: ")
    assert program.lines[-1] == "1 of 2 answered"


def test_trace(example: Runner, far: Namespace) -> None:
    wait_for_answers(FAR)
    with example("trace", FAR, "--wait=20") as program:
        assert program.finish() == 0

    hop, way = program.lines
    assert re.fullmatch(rf" 1  {FAR}  \d+\.\d{{3}} ms  \d+\.\d{{3}} ms  \d+\.\d{{3}} ms", hop)
    assert way == "by icmp, raw socket"


def test_trace_measures(example: Runner, far: Namespace) -> None:
    wait_for_answers(FAR)
    with example("trace", FAR, "--mtu", "--wait=20") as program:
        assert program.finish() == 0

    assert program.lines == ["path MTU 1500"]


def test_sniff(example: Runner, far: Namespace) -> None:
    with example("sniff", "near", "--count=1") as program:
        program.expect("listening on near")
        _send_datagram(FAR)
        seen = program.expect(rf"\d+\.\d{{9}} out +{NEAR} -> {FAR} protocol 17, 43 bytes")
        assert program.finish() == 0

    assert seen
    assert program.lines[-1] == "0 dropped by the kernel"


def test_dhcp_watch(example: Runner, veth: tuple[str, str]) -> None:
    sender, receiver = veth
    asked = golden.load("dissect", "dhcp-discover").data
    # Fields of the same length: another device, and then one of its names.
    other = asked.replace(bytes.fromhex("020000000001"), bytes.fromhex("020000000009"))
    with example("dhcp_watch", receiver, "--count=2") as program:
        program.expect("watching")
        for name in ("dhcp-ack", "arp-who-has", "dns-query"):
            _send_frame(sender, golden.load("dissect", name).data)
        for frame in (asked, asked, asked.replace(b"lamp-kitchen", b"lamp-balcony"), other):
            _send_frame(sender, frame)
        assert program.finish() == 0

    assert program.lines[1:] == [
        "02:00:00:00:00:01 lamp-kitchen wants 192.0.2.77",
        "02:00:00:00:00:01 lamp-balcony wants 192.0.2.77",
        "02:00:00:00:00:09 lamp-kitchen wants 192.0.2.77",
    ]


def test_arp_watch(example: Runner, veth: tuple[str, str]) -> None:
    sender, receiver = veth
    known = golden.load("dissect", "arp-who-has").data
    with example("arp_watch", receiver, "--count=2") as program:
        program.expect("watching")
        _send_frame(sender, golden.load("dissect", "udp").data)
        for frame in (known, known, known.replace(b"\2\0\0\0\0\1", b"\2\0\0\0\0\7")):
            _send_frame(sender, frame)
        assert program.finish() == 0

    assert program.lines[1:] == [
        "192.0.2.1 is 02:00:00:00:00:01",
        "192.0.2.1: 02:00:00:00:00:01 became 02:00:00:00:00:07",
    ]


def test_arp_watch_test(is_root: bool) -> None:
    # As it is run where it lies, by a user of the package: without this project's configuration.
    options = ["-q", "-c", os.devnull, "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(PROJECT / "examples/arp_watch_test.py")],
        user=NOBODY if is_root else None,
        group=NOBODY if is_root else None,
        extra_groups=[] if is_root else None,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_top_talkers(example: Runner, veth: tuple[str, str]) -> None:
    sender, receiver = veth
    frame = golden.load("dissect", "udp").data
    other = frame.replace(bytes([192, 0, 2, 1]), bytes([192, 0, 2, 7]))
    assert len(frame) == len(other) == 75
    with example("top_talkers", receiver, "--packets=50") as program:
        program.expect("counting")
        for _ in range(10):
            for each in (other, other, other, frame, frame):
                _send_frame(sender, each)
            _send_frame(sender, golden.load("dissect", "arp-is-at").data)
        assert program.finish() == 0

    assert [line.split() for line in program.lines[1:]] == [
        ["192.0.2.7", "2,250", "bytes"],
        ["192.0.2.1", "1,500", "bytes"],
        ["50", "packets,", "0", "dropped", "by", "the", "kernel"],
    ]


def test_record(example: Runner, veth: tuple[str, str], stage: Path) -> None:
    sender, receiver = veth
    folder = stage / "record"
    folder.mkdir()
    folder.chmod(0o777)
    limits = "--megabytes=0.0006", "--files=2", "--count=20"
    with example("record", receiver, str(folder / "a.pcapng"), *limits) as program:
        program.expect(f"recording {receiver}")
        for _ in range(20):
            _send_frame(sender)
        assert program.finish() == 0

    said = re.fullmatch(
        "20 packets in ([0-9]+) files, 0 lost by the kernel, 0 by the disk", program.lines[-1]
    )
    assert said
    last = int(said[1])
    assert last > 2
    kept = sorted(folder.iterdir())
    assert [path.name[:8] for path in kept] == [f"a_{n:05}_" for n in (last - 1, last)]
    assert all(1 <= len(list(Reader(path))) <= 6 for path in kept)


def test_sniff_active(example: Runner, veth: tuple[str, str]) -> None:
    sender, receiver = veth
    with example("sniff_active", receiver, "--size=2", "--portions=2") as program:
        program.expect("listening")
        for _ in range(5):
            _send_frame(sender)
        assert program.finish() == 0

    frame = "02:00:00:00:00:01 -> 02:00:00:00:00:02 46 bytes"
    assert program.lines[1:] == [
        *(frame, frame, "portion complete, 1 to go"),
        *(frame, frame, "portion complete, 0 to go"),
    ]


def test_sniff_namespaces(namespace: Namespace) -> None:
    # Networks that are not the caller's own: only root may open in them.
    with new_network() as other, _silent_cable("a", namespace), _silent_cable("b", other):
        places = [f"{namespace.path}:a-far", f"{other.path}:b-far"]
        program = run_program("examples/sniff_namespaces.py", *places, "--count=1", as_nobody=False)
        with program as sniffer:
            for _ in places:
                sniffer.expect("listening")
            for ifname in ("a", "b"):
                _send_frame(ifname)
            assert sniffer.finish() == 0

    seen = [line for line in sniffer.lines if "listening" not in line]
    assert sorted(seen) == sorted(
        f"{network.path}: otherhost from 02:00:00:00:00:01" for network in (namespace, other)
    )


@contextmanager
def _silent_cable(ifname: str, network: Namespace) -> Iterator[None]:
    peer = f"{ifname}-far"
    links.add_veth(ifname, peer, peer_namespace=network.fd)
    try:
        links.disable_ipv6(ifname)
        links.set_up(ifname)
        with network.entered():
            links.disable_ipv6(peer)
            links.set_up(peer)
        yield
    finally:
        links.delete_link(ifname)


def test_echo_server(example: Runner, far: Namespace) -> None:
    with example("echo_server", "near", "lo") as program:
        program.expect("lo: echo on port 7")

        assert _echo_stream(b"here", "127.0.0.1") == b"here"
        assert _echo_datagram(b"here", "127.0.0.1")[0] == b"here"
        with far.entered():
            assert _echo_stream(b"far", NEAR) == b"far"
            assert _echo_datagram(b"far", NEAR)[0] == b"far"


def test_echo_server_survives_its_clients(
    example: Runner, capfd: pytest.CaptureFixture[str]
) -> None:
    with example("echo_server", "lo") as program:
        program.expect("lo: echo on port 7")
        with socket.create_connection(("127.0.0.1", 7), timeout=10) as client:
            client.sendall(b"x")
            client.recv(1)
            reset_on_close = struct.pack("ii", 1, 0)  # struct linger of socket(7)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
        _send_from_port_zero("127.0.0.1")

        assert _echo_datagram(b"next", "127.0.0.1")[0] == b"next"
        with socket.create_connection(("127.0.0.1", 7), timeout=10):  # one that stays
            assert _echo_stream(b"next", "127.0.0.1") == b"next"
            os.kill(program.pid, signal.SIGINT)
            assert program.finish() == 130

    assert capfd.readouterr().err == ""


def test_message_echo(example: Runner, far: Namespace) -> None:
    with example("message_echo", "--count=1") as program:
        program.expect("echo on port 7")
        with far.entered():
            answer, source = _echo_datagram(b"who", NEAR_TOO)
        program.expect(f"{FAR} asked {NEAR_TOO} by near")
        assert program.finish() == 0

    assert (answer, source) == (b"who", (NEAR_TOO, 7))


def test_tun_responder(example: Runner, tun_device: Path) -> None:
    with example("tun_responder", "--count=1") as program:
        device = program.expect(r"198\.18\.98\.2 answers behind (aio\d+)")[1]
        request = Echo(identifier=1, sequence=2)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
            icmp.settimeout(10)
            icmp.sendto(request.emit(b"ping"), ("198.18.98.2", 0))
            header, payload = IPv4Header.parse(icmp.recv(2048))
        assert program.finish() == 0

    assert str(header.source) == "198.18.98.2"
    assert Echo.parse(payload) == (Echo(identifier=1, sequence=2, reply=True), b"ping")
    assert device not in [name for _, name in socket.if_nameindex()]


def _send_datagram(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", (address, 9))


def _send_from_port_zero(address: str) -> None:
    """A datagram that nobody can answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sender:
        sender.sendto(struct.pack("!HHHH", 0, 7, 9, 0) + b"x", (address, 0))


FRAME = bytes.fromhex("020000000002 020000000001 88b5") + bytes(46)


def _send_frame(ifname: str, frame: bytes = FRAME) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind((ifname, 0))
        sender.send(frame)


def _echo_stream(data: bytes, address: str) -> bytes:
    with socket.create_connection((address, 7), timeout=10) as client:
        client.sendall(data)
        return client.recv(len(data), socket.MSG_WAITALL)


def _echo_datagram(data: bytes, address: str) -> tuple[bytes, tuple[str, int]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(data, (address, 7))
        return client.recvfrom(2048)
