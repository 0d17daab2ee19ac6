"""Programs of the project, run in children and read line by line."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from sandbox.accounts import NOBODY

__all__ = ("Program", "Runner", "run_program")

PROJECT = Path(__file__).resolve().parents[2]


class Program:
    """A running program. What it prints is read as it comes; errors go where the test's go."""

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self._process = process
        self._output = output
        self.lines: list[str] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    def expect(self, pattern: str) -> re.Match[str]:
        """Read on to the first line that matches, and return the match."""
        for line in self._output:
            self.lines.append(line.rstrip("\n"))
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"no line matches {pattern!r} in {self.lines}")

    def finish(self) -> int:
        """Read to the end; the exit status."""
        self.lines += [line.rstrip("\n") for line in self._output]
        return self._process.wait()


# Runs an example, by its name and with arguments, as long as the block runs.
Runner = Callable[..., AbstractContextManager[Program]]


@contextmanager
def run_program(path: str, *arguments: str, as_nobody: bool) -> Iterator[Program]:
    """Run a Python file of the project while the block runs; it is killed at the end."""
    account = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_nobody else {}
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / path), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        **account,  # type: ignore[call-overload]
    )
    with process:
        assert process.stdout is not None
        try:
            yield Program(process, process.stdout)
        finally:
            process.kill()
