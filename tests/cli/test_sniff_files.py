"""``aioprocket sniff`` and capture files: what is written, others read; and the other way."""

import json
import re
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from aioprocket.wire.pcapng import EnhancedPacket, InterfaceDescription
from lab import traffic
from lab.must import require
from lab.sniffing import command, environment, send_datagrams, sniffing
from pcapng.files import section
from sandbox import links

pytestmark = pytest.mark.netns

# tcpdump sets its groups, which a user namespace does not allow.
with_tcpdump = pytest.mark.realroot


def tcpdump(*arguments: str) -> list[str]:
    done = subprocess.run(
        [require("tcpdump"), "-n", "-t", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Six packets by tcpdump: four of UDP to port 9, two to port 10; the loopback's once each."""
    path = tmp_path / "recorded.pcap"
    with subprocess.Popen(
        [require("tcpdump"), "-i", "lo", "-c", "6", "-w", path, "--immediate-mode", "-Z", "root"],
        stderr=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stderr is not None
        next(line for line in other.stderr if "listening" in line)
        send_datagrams(4, size=5)
        send_datagrams(2, port=10, size=6)
        other.communicate(timeout=45)
    return path


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment(), timeout=45,
        check=False,
    )  # fmt: skip


@with_tcpdump
@pytest.mark.parametrize("name", ["kept.pcapng", "kept.pcap", "kept.pcapng.gz"])
def test_what_is_written_tcpdump_reads(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with sniffing("-i", "lo", "-c", "20", "-w", str(path)) as sniffer:
        port = send_datagrams(10, size=33)
        assert sniffer.finish() == 0
    if path.suffix == ".gz":
        subprocess.run(["gunzip", path], check=True)
        path = path.with_suffix("")

    assert tcpdump("-r", str(path)) == 20 * [f"IP 127.0.0.1.{port} > 127.0.0.1.9: UDP, length 33"]
    assert sniffer.out == ""
    assert f"20 packets written to {tmp_path / name}" in sniffer.err
    assert re.search(r"^  UDP +20 100\.0 %", sniffer.err, re.M)


@with_tcpdump
def test_file_that_exists_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "kept.pcapng"
    path.write_text("mine")

    with sniffing("-i", "lo", "-w", str(path), ready="") as sniffer:
        assert sniffer.finish() == 2

    assert path.read_text() == "mine"
    assert "File exists (EEXIST)" in sniffer.err
    assert sniffer.err.splitlines()[-1] == "--force replaces it"

    with sniffing("-i", "lo", "-w", str(path), "--force", "-c", "2") as sniffer:
        send_datagrams(1)
        assert sniffer.finish() == 0

    assert len(tcpdump("-r", str(path))) == 2


@with_tcpdump
def test_files_are_rotated_and_the_oldest_removed(tmp_path: Path) -> None:
    arguments = ("-w", str(tmp_path / "ring.pcapng"), "--rotate-packets", "4", "-W", "2")
    with sniffing("-i", "lo", "-c", "18", *arguments) as sniffer:
        send_datagrams(9)
        assert sniffer.finish() == 0
    kept = sorted(tmp_path.iterdir())

    assert [path.name.split("_")[1] for path in kept] == ["00004", "00005"]
    assert [len(tcpdump("-r", str(path))) for path in kept] == [4, 2]
    assert "the last of 5 files" in sniffer.err


@with_tcpdump
def test_pipe_is_read_while_it_is_written() -> None:
    program = [require("tcpdump"), "-n", "-t", "-r", "-", "-l", "-Z", "root"]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        with sniffing("-i", "lo", "-w", "-", stdout=reader.stdin) as sniffer:
            reader.stdin.close()
            send_datagrams(1)
            # It has come through before the capture ends.
            assert "UDP, length 5" in reader.stdout.readline()
            assert sniffer.end() == 0


@with_tcpdump
def test_tag_is_put_back_into_the_file(veth: tuple[str, str], tmp_path: Path) -> None:
    sender, receiver = veth
    path = tmp_path / "tagged.pcapng"
    with (
        sniffing("-i", receiver, "-c", "1", "-w", str(path)) as sniffer,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock,
    ):
        sock.bind((sender, 0))
        frame = traffic.frame(1)
        sock.send(frame[:12] + bytes.fromhex("81000007") + frame[12:])
        assert sniffer.finish() == 0

    assert "vlan 7" in tcpdump("-e", "-r", str(path))[0]
    assert " vlan 7 " in run("-r", str(path)).stdout


@with_tcpdump
def test_what_tcpdump_has_written_is_read(recorded: Path) -> None:
    done = run("-r", str(recorded))

    assert done.returncode == 0
    ours = [re.search(r"(\S+):(\d+) > (\S+):(\d+) UDP len (\d+)", line) for line in
            done.stdout.splitlines()]  # fmt: skip
    theirs = [re.search(r"IP (\S+)\.(\d+) > (\S+)\.(\d+): UDP, length (\d+)", line) for line in
              tcpdump("-r", str(recorded))]  # fmt: skip
    assert [each and each.groups() for each in ours] == [each and each.groups() for each in theirs]
    assert "6 packets, " in done.stderr


@with_tcpdump
def test_expression_chooses_from_a_file(recorded: Path, tmp_path: Path) -> None:
    pytest.importorskip("cypcap")
    copy = tmp_path / "copy.pcapng"

    done = run("-r", str(recorded), "-w", str(copy), "--print", "udp", "port", "10")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert tcpdump("-r", str(copy)) == tcpdump("-r", str(recorded), "udp port 10")


@pytest.mark.parametrize(
    ("expression", "at"), [("udp prot 10", 4), ("udp port 10 )", 12), ("port http2x", 5)]
)
def test_broken_expression_is_shown_where_it_breaks(expression: str, at: int) -> None:
    pytest.importorskip("cypcap")
    done = run("-i", "lo", expression)

    assert done.returncode == 2
    lines = done.stderr.splitlines()
    place = lines.index(f"  {expression}")
    assert lines[place + 1] == "  " + " " * at + "^"


def test_expression_filters_in_the_kernel() -> None:
    pytest.importorskip("cypcap")
    with sniffing("-i", "lo", "-c", "2", "udp", "port", "10") as sniffer:
        send_datagrams(5)
        send_datagrams(1, port=10)
        assert sniffer.finish() == 0

    assert all(":10 UDP" in line for line in sniffer.lines)
    assert "2 packets, " in sniffer.err


@with_tcpdump
def test_file_that_is_cut_is_read_as_far_as_it_goes(recorded: Path) -> None:
    recorded.write_bytes(recorded.read_bytes()[:-3])

    done = run("-r", str(recorded))

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 5
    assert "recorded.pcap ends within a packet" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"#!/bin/sh\nexit 0\n", "x.pcap")]
)
def test_what_is_no_capture_file_is_refused(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.pcap"
    if content is not None:
        path.write_bytes(content)

    done = run("-r", str(path))

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_packets_of_other_link_types_are_understood(tmp_path: Path) -> None:
    # LINKTYPE_RAW: an echo request, as in tests/golden/dissect/raw6.txt but for the protocol.
    packet = bytes.fromhex("60000000 0008 3a40") + bytes(15) + b"\1" + bytes(15) + b"\1"
    packet += bytes.fromhex("80 00 0000 0102 0009")
    path = tmp_path / "raw.pcap"
    header = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    path.write_bytes(header + struct.pack("=IIII", 1, 5, len(packet), len(packet)) + packet)

    done = run("-r", str(path))

    assert "00:00:01.000005" in done.stdout
    assert "::1 > ::1 ICMPv6 echo request id 258 seq 9" in done.stdout


def test_name_of_an_interface_cannot_command_the_terminal(tmp_path: Path) -> None:
    # The title of a window, a line of its own, a colour by the one byte that some terminals obey.
    name = "eth\x1b]0;owned\x07\n\x9b31m\u2028"
    path = tmp_path / "evil.pcapng"
    packet = EnhancedPacket(data=bytes(60), wire_len=60)
    path.write_bytes(section(InterfaceDescription(name=name), packet))

    (line,) = run("-r", str(path)).stdout.splitlines()
    assert line.isprintable()
    assert "eth\\x1b]0;owned" in line
    output = run("--json", "-r", str(path)).stdout.removesuffix("\n")
    assert output.isprintable()
    assert json.loads(output)["interface"] == name


def test_all_interfaces_are_in_the_file_by_name(tmp_path: Path) -> None:
    path = tmp_path / "all.pcapng"
    links.add_veth("near", "far")
    try:
        for ifname in ("near", "far"):
            links.disable_ipv6(ifname)
            links.set_up(ifname)
        traffic.settle(("near", "far"))
        with sniffing("-w", str(path), "-c", "8") as sniffer:
            send_datagrams(3)
            with traffic.flood("near", 1):
                assert sniffer.finish() == 0
    finally:
        links.delete_link("near")

    names = {line.split()[1] for line in run("-r", str(path)).stdout.splitlines()}
    assert names == {"lo", "near", "far"}
