"""What it takes to watch many hosts, a probe to each every second, beside fping.

Each program is measured while it runs: what it takes to start, and to end, is no part of it. Both
hand out every round trip as it comes: fping prints it.
"""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import IO, Final

from sandbox import links
from sandbox.namespaces import new_network

from .figures import CORES, cpu_seconds_of, heading, row, within
from .ping import FIRST, connect
from .pingers import hosts
from .rig import Rig

WATCHED = 1_000
FOR_SECONDS = 4.0
# Long enough for either to have begun; fping asks all at the beginning of a second: between two.
STARTING = 1.5
ROUNDS = 3
FPING: Final = "fping -l -i0"
OURS: Final = "Pinger.monitor"
UNSTAMPED: Final = "Pinger.monitor, stamps=False"


def run(rig: Rig) -> None:
    with new_network() as network:
        links.add_veth("p0", "p1", peer_namespace=network.fd)
        try:
            connect(network)
            _watching(1 if rig.brief else ROUNDS, 1.0 if rig.brief else FOR_SECONDS)
        finally:
            links.delete_link("p0")


def _programs(seconds: float) -> dict[str, list[str]]:
    ours = [sys.executable, "-m", "benchmarks.pingrtts"]
    arguments = [FIRST, str(WATCHED), str(STARTING + seconds + 1)]
    programs = {
        OURS: [*ours, "watch", *arguments],
        UNSTAMPED: [*ours, "watch_unstamped", *arguments],
    }
    if shutil.which("fping"):
        programs = {FPING: ["fping", "-l", "-p1000", "-i0", "-f", "-"], **programs}
    return programs


def _watching(rounds: int, seconds: float) -> None:
    heading(f"{WATCHED:,} hosts watched every second: processor time, ms each second")
    programs = _programs(seconds)
    runs: dict[str, list[tuple[float, int]]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, command in programs.items():
            runs[name].append(_measured(command, seconds))
    spent = {name: median(each[0] for each in several) for name, several in runs.items()}
    row("", "ms", "of fping's", "lost")
    for name, several in runs.items():
        ratio = spent[name] / spent[FPING] if FPING in spent else 0.0
        verdict = within(ratio, 1) if name == OURS and ratio else f"{ratio:.2f}×"
        row(name, f"{spent[name] * 1e3:.1f}", verdict, str(sum(each[1] for each in several)))


def _measured(command: list[str], seconds: float) -> tuple[float, int]:
    """Processor seconds for each second, and how many replies did not come."""
    pinned = ["taskset", "-c", str(CORES[1]), *command]
    with (
        tempfile.TemporaryFile("w+") as names,
        tempfile.TemporaryFile("w+") as told,
    ):
        names.write("\n".join(hosts(FIRST, WATCHED)))
        names.seek(0)
        with subprocess.Popen(pinned, stdin=names, stdout=told, stderr=told) as process:
            time.sleep(STARTING)
            began, before = time.monotonic(), cpu_seconds_of(process.pid)
            time.sleep(seconds)
            spent = cpu_seconds_of(process.pid) - before
            took = time.monotonic() - began
            if command[0] == "fping":
                process.send_signal(signal.SIGINT)
            process.wait()
        return spent / took, _lost(told)


def _lost(told: IO[str]) -> int:
    """Ours says how many; fping says of each host how many left and came."""
    told.seek(0)
    text = told.read()
    sums = re.findall(r"xmt/rcv/%loss = (\d+)/(\d+)/", text)
    if not sums:
        return int(text)
    return sum(int(sent) - int(received) for sent, received in sums)
