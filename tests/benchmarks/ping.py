"""Echo requests to a network that answers, against other pingers and a program in C.

The hosts are one address range of another namespace, at the other end of a cable: its kernel
answers. Without RPS that is done within the pinger's own system calls, which is then most of each
figure; with RPS on the other processor.
"""

import importlib.util
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Final

from sandbox import links
from sandbox.namespaces import Namespace, new_network

from .figures import CORES, at_least, heading, row, within
from .rig import Rig

NEAR, FAR = "10.201.0.1", "10.201.0.2"
RANGE = "10.200.0.0/16"
FIRST = "10.200.0.1"
MANY, SOME = 60_000, 1_000
ROUNDS = 3
WINDOW = 128  # of the program in C; more, and with RPS it loses replies
C: Final = "C, sendmmsg and recvmmsg"
LINK: Final = "Pinger.sweep by the link"


@dataclass(frozen=True)
class Run:
    """One run: replies, seconds, processor seconds."""

    answered: int
    seconds: float
    cpu: float


def run(rig: Rig) -> None:
    with new_network() as network:
        links.add_veth("p0", "p1", peer_namespace=network.fd)
        try:
            connect(network)
            _one_host(rig)
            for on_other in (False, True):
                if on_other and not _steer(network):
                    print("RPS cannot be switched on here: the other processor is left out")
                    continue
                for count in (SOME,) if rig.brief else (SOME, MANY):
                    _sweeps(rig, count, other=on_other)
        finally:
            links.delete_link("p0")


def connect(network: Namespace) -> None:
    links.set_up("p0")
    links.add_address("p0", f"{NEAR}/30")
    with network.entered():
        links.set_up("p1")
        links.add_address("p1", f"{FAR}/30")
        subprocess.run(["ip", "route", "add", "local", RANGE, "dev", "lo"], check=True)
    subprocess.run(["ip", "route", "add", RANGE, "via", FAR], check=True)


def _steer(network: Namespace) -> bool:
    """What arrives at the hosts is worked on by the other processor."""
    path = "/mnt/class/net/p1/queues/rx-0/rps_cpus"
    script = f"mount -t sysfs sysfs /mnt && echo {1 << CORES[0]:x} > {path}"
    with network.entered():
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True)
    return done.returncode == 0


def _pingers(rig: Rig, count: int) -> dict[str, list[str]]:
    many = {C: [str(rig.peers["pinger"]), FIRST, str(count), str(WINDOW)]}
    functions = {
        "sweep": "Pinger.sweep",
        "link": LINK,
        "gufo_sweep": "gufo_ping, 200 workers, 4 MiB",
    }
    if not count:
        functions = {"ping": "Pinger.ping", "gufo_ping": "gufo_ping"}
    for function, name in functions.items():
        if "gufo" in function and importlib.util.find_spec("gufo") is None:
            continue
        for loop in ("uvloop", "asyncio"):
            command = [sys.executable, "-m", "benchmarks.pingers", function, loop, FIRST]
            many[f"{name}, {loop}"] = [*command, str(count)]
    return many


def _sweeps(rig: Rig, count: int, *, other: bool) -> None:
    commands = _pingers(rig, count)
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    fping = shutil.which("fping")
    if fping:
        runs["fping -i0, with its start"] = []
    for _ in range(1 if rig.brief else ROUNDS):
        for name, command in commands.items():
            runs[name].append(_told(command))
        if fping:
            runs["fping -i0, with its start"].append(_fping(fping, count))
    where = "on the other processor" if other else "on the pinger's processor"
    heading(f"{count:,} hosts once, answered {where}")
    row("", "seconds", "of best peer's", "of C's", "CPU/host, µs", "of cheapest's", "lost")
    lossless = [
        several
        for name, several in runs.items()
        if name != C and "Pinger" not in name and not _lost(several, count)
    ]
    fastest = min(map(_seconds, lossless), default=0.0)
    cheapest = min(map(_cpu, lossless), default=0.0)
    limit = _seconds(runs[C])
    for name, several in runs.items():
        seconds, cpu = _seconds(several), _cpu(several)
        ours, by_link = "Pinger" in name, LINK in name
        best = seconds / fastest if fastest else 0.0
        least = cpu / cheapest if cheapest else 0.0
        bound = 0.65 if other else 0.85
        row(
            name,
            f"{seconds:.4f}",
            within(best, bound) if ours and fastest else f"{best:.2f}×",
            within(seconds / limit, 1.2) if ours and not other else f"{seconds / limit:.2f}×",
            f"{cpu * 1e6 / count:.2f}",
            within(least, 0.5) if by_link and cheapest else f"{least:.2f}×",
            str(_lost(several, count)),
        )


def _one_host(rig: Rig) -> None:
    runs: dict[str, list[Run]] = {name: [] for name in _pingers(rig, 0)}
    flood = "ping -f"
    runs[flood] = []
    for _ in range(1 if rig.brief else ROUNDS):
        for name, command in _pingers(rig, 0).items():
            runs[name].append(_told(command))
        runs[flood].append(_ping_flood())
    heading("One host back to back")
    row("", "round trips/s", "of gufo_ping's", "of ping -f's")
    rates = {
        name: median(each.answered / each.seconds for each in several)
        for name, several in runs.items()
    }
    for name, rate in rates.items():
        peer = rates.get(f"gufo_ping, {name.rpartition(', ')[2]}")
        ours = "Pinger" in name
        of_peer = "" if peer is None else f"{rate / peer:.2f}×"
        row(
            name,
            f"{rate:,.0f}",
            at_least(rate / peer, 1.15) if ours and peer else of_peer,
            at_least(rate / rates[flood], 0.8) if ours else f"{rate / rates[flood]:.2f}×",
        )


def _told(command: list[str]) -> Run:
    pinned = ["taskset", "-c", str(CORES[1]), *command]
    told = subprocess.run(pinned, check=True, capture_output=True, text=True).stdout
    answered, seconds, cpu = told.split()
    return Run(int(answered), float(seconds), float(cpu))


def _fping(program: str, count: int) -> Run:
    first, second = FIRST.rsplit(".", 2)[0], int(FIRST.rsplit(".", 1)[1])
    names = (f"{first}.{number >> 8}.{number & 255}" for number in range(second, second + count))
    began, before = time.monotonic(), _spent_by_programs()
    told = subprocess.run(
        ["taskset", "-c", str(CORES[1]), program, "-C1", "-q", "-i0", "-t2000", "-f", "-"],
        input="\n".join(names),
        capture_output=True,
        text=True,
    ).stderr
    seconds, cpu = time.monotonic() - began, _spent_by_programs() - before
    return Run(sum(not line.endswith(" -") for line in told.splitlines()), seconds, cpu)


def _spent_by_programs() -> float:
    """Processor seconds of those that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _ping_flood() -> Run:
    command = ["taskset", "-c", str(CORES[1]), "ping", "-f", "-q", "-w", "1", FIRST]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    received = next(part for part in told.split(", ") if "received" in part)
    return Run(int(received.split()[0]), 1.0, 1.0)


def _cpu(several: list[Run]) -> float:
    return median(each.cpu for each in several)


def _seconds(several: list[Run]) -> float:
    return median(each.seconds for each in several)


def _lost(several: list[Run], count: int) -> int:
    return sum(count - each.answered for each in several)
