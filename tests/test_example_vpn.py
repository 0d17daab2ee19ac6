"""`examples/vpn.py` between two hosts: what goes through it, and what does not."""

import os
import re
import runpy
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aioprocket
from aioprocket.wire.ip import IPv4Header
from lab.hosts import FAR, NEAR, NEAR6
from lab.programs import PROJECT, Program, Runner, run_program
from lab.sniffing import wait_until
from sandbox import links
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.netns

PORT = 1021
# In the tunnel.
INNER_NEAR, INNER_FAR = "198.18.0.1", "198.18.0.2"
MTU = 1500 - 20 - 8 - 12 - 16
COUNTS = re.compile(
    r"out: (?P<out>\d+) packets, \d+ bytes; dropped: (?P<unsent>\d+), by the kernel (\d+)\n"
    r"in: (?P<in>\d+) packets, \d+ bytes; dropped: (?P<undelivered>\d+), by the kernel (\d+),"
    r" not genuine (?P<forged>\d+), replayed (?P<replayed>\d+)"
)


@pytest.fixture
def key(is_root: bool, stage: Path) -> Iterator[Path]:
    """A key as the program makes it."""
    folder = stage / "vpn"
    folder.mkdir()
    folder.chmod(0o777)
    path = folder / "key"
    with run_program("examples/vpn.py", str(path), "--new-key", as_nobody=is_root) as program:
        assert program.finish() == 0
    yield path
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()


@pytest.fixture(autouse=True)
def devices(request: pytest.FixtureRequest) -> None:
    if "far" in request.fixturenames:
        request.getfixturevalue("tun_device")


@contextmanager
def near_side(example: Runner, key: Path, *options: str) -> Iterator[Program]:
    with example("vpn", str(key), f"--address={INNER_NEAR}/30", *options) as program:
        program.expect("by UDP port 1021")
        yield program


@contextmanager
def far_side(
    example: Runner, far: Namespace, key: Path, *options: str, peer: str = NEAR
) -> Iterator[Program]:
    arguments = (str(key), f"--address={INNER_FAR}/30", f"--peer={peer}", *options)
    with ExitStack() as stack:
        with far.entered():
            program = stack.enter_context(example("vpn", *arguments))
        program.expect("by UDP port 1021")
        yield program


@contextmanager
def connected(example: Runner, far: Namespace, key: Path) -> Iterator[tuple[Program, Program]]:
    with near_side(example, key) as here, far_side(example, far, key) as there:
        for side in (here, there):
            side.expect("connected")
        yield here, there


def stopped(program: Program) -> dict[str, int]:
    """What it has counted, at Ctrl-C."""
    os.kill(program.pid, signal.SIGINT)
    assert program.finish() == 130
    counts = COUNTS.fullmatch("\n".join(program.lines[-2:]))
    assert counts is not None, program.lines
    return {name: int(number) for name, number in counts.groupdict().items()}


def pings(count: int = 1, size: int = 56, timeout: float = 10) -> aioprocket.PingResult:
    ask = partial(aioprocket.ping, count=count, size=size, interval=0.05, timeout=timeout)
    return anyio.run(ask, INNER_FAR)


def sent_through(data: bytes, far: Namespace) -> bytes:
    """What arrives of it there, by TCP."""
    with far.entered():
        listener = socket.create_server((INNER_FAR, 5001))
    with listener, socket.create_connection((INNER_FAR, 5001), timeout=30) as client:
        server, _ = listener.accept()
        server.settimeout(30)
        sender = threading.Thread(target=_send_all, args=(client, data))
        sender.start()
        with server, server.makefile("rb") as stream:
            arrived = stream.read()
        sender.join()
        return arrived


def _send_all(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)


def ip_counter(name: str) -> int:
    """Of ip(7), in the network that this thread is in."""
    names, values, *_ = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    return int(dict(zip(names.split(), values.split(), strict=True))[name])


@contextmanager
def recording(source: str = FAR) -> Iterator[Callable[[], list[bytes]]]:
    """What a host has sent by UDP, when it is called: payloads."""
    everything = 3  # ETH_P_ALL: with another protocol what leaves is not shown
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(everything)) as sock:
        sock.bind(("near", everything))
        sock.setblocking(False)

        def datagrams() -> list[bytes]:
            found = []
            with suppress(BlockingIOError):
                while True:
                    data, (_, protocol, *_) = sock.recvfrom(65535)
                    if protocol != 0x0800:
                        continue
                    header, rest = IPv4Header.parse(data)
                    if (str(header.source), header.protocol) == (source, socket.IPPROTO_UDP):
                        found.append(rest[8:])
            return found

        yield datagrams


def inject(far: Namespace, datagrams: list[bytes]) -> None:
    """As an attacker at the far host's place, from another port."""
    with far.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
        for datagram in datagrams:
            attacker.sendto(datagram, (NEAR, PORT))


def test_vpn_carries_pings_and_streams(
    example: Runner, far: Namespace, key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = os.urandom(1 << 20)
    with connected(example, far, key) as (here, there):
        result = pings(count=3)
        arrived = sent_through(data, far)
        far_counts, near_counts = stopped(there), stopped(here)

    assert result.received == 3
    assert arrived == data
    assert far_counts["in"] >= len(data) // MTU
    # Before there is a peer the kernel may say something on its own.
    assert far_counts["in"] <= near_counts["out"] - near_counts["unsent"]
    for counts in (far_counts, near_counts):
        assert not any(counts[name] for name in ("undelivered", "forged", "replayed"))
    assert capfd.readouterr().err == ""


def test_vpn_over_ipv6(example: Runner, far: Namespace, key: Path) -> None:
    with (
        near_side(example, key, "--ip=::") as here,
        far_side(example, far, key, peer=NEAR6) as there,
    ):
        for side in (here, there):
            side.expect(r"connected with fd05::\d port 1021")

        # The header around is 20 bytes longer.
        assert f"MTU {MTU - 20}," in there.lines[0]
        assert pings(size=MTU - 20 - 28).received == 1


def test_nothing_is_fragmented_and_nothing_can_be_read(
    example: Runner, far: Namespace, key: Path
) -> None:
    secret = b"this text is nobody's business. "
    with recording(FAR) as arrived, recording(NEAR) as left, connected(example, far, key) as sides:
        assert pings(size=MTU - 28).received == 1  # the largest that is whole inside
        assert sent_through(secret * 1000, far) == secret * 1000
        assert f"MTU {MTU}," in sides[0].lines[0]
        largest = max(map(len, arrived()))
        stream = b"".join(left())

    assert largest + 28 == 1500
    assert len(stream) > len(secret) * 1000
    assert secret not in stream
    assert ip_counter("FragCreates") == 0
    with far.entered():
        assert ip_counter("FragCreates") == ip_counter("ReasmReqds") == 0


def test_packet_that_does_not_fit_the_way_is_told_of_and_is_no_end(
    example: Runner, far: Namespace, key: Path
) -> None:
    with near_side(example, key, "--link-mtu=1600") as here, far_side(example, far, key) as there:
        for side in (here, there):
            side.expect("connected")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(bytes(MTU + 1 - 28), (INNER_FAR, 9))
        here.expect("too long|larger")
        assert pings().received == 1
        assert stopped(here)["unsent"] >= 1


def test_forged_and_replayed_datagrams_are_refused(
    example: Runner, far: Namespace, key: Path
) -> None:
    with recording() as arrived, connected(example, far, key) as (here, _):
        assert pings(count=3).received == 3
        datagrams = arrived()
        greeting = datagrams[0]
        packet = next(each for each in datagrams if len(each) == 12 + 84 + 16)
        assert len(greeting) == 12 + 32 + 32 + 16
        forged = [b"", greeting[:50], packet[:27], os.urandom(300)]
        forged += [
            genuine[:place] + bytes([genuine[place] ^ 1]) + genuine[place + 1 :]
            for genuine in (greeting, packet)
            for place in range(len(genuine))
        ]

        inject(far, datagrams + forged)
        # It comes after all of these, and the answer still finds its way.
        assert pings().received == 1
        counts = stopped(here)

    assert (counts["replayed"], counts["forged"]) == (len(datagrams), len(forged))


def test_own_datagrams_that_come_back_are_refused(
    example: Runner, far: Namespace, key: Path
) -> None:
    with recording(NEAR) as left, connected(example, far, key) as (here, _):
        assert pings(count=3).received == 3
        own = left()
        inject(far, own)
        assert pings().received == 1
        counts = stopped(here)

    packets = sum(datagram[3] == 2 for datagram in own)
    assert packets >= 3
    assert (counts["forged"], counts["replayed"]) == (packets, len(own) - packets)


def test_side_that_is_started_anew_goes_on(example: Runner, far: Namespace, key: Path) -> None:
    with recording() as arrived, near_side(example, key) as here:
        with far_side(example, far, key):
            here.expect("connected")
            assert pings().received == 1
        before = arrived()
        with far_side(example, far, key) as there:
            for side in (here, there):
                side.expect("connected")
            assert pings().received == 1
            inject(far, before)
            assert pings().received == 1
            counts = stopped(here)

            # What the earlier run encrypted cannot be told from forgeries.
            assert counts["replayed"] >= 1
            assert counts["replayed"] + counts["forged"] == len(before)
            with near_side(example, key) as here_anew:
                for side in (here_anew, there):
                    side.expect("connected")
                assert pings().received == 1


def test_recording_of_earlier_runs_connects_nobody(
    example: Runner, far: Namespace, key: Path
) -> None:
    with recording() as arrived, connected(example, far, key):
        assert pings().received == 1
        before = arrived()
    with near_side(example, key) as here:
        inject(far, before)
        with far_side(example, far, key):
            here.expect("connected")
            inject(far, before)
            assert pings().received == 1
            counts = stopped(here)

    assert sum("connected" in line for line in here.lines) == 1
    packets = [datagram for datagram in before if datagram[3] == 2]
    assert packets
    assert (counts["forged"], counts["replayed"]) == (2 * len(packets), 0)


def test_peer_may_move(example: Runner, far: Namespace, key: Path) -> None:
    with connected(example, far, key), recording() as arrived:
        assert pings().received == 1
        assert arrived()
        with far.entered():
            links.delete_address("far", f"{FAR}/24")
            links.add_address("far", "10.5.0.99/24")
        # The peer says something every two seconds, or when it has something to say.
        wait_until(lambda: pings(timeout=2).received, "an answer from the new address")

        assert not arrived()


def test_tunnel_outlives_a_link_that_is_down_and_ends_with_its_device(
    example: Runner, far: Namespace, key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with connected(example, far, key) as (here, there):
        device = there.lines[0].partition(":")[0]
        for where, ifname in ((far, device), (None, "near")):
            with where.entered() if where else nullcontext():
                links.set_down(ifname)
            assert pings(timeout=0.2).received == 0
            with where.entered() if where else nullcontext():
                links.set_up(ifname)
            wait_until(lambda: pings(timeout=2).received, "an answer by a link that is up again")

        with far.entered():
            links.delete_link(device)
        assert there.finish() == 1
        assert stopped(here)["unsent"] >= 1

    assert f"receive on {device}: the device was removed" in capfd.readouterr().err


def test_another_key_is_told_of_on_both_sides(
    example: Runner, far: Namespace, key: Path, is_root: bool
) -> None:
    other = key.with_name("other")
    with run_program("examples/vpn.py", str(other), "--new-key", as_nobody=is_root) as program:
        assert program.finish() == 0
    with near_side(example, key) as here, far_side(example, far, other) as there:
        here.expect(f"{FAR} greets by another key")
        there.expect("no answer so far: is the peer there, and has it the same key")
        counts = stopped(here)

    assert counts["forged"] >= 3
    assert counts["in"] == 0


def test_key_that_is_missing_open_or_none_is_refused(
    key: Path, is_root: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(path: Path, *options: str) -> str:
        with run_program("examples/vpn.py", str(path), *options, as_nobody=is_root) as program:
            assert program.finish() == 1
        said = capfd.readouterr().err
        assert len(said.splitlines()) == 1, said
        return said

    assert "--new-key makes it" in refused(key.with_name("nothing"))
    assert "File exists" in refused(key, "--new-key")
    key.chmod(0o640)
    assert f"chmod 600 {key}" in refused(key)
    key.chmod(0o600)
    key.write_text("a word that is easy to keep in mind")
    assert "64 hexadecimal digits" in refused(key)


def test_vpn_without_a_helper_says_why_and_no_more(
    key: Path, capfd: pytest.CaptureFixture[str], is_root: bool
) -> None:
    options = (str(key), "--helper=/nowhere/helper")
    with run_program("examples/vpn.py", *options, as_nobody=is_root) as program:
        assert program.finish() == 1

    said = capfd.readouterr().err.splitlines()
    assert "/nowhere/helper" in said[0]
    assert len(said) == 2, said


# The first run of it reads the program.
@settings(deadline=None)
@given(st.lists(st.integers(0, 3000) | st.integers(0, 2**64 - 1), max_size=60))
def test_window_admits_each_number_once(numbers: list[int]) -> None:
    window, seen, newest = _window_class()(), set[int](), -1
    for number in numbers:
        admitted = window.admit(number)

        assert admitted == (number not in seen and number > newest - 1024)
        if admitted:
            seen.add(number)
        newest = max(newest, number)


@cache
def _window_class() -> Any:
    """Of the program, which is no module of any package."""
    return runpy.run_path(str(PROJECT / "examples/vpn.py"))["Window"]
