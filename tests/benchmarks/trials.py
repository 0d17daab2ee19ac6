"""Interleaved trials: receivers in processes of their own, one after the other, round for round."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

from .figures import row
from .rig import Rig
from .traffic import Traffic

__all__ = ("Figures", "Receiver", "Trial", "interleave", "measure", "present")

DRAIN = 0.15  # seconds: three times the longest timeout of a receiver


@dataclass(frozen=True)
class Receiver:
    """Who receives: a C program, or a function of `receivers` under a loop.

    Attributes:
        name: Its row in the table.
        command: Program and arguments; see ring_counter.c for how it is spoken to.
        needs: The module of a peer, without which the row is left out.
    """

    name: str
    command: tuple[str, ...]
    needs: str | None = None

    @classmethod
    def python(
        cls, name: str, function: str, loop: str = "asyncio", *, needs: str | None = None
    ) -> Self:
        """One of the functions in `receivers`."""
        return cls(name, (sys.executable, "-m", "benchmarks.receiver", function, loop), needs)

    @classmethod
    def program(cls, name: str, program: Path) -> Self:
        """A C program."""
        return cls(name, (str(program),))


@dataclass(frozen=True)
class Trial:
    """One receiver in one round.

    Attributes:
        sent: Packets offered.
        received: Packets that reached the receiver's code.
        dropped: Packets that the receiver says the kernel dropped.
        cpu: Processor seconds of the receiver, user and system.
        latency: Median microseconds from wire to callback, where frames carry the time.
        latest: The same, 99th percentile.
    """

    sent: int
    received: int
    dropped: int
    cpu: float
    latency: float = 0.0
    latest: float = 0.0

    @property
    def ns(self) -> float:
        return self.cpu / max(1, self.received) * 1e9

    @property
    def lost(self) -> int:
        return self.sent - self.received


@dataclass(frozen=True)
class Figures:
    """All trials of one receiver, each of so many seconds."""

    trials: tuple[Trial, ...]
    seconds: float

    @property
    def ns(self) -> float:
        """Median nanoseconds of processor time for each packet."""
        return median(trial.ns for trial in self.trials)

    @property
    def span(self) -> tuple[float, float]:
        """Least and most nanoseconds of any round."""
        return min(trial.ns for trial in self.trials), max(trial.ns for trial in self.trials)

    @property
    def latency(self) -> float:
        return median(trial.latency for trial in self.trials)

    @property
    def latest(self) -> float:
        return median(trial.latest for trial in self.trials)

    @property
    def rate(self) -> float:
        """Packets offered a second."""
        return median(trial.sent for trial in self.trials) / self.seconds

    @property
    def lost(self) -> float:
        """Part of all packets that never arrived."""
        return sum(trial.lost for trial in self.trials) / max(1, sum(t.sent for t in self.trials))


class _Process:
    """A receiver's process, which outlives its trials: what it warms up stays warm."""

    def __init__(self, receiver: Receiver, core: int) -> None:
        self._process = subprocess.Popen(
            ["taskset", "-c", str(core), *receiver.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def trial(self, ifname: str, traffic: Traffic, seconds: float, size: int, rate: int) -> Trial:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{ifname}\n")
        if self._line() != "ready":
            raise ChildProcessError("it could not start")
        sent = traffic.offer(seconds, size, rate)
        time.sleep(DRAIN)
        self._process.send_signal(signal.SIGUSR1)
        line = self._line()
        if not line:
            raise ChildProcessError("it ended")
        received, dropped, cpu_ns, *latency = line.split()
        return Trial(sent, int(received), int(dropped), int(cpu_ns) / 1e9, *map(float, latency))

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def present(receivers: Iterable[Receiver]) -> list[Receiver]:
    """Those whose program and module are there; the others are named."""
    here = []
    for receiver in receivers:
        if receiver.needs is None or importlib.util.find_spec(receiver.needs):
            here.append(receiver)
        else:
            row(receiver.name, "left out:", f"no {receiver.needs} here")
    return here


def interleave(
    receivers: Iterable[Receiver],
    ifname: str,
    traffic: Traffic,
    *,
    core: int,
    size: int,
    rate: int,
    rounds: int,
    seconds: float,
) -> dict[str, Figures]:
    """Let every receiver have its turn in every round, so that a bad moment is everybody's."""
    started = {receiver.name: _Process(receiver, core) for receiver in receivers}
    processes = started
    trials: dict[str, list[Trial]] = {name: [] for name in processes}
    try:
        for _ in range(rounds):
            for name, process in processes.items():
                try:
                    trial = process.trial(ifname, traffic, seconds, size, rate)
                except (ChildProcessError, BrokenPipeError) as error:
                    row(name, "left out:", str(error))
                    trials.pop(name, None)
                else:
                    trials[name].append(trial)
            processes = {name: processes[name] for name in trials}
    finally:
        for process in started.values():
            process.end()
    return {name: Figures(tuple(several), seconds) for name, several in trials.items()}


def measure(
    rig: Rig,
    receivers: Iterable[Receiver],
    traffic: Traffic,
    *,
    size: int,
    rate: int,
    rounds: int,
    seconds: float,
    ifname: str | None = None,
) -> dict[str, Figures]:
    """As `interleave` on a rig, by default at the end of its pair; briefly where the rig is."""
    return interleave(
        receivers,
        ifname or rig.pair[1],
        traffic,
        core=rig.cores[1],
        size=size,
        rate=rate,
        rounds=1 if rig.brief else rounds,
        seconds=0.1 if rig.brief else seconds,
    )
