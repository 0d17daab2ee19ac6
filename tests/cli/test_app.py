"""The list of commands, which loads none of them, and the errors of who calls one."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.main import get_command

from aioprocket.cli import app as app_module
from aioprocket.cli.app import app
from lab.commands import aioprocket, run_here

COMMANDS = (
    "doctor", "sniff", "filter", "ping", "sweep", "trace", "mtr", "scan", "helper", "policy",
)  # fmt: skip
SHOW = "import sys\n{0}\nprint(*sorted(name for name in sys.modules if 'aioprocket' in name))"


def loaded(program: str) -> set[str]:
    """Which modules of ours a program has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(program)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_list_of_commands_loads_none_of_them() -> None:
    found = loaded(
        "import contextlib, aioprocket.cli as cli; sys.argv = ['aioprocket', '--help']\n"
        "with contextlib.suppress(SystemExit): cli.main()"
    )

    assert {name for name in found if name.startswith("aioprocket.cli")} == {
        "aioprocket.cli", "aioprocket.cli.app", "aioprocket.cli.failure",
        "aioprocket.cli.interrupt", "aioprocket.cli.streams",
    }  # fmt: skip
    assert not found & {"aioprocket.pinger", "aioprocket.tracer", "aioprocket.pcapng"}


def test_what_few_programs_need_is_loaded_for_them_alone() -> None:
    found = loaded("import aioprocket")

    assert "aioprocket.doors" in found
    assert not found & {"aioprocket.policy", "aioprocket.bpf.assembler"}
    assert "aioprocket.bpf.assembler" in loaded("import aioprocket; aioprocket.bpf.assemble")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_begins_with_the_words_of_the_list(name: str) -> None:
    listed = get_command(app).commands[name]  # type: ignore[attr-defined]
    itself = app_module._load(name)

    assert itself.name == name
    assert " ".join(itself.help.partition("\n\n")[0].split()) == listed.help


def test_every_command_is_in_the_list() -> None:
    said = aioprocket("--help").stdout

    assert tuple(get_command(app).commands) == COMMANDS  # type: ignore[attr-defined]
    assert all(f" {name} " in said for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["snif"], "No such command 'snif'. Did you mean 'sniff'?"),
        (["--nonsense"], "No such option: --nonsense"),
        (["helper", "instal"], "No such command 'instal'. Did you mean 'install'"),
        (["ping"], "Missing argument"),
        (["sweep", "--nonsense"], "sweep --help' for help."),
    ],
)
def test_what_is_no_command_is_said_with_status_2(arguments: list[str], words: str) -> None:
    done = run_here(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


# Of each kind: what click writes, what rich writes, and what ends by itself.
SAYING = (["policy", "show", "--built-in"], ["filter", "tcp"], ["doctor"], ["--help"])


@pytest.mark.parametrize("arguments", SAYING, ids=" ".join)
def test_output_that_cannot_be_written_is_an_error_in_words(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = aioprocket(*arguments, into=full)

    assert done.returncode == 2
    assert done.stderr == "aioprocket: write to standard output: No space left on device\n"


@pytest.mark.parametrize("arguments", [*SAYING, ["--version"], ["ping", "--help"]], ids=" ".join)
def test_output_that_nobody_reads_is_no_answer_of_no(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        done = aioprocket(*arguments, into=closed)

    assert (done.returncode, done.stderr) == (0, "")


def test_status_is_the_same_where_errors_cannot_be_written_either() -> None:
    command = [sys.executable, "-m", "aioprocket.cli", "filter", "tcp"]
    full = ["sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh", *command]

    assert subprocess.run(full, check=False).returncode == 2


@pytest.mark.netns
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("command", [["ping", "-c", "1"], ["sweep"], ["trace"]], ids=" ".join)
def test_replies_that_cannot_be_written_are_no_traceback(
    command: list[str], form: list[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        done = aioprocket(*command, *form, "127.0.0.1", into=full)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "aioprocket: write to standard output: No space left on device"
    )


@pytest.mark.netns
def test_what_is_started_with_its_standard_streams_closed_does_its_work() -> None:
    command = [sys.executable, "-m", "aioprocket.cli", "trace", "--json", "127.0.0.1"]
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]

    assert subprocess.run(closed, check=False).returncode == 0


def test_the_version_is_that_of_the_package() -> None:
    done = aioprocket("--version")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"aioprocket {metadata.version('aioprocket')}\n"


@pytest.mark.parametrize("name", ["ping", "sweep", "sniff", "doctor", "trace"])
def test_help_breaks_its_lines_where_the_terminal_ends_alone(name: str) -> None:
    itself = app_module._load(name)
    paragraphs = itself.help.split("\n\n")

    assert len(paragraphs) > 1
    assert all("\n" not in paragraph for paragraph in paragraphs)
