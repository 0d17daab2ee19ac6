"""``make demo`` works for whoever tries it, and says what is missing where it cannot."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.must import require
from lab.programs import PROJECT

DEMO = [sys.executable, str(PROJECT / "demo")]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.netns
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_demo_shows_everything_through_a_pipe(encoding: str) -> None:
    environment = BUFFERED | {"PYTHONIOENCODING": encoding}

    done = subprocess.run(DEMO, env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    for shown in (b"A machine of its own", b"asyncio: process", b"uvloop: process"):
        assert done.stdout.count(shown) == 1
    assert done.stdout.count(b"counted      6 frames") == 2


@pytest.mark.netns
def test_demo_fails_when_nothing_can_be_shown() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            DEMO, env=BUFFERED, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode != 0
    assert "No space left on device" in done.stderr


@pytest.mark.netns
@pytest.mark.parametrize("moment", ["A machine of its own", "asyncio: process", "counted"])
def test_demo_interrupted_alone_ends_with_a_sentence(moment: str) -> None:
    # One that arrives in a destructor is lost: "Exception ignored in", says Python, and goes on.
    for _ in range(5):
        status, shown, errors = _interrupted_at(moment)
        if "Exception ignored in" not in errors:
            break

    assert (status, errors) == (130, "")
    assert shown.splitlines()[-1].startswith("Interrupted.")


def _interrupted_at(moment: str) -> tuple[int, str, str]:
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        DEMO, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert any(moment in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        shown, errors = demo.communicate(timeout=30)
        return demo.returncode, shown, errors


def test_demo_interrupted_while_it_imports_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise KeyboardInterrupt")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    done = subprocess.run(DEMO, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (130, "")
    assert done.stdout.splitlines()[-1].startswith("Interrupted.")


def make(folder: Path, *arguments: str, path: str = os.environ["PATH"]) -> str:
    """What make says when it cannot make the environment."""
    command = [require("make"), "-f", str(PROJECT / "Makefile"), *arguments, ".venv/.pip"]
    environment = {"PATH": path}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert not (folder / ".venv").exists()
    return done.stderr


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/nowhere/python3", "/nowhere/python3: there is no such program"),
        ("true", "true: no Python"),
        ("echo", "echo: -c import"),
    ],
)
def test_python_that_is_none_is_named(tmp_path: Path, python: str, said: str) -> None:
    errors = make(tmp_path, f"PYTHON={python}")

    assert errors.startswith(said)
    assert "No suitable Python" in errors


def test_missing_compiler_is_told_first(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")

    errors = make(tmp_path, path=str(tools))

    assert errors.startswith("No C compiler")
