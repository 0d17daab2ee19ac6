"""Ctrl-C while a command is still loaded: it ends with status 130, and without a traceback."""

import signal
import subprocess
import sys

import pytest

from lab.commands import PATIENCE

# What the script does, in a process that sends itself SIGINT at its nth import. What Python itself
# loads before that cannot be helped, nor can what ``python -m aioprocket.cli`` loads before it.
PROGRAM = """
import os, signal, sys
from {module} import main
left = {nth}
def strike(event, arguments):
    global left
    if event == "import":
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGINT)
sys.argv = ["aioprocket", *{arguments!r}]
{before}
sys.addaudithook(strike)
main()
"""
HERE = "127.0.0.1"


def struck(
    arguments: list[str], nth: int, module: str = "aioprocket_command", before: str = ""
) -> "subprocess.CompletedProcess[str]":
    program = PROGRAM.format(module=module, nth=nth, arguments=arguments, before=before)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )


@pytest.mark.netns
@pytest.mark.parametrize("nth", [1, 2, 5, 30, 100, 200, 300, 400, 500, 600, 700])
def test_ping_ends_quietly_wherever_it_is_interrupted(nth: int) -> None:
    done = struck(["ping", "-c", "2", "-i", "0.01", "-W", "20", HERE], nth)

    # From the moment when it begins to work Ctrl-C ends it with its sums.
    assert (done.returncode, done.stderr) in ((130, ""), (0, ""), (1, ""))
    if nth <= 100:
        assert (done.returncode, done.stdout) == (130, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["sweep", HERE], ["trace", HERE], ["mtr", HERE], ["sniff", "lo"], ["scan", "lo"],
        ["filter", "icmp"], ["doctor"], ["policy", "show"], ["helper", "status"], ["--help"],
    ],
    ids=lambda value: value[0],
)  # fmt: skip
def test_no_command_shows_a_traceback(arguments: list[str]) -> None:
    done = struck(arguments, 60)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_it_is_so_as_a_module_too() -> None:
    done = struck(["filter", "icmp"], 3, module="aioprocket.cli")

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("module", ["aioprocket_command", "aioprocket.cli"])
def test_what_is_started_with_sigint_ignored_goes_on(module: str) -> None:
    ignored = f"signal.signal(signal.SIGINT, {int(signal.SIG_IGN)})"

    done = struck(["policy", "show", "--built-in"], 3, module=module, before=ignored)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
