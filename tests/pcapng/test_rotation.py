"""Captures that go on in further files."""

import os
from pathlib import Path

import anyio
import pytest

from aioprocket import SpecError
from aioprocket.pcapng import Interface, Reader, Rotation, Writer
from pcapng.files import numbers, packet

pytestmark = pytest.mark.anyio


def there(folder: Path) -> list[str]:
    return sorted(map(str, folder.iterdir()))


async def test_files_are_rotated_by_packets(tmp_path: Path) -> None:
    rotation = Rotation(packets=3)
    async with Writer(tmp_path / "a.pcapng", rotation=rotation) as writer:
        writer.write([packet(number) for number in range(8)])
    assert [numbers(path) for path in writer.files] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [Path(path).name[:8] for path in writer.files] == ["a_00001_", "a_00002_", "a_00003_"]
    assert all(Path(path).suffix == ".pcapng" for path in writer.files)
    assert there(tmp_path) == sorted(writer.files)
    assert writer.stats().files == 3


@pytest.mark.parametrize("name", ["a.pcapng", "a.pcap"])
async def test_no_file_is_larger_than_it_may_be(tmp_path: Path, name: str) -> None:
    limit = 2000
    async with Writer(tmp_path / name, rotation=Rotation(size=limit)) as writer:
        writer.write([packet(number, 60 + number % 7) for number in range(100)])
        writer.write(packet(100, 5000))  # larger than a file may be: alone in one
    sizes = list(map(os.path.getsize, writer.files))
    room_for_statistics = 200
    assert all(size <= limit + room_for_statistics for size in sizes[:-1])
    assert len(numbers(writer.files[-1])) == 1
    assert [each for path in writer.files for each in numbers(path)] == list(range(101))


async def test_oldest_file_of_a_ring_is_removed(tmp_path: Path) -> None:
    rotation = Rotation(packets=1, files=2)
    async with Writer(tmp_path / "a.pcapng.gz", rotation=rotation) as writer:
        for number in range(5):
            writer.write(packet(number))
    assert [numbers(path) for path in writer.files] == [[3], [4]]
    assert there(tmp_path) == sorted(writer.files)
    assert all(path.endswith(".pcapng.gz") for path in writer.files)


async def test_next_file_begins_after_its_time(tmp_path: Path) -> None:
    async with Writer(tmp_path / "a.pcap", rotation=Rotation(seconds=0.05)) as writer:
        for number in range(3):
            writer.write([packet(number)] * 2)
            await anyio.sleep(0.06)
    assert [numbers(path) for path in writer.files] == [[0, 0], [1, 1], [2, 2]]


async def test_every_file_describes_all_interfaces(tmp_path: Path) -> None:
    sources = Interface(name="a"), Interface(name="b", linktype=101)
    async with Writer(tmp_path / "a.pcapng", *sources, rotation=Rotation(packets=1)) as writer:
        writer.write(packet(1), 1)
        writer.write(packet(2), 1)
    for path in writer.files:
        with Reader(path) as reader:
            (read,) = reader.read()
            assert reader.interface_of(read).name == "b"


@pytest.mark.parametrize(
    "limits", [{}, {"files": 2}, {"size": 0}, {"seconds": -1.0}, {"packets": 3, "files": 0}]
)
def test_rotation_that_cannot_be_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(SpecError, match="rotation"):
        Rotation(**limits)
