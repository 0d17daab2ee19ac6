"""The command ``aioprocket``, run to its end or until it is interrupted."""

import io
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

import pytest

from aioprocket.cli import main
from lab.must import require

__all__ = (
    "Terminal",
    "add_silent_host",
    "aioprocket",
    "at_terminal",
    "interrupted",
    "run_here",
    "talking",
)

PATIENCE = 45.0  # seconds that anything may take on a machine that is busy
_COMMAND = (sys.executable, "-m", "aioprocket.cli")
_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")},
    "PYTHONUNBUFFERED": "1",
}


def aioprocket(
    *arguments: str, given: str | TextIO = "", into: int | TextIO = subprocess.PIPE
) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, with ``given`` as its standard input, or what it says."""
    source: dict[str, Any] = {"input" if isinstance(given, str) else "stdin": given}
    done = subprocess.run(
        [*_COMMAND, *arguments],
        env=_ENVIRONMENT,
        **source,
        stdout=into,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run_here(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run it in this process: another Python for each would take most of the time."""
    command = ["aioprocket", *arguments]
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    handler = signal.getsignal(signal.SIGINT)
    sys.argv = command
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
        signal.signal(signal.SIGINT, handler)
    status = int(ended.value.code or 0)
    return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())


def interrupted(*arguments: str, after: str) -> "subprocess.CompletedProcess[str]":
    """Run it, and press Ctrl-C once it has said ``after`` in a line."""
    with subprocess.Popen(
        [*_COMMAND, *arguments],
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what is read ahead here communicate() does not see
    ) as running:
        assert running.stdout is not None
        said = b""
        while after.encode() not in said.rpartition(b"\n")[0]:
            data = running.stdout.read(65536)
            if not data:
                break
            said += data
        running.send_signal(signal.SIGINT)
        rest, errors = running.communicate(timeout=PATIENCE)
    out, err = (said + rest).decode(), errors.decode()
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess(arguments, running.returncode, out, err)


@contextmanager
def talking(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run it with pipes for what it is told and what it says."""
    with subprocess.Popen(
        [*_COMMAND, *arguments],
        env=_ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self._master = master
        self.said = ""

    def read_to_end(self) -> str:
        """All that it says, until it ends."""
        until = time.monotonic() + PATIENCE
        with suppress(OSError):  # EIO: whoever had the other end is gone
            while data := os.read(self._master, 65536):
                self.said += data.decode("utf-8", "replace")
                assert time.monotonic() < until, self.said
        self.process.wait(PATIENCE)
        return self.said


@contextmanager
def at_terminal(*arguments: str) -> Iterator[Terminal]:
    """Run it with a terminal of 100 columns for all that it says."""
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [*_COMMAND, *arguments],
            env={**_ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        ) as running:
            os.close(slave)
            slave = -1
            try:
                yield Terminal(running, master)
            finally:
                if running.poll() is None:
                    running.kill()
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)


def add_silent_host(ifname: str, address: str) -> None:
    """A neighbour of a link that answers nothing, where one that is not there is soon reported."""
    words = ["neighbour", "add", address, "lladdr", "02:00:00:00:00:99", "dev", ifname]
    subprocess.run([require("ip"), *words], check=True)
