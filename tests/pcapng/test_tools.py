"""What is written here is read by other programs, and the other way round."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from aioprocket import Packet
from aioprocket.pcapng import Interface, Reader, Rotation, Writer
from lab.must import require, unavailable
from pcapng.files import ARP, START, packet
from pcapng.test_reader import FILES, GOLDEN

pytestmark = pytest.mark.anyio

# They look for configuration in the home folder, and say so where there is none.
ENVIRONMENT = os.environ | {"HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def output(tool: str, *arguments: str | Path, data: bytes | None = None) -> str:
    done = subprocess.run(
        [require(tool), *arguments],
        input=data,
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def fields(path: Path, *names: str, data: bytes | None = None) -> list[list[str]]:
    """What tshark says of each packet."""
    wanted = [argument for name in names for argument in ("-e", name)]
    lines = output("tshark", "-n", "-r", path, "-T", "fields", *wanted, data=data).splitlines()
    return [line.split("\t") for line in lines]


def moment(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{seconds}.{rest:09}"


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: what a file holds does not depend on it."""
    return "asyncio"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "written.pcapng"


async def test_tshark_sees_what_was_written(written: Path) -> None:
    require("tshark")
    first = Interface(name="eth7", description="the uplink", filter="arp", os="Linux")
    async with Writer(written, first, Interface(linktype=101, name="tun7")) as writer:
        writer.write(packet(1, direction="out"), comment="look here")
        writer.write([packet(2, direction="broadcast"), Packet(ARP, vlan_tci=5, wire_len=90)])
        writer.write(Packet(bytes.fromhex("45000014") + bytes(16), timestamp_ns=START), 1)

    names = (
        "frame.time_epoch", "frame.cap_len", "frame.len", "frame.interface_name",
        "frame.comment", "vlan.id", "frame.protocols", "frame.packet_flags_direction",
    )  # fmt: skip
    *told, directions = zip(*fields(written, *names), strict=True)
    assert list(zip(*told, strict=True)) == [
        (moment(START + 1000), "60", "60", "eth7", "look here", "", "eth:ethertype:arp"),
        (moment(START + 2000), "60", "60", "eth7", "", "", "eth:ethertype:arp"),
        ("0.000000000", "46", "94", "eth7", "", "5", "eth:ethertype:vlan:ethertype:arp"),
        (moment(START), "20", "20", "tun7", "", "", "raw:ip"),
    ]
    assert [int(direction, 0) for direction in directions] == [2, 1, 1, 1]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("name", ["a.pcapng", "a.pcap", "a.pcapng.gz", "a.pcapng.zst"])
async def test_capinfos_counts_what_was_written(tmp_path: Path, name: str, order: Any) -> None:
    require("capinfos")
    if name.endswith(".zst") and sys.version_info < (3, 14):
        pytest.importorskip("zstandard")
    path = tmp_path / name
    async with Writer(path, order=order) as writer:
        writer.write([packet(number) for number in range(1000)])

    said = output("capinfos", "-M", "-c", "-d", "-l", path)
    assert "Number of packets:   1000" in said
    assert "Data size:           60000 bytes" in said


async def test_capinfos_tells_the_drops(written: Path) -> None:
    require("capinfos")
    async with Writer(written, Interface(name="eth7"), comment="why") as writer:
        writer.write(packet(1))
        writer._recording.interface(0).drop(3)
        writer.write(packet(2))

    said = output("capinfos", written)
    assert "Capture comment:     why" in said
    assert "Name = eth7" in said
    assert "Time precision = nanoseconds (9)" in said
    assert "Number of stat entries = 1" in said
    assert "3" in fields(written, "frame.drop_count")[1]


def test_tshark_reads_a_pipe_while_it_is_written() -> None:
    command = [require("tshark"), "-n", "-l", "-r", "-", "-T", "fields", "-e", "frame.cap_len"]
    own = [sys.executable, "-c", PIPED]
    with (
        subprocess.Popen(own, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writing,
        subprocess.Popen(
            command,
            stdin=writing.stdout,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
            stderr=subprocess.DEVNULL,
        ) as reading,
    ):
        assert writing.stdin is not None
        assert writing.stdout is not None
        assert reading.stdout is not None
        writing.stdout.close()  # tshark has it
        for size in (60, 70, 80):
            writing.stdin.write(f"{size}\n".encode())
            writing.stdin.flush()
        writing.stdin.close()
        assert reading.stdout.read() == b"60\n70\n80\n"
        assert writing.wait() == 0


PIPED = """
import sys
import anyio
from aioprocket import Packet
from aioprocket.pcapng import Writer


async def main():
    async with Writer("-") as writer:
        for line in sys.stdin:
            writer.write(Packet(bytes(int(line)), timestamp_ns=1))
            await writer.flush()


anyio.run(main)
"""


@pytest.mark.parametrize("name", ["a.pcapng", "a.pcap", "a.pcapng.gz"])
def test_file_of_a_program_that_was_killed_is_read_up_to_the_last_whole_packet(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    with subprocess.Popen([sys.executable, "-c", ENDLESS, path]) as writing:
        while not path.exists() or path.stat().st_size < 300_000:
            assert writing.poll() is None
            time.sleep(0.001)
        writing.kill()
    reader = Reader(path)
    sizes = [len(each) for each in reader]
    assert len(sizes) > 100
    assert sizes == [60 + number % 100 for number in range(len(sizes))]


ENDLESS = """
import sys
import anyio
from aioprocket import Packet
from aioprocket.pcapng import Writer


async def main():
    packets = [Packet(bytes(60 + number), timestamp_ns=number) for number in range(100)]
    async with Writer(sys.argv[1]) as writer:
        while True:
            await writer.send(packets)
            await anyio.lowlevel.checkpoint()


anyio.run(main)
"""


async def test_program_whose_reader_has_gone_ends_by_a_broken_pipe() -> None:
    program = PIPED.replace("for line in sys.stdin", "for line in ['60'] * 10")
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = await anyio.run_process(
            [sys.executable, "-c", program], stdout=write_end, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write_end)
    assert done.returncode == 1
    last = [line for line in done.stderr.decode().splitlines() if "Error" in line][-1]
    assert last.endswith("write to the standard stream: Broken pipe (EPIPE)")


@pytest.mark.parametrize("name", FILES)
def test_tshark_reads_the_same_in_files_of_others(name: str) -> None:
    require("tshark")
    told = fields(GOLDEN / name, "frame.time_epoch", "frame.cap_len", "frame.len")
    assert [
        [moment(each.timestamp_ns), str(len(each)), str(each.wire_len)]
        for each in Reader(GOLDEN / name)
    ] == told


@pytest.mark.parametrize("name", ["a.pcapng", "a.pcap", "a.pcap.gz"])
async def test_scapy_reads_what_was_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    async with Writer(path) as writer:
        writer.write([packet(number, 60 + number, direction="out") for number in range(20)])

    done = await anyio.run_process([sys.executable, "-c", BY_SCAPY, str(path)], check=False)
    if done.returncode == 77:
        unavailable("scapy", "scapy is not installed")
    assert done.returncode == 0, done.stderr.decode()
    read = json.loads(done.stdout)
    assert [bytes.fromhex(data) for data, _, _ in read] == [
        packet(number, 60 + number).data for number in range(20)
    ]
    assert [size for _, size, _ in read] == list(range(60, 80))
    nanoseconds = [packet(number).timestamp_ns for number in range(20)]
    if "pcapng" in name:
        # Scapy has a float, of some 200 ns.
        assert all(
            abs(float(told) * 1e9 - exact) < 1000
            for (_, _, told), exact in zip(read, nanoseconds, strict=True)
        )
    else:
        assert [int(told) for _, _, told in read] == nanoseconds


BY_SCAPY = """
import json
import sys
try:
    from scapy.utils import RawPcapReader
except ImportError:
    sys.exit(77)
found = []
for data, meta in RawPcapReader(sys.argv[1]):
    if hasattr(meta, "tshigh"):
        ticks = (meta.tshigh << 32) + meta.tslow
        found.append((data.hex(), meta.wirelen, str(ticks / meta.tsresol)))
    else:
        found.append((data.hex(), meta.wirelen, str(meta.sec * 10**9 + meta.usec)))
print(json.dumps(found))
"""


@pytest.mark.realroot  # tcpdump sets its groups, which a user namespace does not allow
async def test_tcpdump_reads_what_was_written(tmp_path: Path) -> None:
    require("tcpdump")
    for name in ("a.pcap", "a.pcapng"):
        async with Writer(tmp_path / name, order="big") as writer:
            writer.write(packet(7))
        said = output("tcpdump", "-ttnr", tmp_path / name, "--time-stamp-precision=nano")
        assert said.startswith(f"{moment(START + 7000)} ARP, Request who-has 192.0.2.2")


async def test_mergecap_merges_a_rotation(tmp_path: Path) -> None:
    require("mergecap")
    async with Writer(tmp_path / "a.pcapng", rotation=Rotation(packets=4)) as writer:
        writer.write([packet(number) for number in range(10)])
    output("mergecap", "-w", tmp_path / "all", *writer.files)
    assert [each.timestamp_ns for each in Reader(tmp_path / "all")] == [
        packet(number).timestamp_ns for number in range(10)
    ]
