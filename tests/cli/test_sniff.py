"""``aioprocket sniff`` on real packets: what it shows, counts, and how it ends."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from lab import traffic
from lab.must import require
from lab.sniffing import send_datagrams, sniffing, wait_until
from sandbox import links
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.netns


@pytest.fixture
def cable() -> Iterator[str]:
    """An interface with an address, 10.7.0.1, and a neighbour that answers nothing."""
    links.add_veth("near", "far")
    try:
        for ifname in ("near", "far"):
            links.disable_ipv6(ifname)
            links.set_up(ifname)
        links.set_address("far", "02:00:00:00:00:02")
        links.add_address("near", "10.7.0.1/24")
        traffic.settle(("near", "far"))
        yield "near"
    finally:
        links.delete_link("near")


def test_line_says_when_which_way_from_whom_to_whom_and_what() -> None:
    with sniffing("-i", "lo", "-c", "2") as sniffer:
        port = send_datagrams(1, size=33)
        assert sniffer.finish() == 0

    # 33 bytes are 75 with the headers of UDP, IPv4 and Ethernet, which the loopback has, too.
    said = rf"127\.0\.0\.1:{port} > 127\.0\.0\.1:9 UDP len 33 \(75\)"
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d{{6}} out   {said}", sniffer.lines[0])
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d{{6}} in    {said}", sniffer.lines[1])


def test_dissect_adds_all_fields_as_scapy_has_them() -> None:
    pytest.importorskip("scapy")
    with sniffing("-i", "lo", "-c", "1", "--dissect") as sniffer:
        port = send_datagrams(1, size=33)
        assert sniffer.finish() == 0

    assert f"127.0.0.1:{port} > 127.0.0.1:9 UDP len 33" in sniffer.lines[0]
    layers = [line.strip() for line in sniffer.lines if line.startswith("###[")]
    fields = {line.strip(" |\\") for line in sniffer.lines}
    assert [name.strip("#[] ") for name in layers][:1] == ["Ethernet"]
    assert {"dst       = 127.0.0.1", f"sport     = {port}"} <= fields, sniffer.out


def test_count_is_exact_however_many_come() -> None:
    with sniffing("-i", "lo", "-c", "7") as sniffer:
        while sniffer.process.poll() is None:
            send_datagrams(50)

    assert sniffer.process.returncode == 0
    assert len(sniffer.lines) == 7
    assert "\n7 packets, " in sniffer.err


def test_several_interfaces_share_one_count(cable: str) -> None:
    with sniffing("-i", "lo", "-i", cable, "-c", "5") as sniffer:
        send_datagrams(1)
        send_datagrams(1, "10.7.0.2")
        while sniffer.process.poll() is None:
            send_datagrams(3)

    assert "listening on lo, near" in sniffer.err
    assert len(sniffer.lines) == 5
    assert {line.split()[1] for line in sniffer.lines} <= {"lo", "near"}


def test_without_interface_all_are_seen_and_named(cable: str) -> None:
    with sniffing() as sniffer:
        send_datagrams(1)
        send_datagrams(1, "10.7.0.2")  # asks for its hardware address first
        sniffer.until("who-has 10.7.0.2")
        assert sniffer.end() == 0

    named = {line.split()[1] for line in sniffer.lines}
    assert named == {"lo", "near", "far"}
    assert "near out   " in sniffer.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_with_a_summary(number: int) -> None:
    with sniffing("-i", "lo") as sniffer:
        send_datagrams(20)
        wait_until(lambda: len(sniffer.lines) == 40, "40 lines")
        assert sniffer.end(number) == 0

    assert re.search(r"^40 packets, 1\.9 kB in \d+\.\d+ s$", sniffer.err, re.M)
    assert re.search(r"^0 dropped by the kernel", sniffer.err, re.M)
    assert re.search(r"^  UDP +40 100\.0 %  █+$", sniffer.err, re.M)
    assert "Traceback" not in sniffer.err


def test_duration_ends_it() -> None:
    with sniffing("-i", "lo", "--duration", "0.2") as sniffer:
        assert sniffer.finish() == 0

    assert "0 packets, 0 B" in sniffer.err


def test_summary_counts_by_protocol_as_printed() -> None:
    with sniffing("-i", "lo") as sniffer:
        send_datagrams(3)
        with socket.socket() as refused:
            assert refused.connect_ex(("127.0.0.1", 9)) != 0
        # A query for example.org, type A, as `dig` sends it but for what follows the question.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
            query = bytes.fromhex("1234 0100 0001 0000 0000 0000 07") + b"example\x03org\0\0\1\0\1"
            resolver.sendto(query, ("127.0.0.1", 53))
        sniffer.until("query 4660 A example.org")
        wait_until(lambda: len(sniffer.lines) >= 6 + 4 + 2 + 2, "all lines")
        sniffer.end()

    kinds = dict(re.findall(r"^  (\w+) +(\d+) +[\d.]+ %", sniffer.err, re.M))
    # Each passes the loopback twice; what is refused is answered, by ICMP and by a reset.
    assert (kinds["TCP"], kinds["DNS"]) == ("4", "2")
    assert sum(map(int, kinds.values())) == len(sniffer.lines)


@pytest.mark.realroot  # tcpdump sets its groups, which a user namespace does not allow
def test_bytes_are_those_of_tcpdump() -> None:
    tcpdump = require("tcpdump")
    with sniffing("-i", "lo", "-c", "1", "-x") as sniffer:
        with subprocess.Popen(
            [tcpdump, "-n", "-i", "lo", "-c", "1", "-XX", "--immediate-mode"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stderr is not None
            next(line for line in other.stderr if "listening" in line)
            send_datagrams(1, size=21)
            shown, _ = other.communicate(timeout=45)
        assert sniffer.finish() == 0

    def rows(text: str) -> list[str]:
        return re.findall(r"^\s+(?:0x)?[\da-f]{4}:?\s+((?:[\da-f]{2,4} ?)+)", text, re.M)

    assert rows(sniffer.out)
    assert [row.split() for row in rows(sniffer.out)] == [row.split() for row in rows(shown)]


def test_json_is_one_object_per_line() -> None:
    with sniffing("-i", "lo", "--json", "-x", "-c", "2") as sniffer:
        port = send_datagrams(1, size=8)
        assert sniffer.finish() == 0
    first, second = map(json.loads, sniffer.lines)

    assert (first["direction"], second["direction"]) == ("out", "in")
    assert (first["source"], first["source_port"]) == ("127.0.0.1", port)
    assert (first["destination"], first["destination_port"]) == ("127.0.0.1", 9)
    assert (first["protocol"], first["length"], first["interface"]) == ("UDP", 50, "lo")
    assert [layer["layer"] for layer in first["layers"]] == ["ethernet", "ipv4", "udp"]
    assert first["layers"][1]["ttl"] == 64
    assert bytes.fromhex(first["data"])[-8:] == bytes(8)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", first["time"])
    assert first["time"].endswith(f".{first['timestamp_ns'] % 10**9:09}Z")


def test_snaplen_keeps_the_beginning_and_says_so() -> None:
    with sniffing("-i", "lo", "-s", "44", "-c", "1") as sniffer:
        send_datagrams(1, size=500)
        assert sniffer.finish() == 0

    assert sniffer.lines[0].endswith("UDP len 500 (542, kept 44)")


def test_tag_is_shown_that_the_kernel_has_taken_out(cable: str) -> None:
    frame = bytes.fromhex("ffffffffffff 020000000009 8100 0007 0806 0001 0800 06 04 0001")
    frame += bytes.fromhex("020000000009 0a070009 000000000000 0a070001")
    with (
        sniffing("-i", cable, "-c", "1") as sniffer,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender,
    ):
        sender.bind(("far", 0))
        sender.send(frame)
        assert sniffer.finish() == 0

    assert " vlan 7 02:00:00:00:00:09 > ff:ff:ff:ff:ff:ff ARP who-has 10.7.0.1" in sniffer.out


def test_other_namespace_is_entered(namespace: Namespace) -> None:
    with sniffing("-i", "lo", "-c", "1", "--namespace", namespace.path) as sniffer:
        send_datagrams(1)  # here: not seen
        with namespace.entered():
            links.set_up("lo")
            send_datagrams(1, size=77)
        assert sniffer.finish() == 0

    assert "UDP len 77" in sniffer.lines[0]


def test_interface_that_goes_away_ends_it_with_an_error() -> None:
    links.add_veth("mortal", "peer")
    links.set_up("mortal")
    with sniffing("-i", "mortal") as sniffer:
        links.delete_link("mortal")
        assert sniffer.finish() == 2

    assert "receive on mortal: the interface was removed" in sniffer.err.splitlines()[-2]
    assert " dropped by the kernel" in sniffer.err
