"""The helper's decoder and policy as a process: decode_main.c, spoken to from tests."""

import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ("Decoder",)


class Decoder:
    """The helper's pure half under the sanitizers: a process that answers each message."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self._process = subprocess.Popen(
            [program, "request"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0, "the sanitizers found something"

    def decode(self, message: bytes) -> list[str]:
        """The message's meaning in the lines of golden/README.md, or ``["answer: …"]``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(_framed(message))
        self._process.stdin.flush()
        lines = []
        while (line := self._process.stdout.readline()) not in (b"\n", b""):
            lines.append(line.decode("ascii").rstrip("\n"))
        assert lines, "the decoder died"
        return lines

    def decide(
        self,
        messages: Iterable[bytes],
        *,
        mode: str = "setuid",
        uid: int = 1000,
        file_safe: bool = True,
        file_for_all: bool = False,
    ) -> list[int]:
        """The policy's reason for each request to such a caller; 0 where it is allowed."""
        facts = [mode, str(uid), _word(file_safe), _word(file_for_all)]
        run = subprocess.run(
            [self.program, "policy", *facts],
            input=b"".join(map(_framed, messages)),
            capture_output=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr.decode()
        return [int(line) for line in run.stdout.split()]

    def encode_reply(self, meaning: Iterable[tuple[str, str]]) -> bytes:
        """The bytes of a reply with this meaning."""
        fields = [f"{key}={value}" for key, value in meaning]
        run = subprocess.run([self.program, "reply", *fields], capture_output=True, check=False)
        assert run.returncode == 0, run.stderr.decode()
        return run.stdout


def _framed(message: bytes) -> bytes:
    return struct.pack("=I", len(message)) + message


def _word(flag: bool) -> str:
    return "yes" if flag else "no"
