"""What the compiler and the linker were told, looked up in the binary that was built."""

import os
import re
import subprocess
from pathlib import Path

from lab.must import require

ENDBR64 = b"\xf3\x0f\x1e\xfa"
BTI_C, PACIASP = b"\x5f\x24\x03\xd5", b"\x3f\x23\x03\xd5"
SOME = 20  # the helper's own functions that pointers lead to, and libc's, are more


def _readelf(option: str, binary: Path) -> str:
    command = [require("readelf"), "--wide", option, str(binary)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_it_lies_where_nobody_knows(helper_binary: Path) -> None:
    assert re.search(r"Type:\s+DYN", _readelf("-h", helper_binary))
    dynamic = _readelf("-d", helper_binary)
    assert re.search(r"FLAGS_1.*\bPIE\b", dynamic)
    assert "TEXTREL" not in dynamic


def test_what_is_relocated_is_read_only_before_main(helper_binary: Path) -> None:
    dynamic = _readelf("-d", helper_binary)
    assert "GNU_RELRO" in _readelf("-l", helper_binary)
    assert re.search(r"BIND_NOW|FLAGS_1.*\bNOW\b", dynamic)


def test_nothing_is_writable_and_executable(helper_binary: Path) -> None:
    segments = _readelf("-l", helper_binary)
    assert re.search(r"GNU_STACK\s.*\sRW\s", segments)
    assert not re.search(r"\sRWE\s", segments)


def test_a_smashed_stack_ends_it(helper_binary: Path) -> None:
    # The words of libc's function are there only if something calls it.
    assert _contains(helper_binary, b"stack smashing detected", "__stack_chk_fail")


def test_a_call_that_writes_too_much_ends_it(helper_binary: Path) -> None:
    assert _contains(helper_binary, b"buffer overflow detected", "_chk")


def _contains(binary: Path, words: bytes, symbol: str) -> bool:
    return words in binary.read_bytes() or symbol in _readelf("--dyn-syms", binary)


def test_jumps_lead_to_places_for_jumps_only(helper_binary: Path) -> None:
    code = helper_binary.read_bytes()
    if os.uname().machine == "x86_64":
        assert code.count(ENDBR64) > SOME
    elif os.uname().machine == "aarch64":
        assert code.count(BTI_C) + code.count(PACIASP) > SOME


def test_it_looks_for_no_library_in_a_place_of_its_own(helper_binary: Path) -> None:
    assert not re.search(r"RPATH|RUNPATH", _readelf("-d", helper_binary))
