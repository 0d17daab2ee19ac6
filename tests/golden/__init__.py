"""Reads the golden files; README.md beside this says what their form is."""

from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Golden:
    """One file: its meaning as pairs of key and value, in order, and its bytes."""

    name: str
    meaning: tuple[tuple[str, str], ...]
    data: bytes

    def __getitem__(self, key: str) -> str:
        return dict(self.meaning)[key]


def good(folder: str) -> list[Golden]:
    """The messages without a fault, by name."""
    return [golden for golden in _all(folder) if not golden.name.startswith("fault-")]


def faulty(folder: str) -> list[Golden]:
    """The messages with a fault, by name."""
    return [golden for golden in _all(folder) if golden.name.startswith("fault-")]


def load(folder: str, name: str) -> Golden:
    """One message."""
    return _read(_HERE / folder / f"{name}.txt")


def name_of(golden: Golden) -> str:
    """The id of a test."""
    return golden.name


def _all(folder: str) -> list[Golden]:
    found = [_read(path) for path in sorted((_HERE / folder).glob("*.txt"))]
    assert found, f"no golden files in {folder}"
    return found


def _read(path: Path) -> Golden:
    meaning = []
    digits = []
    for line in path.read_text(encoding="ascii").splitlines():
        if not line or line.startswith("#"):
            continue
        key, _, value = line.partition(": ")
        if key == "hex":
            digits.append(value.partition("#")[0])
        else:
            meaning.append((key, value))
    return Golden(path.stem, tuple(meaning), bytes.fromhex("".join(digits)))
