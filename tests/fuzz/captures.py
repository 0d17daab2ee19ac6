"""Hostile capture files: packets read in C must be those that the codecs in Python find.

Run as a program, it is a target for atheris: ``python tests/fuzz/captures.py CORPUS -max_len=…``.
"""

import importlib
import sys
from pathlib import Path

from aioprocket import Packet
from aioprocket.errors import WireError
from aioprocket.pcapng.parser import Parser

__all__ = ("check", "seeds")

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden" / "capture"

# Bytes, length, time and interface of each packet; and what ended it.
Outcome = tuple[list[tuple[bytes, int, int, int]], str]


class _InPython(Parser):
    """Reads no packet in C."""

    def _read(self, count: int) -> list[Packet]:
        return []


def seeds() -> list[bytes]:
    """What the fuzzers begin with."""
    folders = GOLDEN, HERE / "corpus" / "capture"
    return [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())]


def check(data: bytes) -> None:
    """Read it in two pieces, by both ways.

    Raises:
        AssertionError: They do not find the same.
    """
    by_c = _read(Parser(strict=True), data)
    if data.startswith(b"\x0a\x0d\x0d\x0a"):  # of pcap, Python has the headers alone
        by_python = _read(_InPython(strict=True), data)
        assert by_c == by_python, (by_c, by_python)


def _read(parser: Parser, data: bytes) -> Outcome:
    found: list[tuple[bytes, int, int, int]] = []
    half = len(data) // 2
    try:
        for piece in (data[:half], data[half:], None):
            if piece is None:
                parser.finish()
            else:
                parser.feed(piece)
            while packets := parser.take(3):
                found += [(p.data, p.wire_len, p.timestamp_ns, p.ifindex) for p in packets]
    except WireError as error:
        offset, words = error.offset, str(error)
        assert 0 <= offset <= len(data)
        return found, words
    return found, ""


def main() -> None:
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
