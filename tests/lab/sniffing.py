"""The command ``aioprocket sniff`` in a child, and traffic for it to see."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from sandbox.accounts import NOBODY

__all__ = ("Sniffing", "environment", "send_datagrams", "sniffing", "wait_until")

PATIENCE = 45.0  # seconds that anything may take on a machine that is busy
PORT = 9  # discard


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """What a condition says as soon as it is true."""
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(0.01)
    return found


class Sniffing:
    """The running command. What it says goes to files, so that it never waits for the test."""

    def __init__(self, process: "subprocess.Popen[bytes]", out: IO[bytes], err: IO[bytes]) -> None:
        self.process = process
        self._out = out
        self._err = err
        self._kept: tuple[str, str] | None = None

    def _said(self, file: IO[bytes]) -> str:
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()

    @property
    def out(self) -> str:
        return self._kept[0] if self._kept else self._said(self._out)

    @property
    def err(self) -> str:
        return self._kept[1] if self._kept else self._said(self._err)

    def keep(self) -> None:
        """Remember what it has said: its files are about to go."""
        self._kept = (self.out, self.err)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def until(self, text: str, *, errors: bool = False) -> None:
        """Wait until it has said something."""

        def said() -> bool:
            if text in (self.err if errors else self.out):
                return True
            assert self.process.poll() is None, self.out + self.err
            return False

        wait_until(said, f"{text!r} said")

    def end(self, number: int = signal.SIGINT) -> int:
        """Interrupt it; its status."""
        self.process.send_signal(number)
        return self.finish()

    def finish(self) -> int:
        """Wait for its end; its status."""
        return self.process.wait(PATIENCE)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "aioprocket.cli", "sniff", *arguments]


def environment() -> dict[str, str]:
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    return plain | {"COLUMNS": "100", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@contextmanager
def sniffing(
    *arguments: str, as_nobody: bool = False, ready: str = "listening on", **options: Any
) -> Iterator[Sniffing]:
    """Run it while the block runs, from when it listens on; it is killed at the end."""
    account = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_nobody else {}
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        subprocess.Popen(
            command(*arguments),
            stdin=subprocess.DEVNULL,
            **{"stdout": out, "stderr": err, "env": environment(), **account, **options},
        ) as process,
    ):
        found = Sniffing(process, out, err)
        try:
            if ready:
                found.until(ready, errors=True)
            yield found
        finally:
            process.kill()
            process.wait()
            found.keep()


def send_datagrams(count: int, address: str = "127.0.0.1", port: int = PORT, size: int = 5) -> int:
    """Send so many of ``size`` bytes; the port that they come from."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        # Else the kernel would answer that the port is unreachable, to some of them.
        receiver.bind(("127.0.0.1", port))
        sender.bind(("", 0))
        for number in range(count):
            sender.sendto(number.to_bytes(4, "big").rjust(size, b"\0"), (address, port))
        name = sender.getsockname()
    return int(name[1])
