"""Promises about the helper that its source and its symbols can be asked for."""

import re
import subprocess
from pathlib import Path

import pytest

import golden
from helper_c.builds import HELPER, compile_c, link_options, options, pure_sources, sources
from lab.must import require, unavailable

pytestmark = pytest.mark.once

SOURCES = sources()
BUDGET = {
    part: (int(most), files)
    for line in (HELPER / "BUDGET").read_text().splitlines()
    if line and not line.startswith("#")
    for part, most, *files in [line.split()]
}
FUNCTION_LINES = 50
WIDTH = 80
FUZZERS = Path(__file__).parents[1] / "fuzz"

# What has no place where there is privilege: heap, standard I/O, names that others resolve,
# locales, numbers without a check, other programs, the terminal.
FORBIDDEN = re.compile(
    r"(m|c|re)alloc|free|str(n?)dup|alloca|.*printf.*|f?puts|f?write_unlocked|putc(har)?|f(open|"
    r"close|read|gets|flush)|perror|stderr|stdout|getaddrinfo|gethost.*|getserv.*|getproto.*|"
    r"(get|set)pw.*|(get|set)gr(nam|gid|ent).*|initgroups|setlocale|str(to.*|cpy|cat|error.*)|"
    r"ato[a-z]+|scanf.*|system|popen|exec.*|posix_spawn.*|vfork|dl.*|isatty|tty.*|getopt.*|"
    r"setenv|putenv|secure_getenv|pthread.*|syslog|openlog|signalfd|ptrace"
)
EXITS = {"exit", "_exit", "_Exit", "abort", "__assert_fail", "quick_exit"}
# What a compiler may call for C itself; none makes a system call.
PURE = {
    "memcmp", "memcpy", "memset", "strchr", "strcmp", "strlen", "strncmp", "strnlen", "inet_pton",
    "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_",
}  # fmt: skip


# What the pure files take from one another.
PURE_OF_OURS = {
    "policy_parse", "request_is_device_name", "request_is_interface_name", "request_is_ipv4",
    "request_is_packet", "rule_check", "rule_fail", "rule_read_word", "span_begins", "span_copy",
    "span_is", "span_number", "span_range", "span_ranges", "span_split", "span_without",
}  # fmt: skip


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """By source file, the symbols that its object file takes from elsewhere."""
    compiler, folder = require("gcc"), tmp_path_factory.mktemp("objects")
    nm = require("nm")
    found = {}
    for source in SOURCES:
        made = compile_c(compiler, [source], folder / f"{source.stem}.o", "-c", "-fPIE")
        listed = subprocess.run([nm, "-u", made], capture_output=True, text=True, check=True)
        found[source.name] = {line.split()[-1] for line in listed.stdout.splitlines()}
    return found


@pytest.fixture(scope="module", params=["-pie", "-static-pie"])
def binary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The helper, built with the options of CMakeLists.txt."""
    out = tmp_path_factory.mktemp("binary") / "aioprocket-helper"
    further = [*options(), "-fPIE", *link_options(request.param)]
    return compile_c(require("gcc"), SOURCES, out, *further)


def test_cmake_builds_every_source_there_is() -> None:
    assert set(SOURCES) == set(HELPER.glob("*.c"))


def test_each_part_of_the_helper_stays_small() -> None:
    # Comments are free: a budget on them would be paid in comments.
    for part, (most, files) in BUDGET.items():
        lines = {name: _lines_of_code(HELPER / name) for name in files}
        assert sum(lines.values()) <= most, (part, lines)


def test_every_file_of_the_helper_is_in_one_part_of_the_budget() -> None:
    counted = [name for _, files in BUDGET.values() for name in files]
    assert sorted(counted) == sorted(path.name for path in HELPER.glob("*.[ch]"))


def _lines_of_code(path: Path) -> int:
    bare = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.S)
    return sum(1 for line in bare.splitlines() if line.strip())


@pytest.mark.parametrize("path", sorted(HELPER.glob("*.[ch]")), ids=lambda path: path.name)
def test_sources_keep_their_form(path: Path) -> None:
    lines = _lines(path)
    assert lines[0] == "/* SPDX-License-Identifier: MIT */"
    wide = [number for number, line in enumerate(lines, 1) if len(line.expandtabs(8)) > WIDTH]
    assert not wide, "wider than 80 columns"
    assert not [line for line in lines if line != line.rstrip() or line.startswith(" " * 8)]
    # -Wswitch-enum speaks only where no default swallows a new value.
    assert not [line for line in lines if re.match(r"\s*default\s*:", line)]
    assert not [length for length in _function_lengths(lines) if length > FUNCTION_LINES]


def test_nothing_forbidden_is_called(objects: dict[str, set[str]]) -> None:
    called = {name: {s for s in taken if FORBIDDEN.fullmatch(s)} for name, taken in objects.items()}
    assert not {name: symbols for name, symbols in called.items() if symbols}


def test_only_main_ends_the_process(objects: dict[str, set[str]]) -> None:
    # By returning from main(), so nobody needs to call anything.
    assert not {name for name, taken in objects.items() if taken & EXITS}


def test_only_two_files_raise_capabilities(objects: dict[str, set[str]]) -> None:
    assert _users(objects, "privilege_raise") == {"open.c", "tun.c"}
    assert _users(objects, "privilege_lower") == {"open.c", "tun.c"}


def test_descriptors_are_opened_by_way_of_the_decision_only(objects: dict[str, set[str]]) -> None:
    assert _users(objects, "policy_decide") == {"serve.c"}
    assert _users(objects, "open_job") == {"serve.c"}
    assert _users(objects, "impl_tun") == {"open.c"}


@pytest.mark.parametrize("name", [*(path.name for path in pure_sources()), "link.c"])
def test_decoder_and_policy_make_no_system_call(objects: dict[str, set[str]], name: str) -> None:
    assert objects[name] <= PURE | PURE_OF_OURS


def test_the_test_for_forbidden_calls_knows_them() -> None:
    for name in ("malloc", "printf", "__printf_chk", "getpwnam", "strtoul", "atoi", "execve"):
        assert FORBIDDEN.fullmatch(name), name
    for name in ("memcpy", "setgroups", "getresuid", "write", "waitpid", "strnlen"):
        assert not FORBIDDEN.fullmatch(name), name


def test_gccs_analyzer_finds_nothing(tmp_path: Path) -> None:
    compiler = require("gcc")
    for source in SOURCES:
        compile_c(compiler, [source], tmp_path / "out.o", "-c", "-O2", "-fanalyzer")


def test_clang_warns_of_nothing(tmp_path: Path) -> None:
    compiler = require("clang")
    for source in SOURCES:
        compile_c(compiler, [source], tmp_path / "out.o", "-c", "-O2", "-Wextra-semi")


def test_it_links_with_libc_alone(binary: Path) -> None:
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", _readelf("-d", binary))
    assert {name for name in needed if not name.startswith("ld-")} <= {"libc.so.6"}


def test_it_is_hardened(binary: Path) -> None:
    dynamic, segments = _readelf("-d", binary), _readelf("-l", binary)
    assert "PIE" in dynamic
    assert "BIND_NOW" in dynamic or re.search(r"FLAGS_1.*\bNOW\b", dynamic)
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK\s.*\bRW\b", segments)
    assert not re.search(r"\bRWE\b", segments)
    assert "__stack_chk_fail" in _readelf("--syms", binary)


@pytest.mark.parametrize("target", ["request", "policy"])
@pytest.mark.hostile(20)
def test_the_pure_half_survives_a_moment_of_fuzzing(tmp_path: Path, target: str) -> None:
    compiler = require("clang")
    files = [FUZZERS / f"{target}.c", *pure_sources()]
    program = compile_c(
        compiler, files, tmp_path / "fuzzer", "-g", "-O1",
        "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all",
    )  # fmt: skip
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for message in golden.good("request") + golden.faulty("request"):
        (corpus / message.name).write_bytes(message.data)
    for path in (FUZZERS / "corpus" / target).glob("*"):
        (corpus / path.name).write_bytes(path.read_bytes())
    run = subprocess.run(
        [program, "-runs=20000", "-seed=1", "-max_len=33000", corpus],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "failed to find" in run.stderr:
        unavailable("clang", run.stderr)
    assert run.returncode == 0, run.stderr


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines()


def _function_lengths(lines: list[str]) -> list[int]:
    starts = [number for number, line in enumerate(lines) if line == "{"]
    ends = [number for number, line in enumerate(lines) if line == "}"]
    assert len(starts) == len(ends)
    return [end - start + 1 for start, end in zip(starts, ends, strict=True)]


def _users(objects: dict[str, set[str]], symbol: str) -> set[str]:
    return {name for name, taken in objects.items() if symbol in taken}


def _readelf(option: str, binary: Path) -> str:
    command = [require("readelf"), "--wide", option, str(binary)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
