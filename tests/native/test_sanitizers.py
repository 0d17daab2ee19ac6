"""The other tests of this folder once more, on a build that checks every access to memory."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lab import must

NATIVE = Path(__file__).parents[2] / "native"
HERE = Path(__file__).parent
# Some are about memory that a sanitizer uses by itself.
LEFT_OUT = (Path(__file__), HERE / "test_memory.py", HERE / "test_ring_memory.py")
FLAGS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-O1",
    "-g",
)
# A module that is there already is not searched for: neither in the tree nor where it is
# installed.
RUN_PYTEST = """
import importlib.util, sys, pytest
name = "aioprocket._system._native"
spec = importlib.util.spec_from_file_location(name, sys.argv[1])
sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
sys.exit(pytest.main(sys.argv[2:]))
"""


def find_sanitizer() -> str:
    """The run-time library that a program not built for it has to load first."""
    command = [must.require("gcc"), "-print-file-name=libasan.so"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(found).is_absolute():
        must.unavailable("asan", "gcc has no address sanitizer")
    return found


def build(target: Path) -> None:
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").exists():
        must.unavailable("python-headers", f"no Python.h in {headers}")
    command = ["gcc", "-std=c11", *FLAGS, "-shared", "-fPIC", f"-isystem{headers}"]
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        command.append("-DPy_LIMITED_API=0x030b0000")
    subprocess.run([*command, "-o", target, *NATIVE.glob("*.c")], check=True)


def run(module: Path, sanitizer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "LD_PRELOAD": sanitizer,
        # Python leaves memory behind at exit, by design. What we leak is test_memory.py's.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Every object a block of its own, with forbidden ground around it.
        "PYTHONMALLOC": "malloc",
    }
    return subprocess.run(
        [sys.executable, "-c", RUN_PYTEST, str(module), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@pytest.mark.netns
@pytest.mark.once
@pytest.mark.timeout(240)  # a whole folder's tests, checked at every access
def test_native_module_touches_no_memory_but_its_own(tmp_path: Path) -> None:
    sanitizer = find_sanitizer()
    module = tmp_path / "_native.abi3.so"
    build(module)

    result = run(
        module,
        sanitizer,
        "-q",
        *(f"--ignore={path}" for path in LEFT_OUT),
        str(HERE),
        str(HERE.parent / "test_packet.py"),
    )

    assert result.returncode == pytest.ExitCode.OK, result.stdout + result.stderr
