"""How the tests compile the helper's sources: CMakeLists.txt's warnings, as errors."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lab.must import unavailable

__all__ = (
    "HELPER",
    "SANITIZERS",
    "compile_c",
    "link_options",
    "options",
    "pure_sources",
    "sources",
    "warnings",
)

PROJECT = Path(__file__).resolve().parents[2]
HELPER = PROJECT / "helper"
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g")


def sources() -> list[Path]:
    """The sources that CMakeLists.txt makes the helper of."""
    return [PROJECT / name for name in _listed("add_executable(aioprocket-helper")]


def pure_sources() -> list[Path]:
    """The decoder and the policy: what makes no system call, and is fuzzed."""
    policy = ("policy.c", "policy_parse.c", "policy_words.c", "span.c")
    names = ("request.c", *policy, "confine.c")
    return [HELPER / name for name in names]


def warnings() -> list[str]:
    """The warnings under which the helper has to compile."""
    return [*_listed("set(AIOPROCKET_WARNINGS"), "-Werror"]


def options() -> list[str]:
    """The helper's further options of compilation."""
    return _listed("target_compile_options(aioprocket-helper PRIVATE ${AIOPROCKET_WARNINGS}")


def link_options(pie: str) -> list[str]:
    """The helper's options of linking; ``pie`` is the one that depends on the system's libc."""
    listed = _listed("target_link_options(aioprocket-helper PRIVATE")
    return [pie if option == "${AIOPROCKET_PIE}" else option for option in listed]


def _listed(command: str) -> list[str]:
    _, found, rest = (PROJECT / "CMakeLists.txt").read_text().partition(command)
    assert found, command
    return rest[: rest.index(")")].split()


def compile_c(compiler: str, files: Iterable[Path], out: Path, *options: str) -> Path:
    """Compile and link; a warning fails the test. Skips where a sanitizer's library is missing."""
    command = [compiler, "-std=c11", "-D_GNU_SOURCE", f"-I{HELPER}", *warnings(), *options]
    built = subprocess.run(
        [*command, *map(str, files), "-o", str(out)], capture_output=True, text=True, check=False
    )
    if re.search(r"cannot find .*(asan|ubsan|fuzzer|clang_rt|-lc\b)", built.stderr):
        unavailable(Path(compiler).name, built.stderr.strip().splitlines()[0])
    assert built.returncode == 0, built.stderr
    return out
