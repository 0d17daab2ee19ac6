"""How true pings are: reported times beside those of a capture; and what many of them take.

Each program pings in a process of its own and prints the round trips that it reports, in
nanoseconds, in the order of sending. tcpdump sees the same packets at the interface.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from aioprocket import pcapng
from sandbox import links
from sandbox.namespaces import new_network

from .figures import CORES, heading, row, within
from .ping import FAR, connect
from .rig import Rig

PROBES = 300
APART = 0.005  # seconds
IN_FLIGHT = 30_000
NOWHERE = "10.202.0.0/16"
OURS = "Pinger"


def run(rig: Rig) -> None:
    with new_network() as network:
        links.add_veth("p0", "p1", peer_namespace=network.fd)
        try:
            connect(network)
            with network.entered():
                subprocess.run(["ip", "route", "add", "blackhole", NOWHERE], check=True)
            subprocess.run(["ip", "route", "add", NOWHERE, "via", FAR], check=True)
            _times(60 if rig.brief else PROBES)
            _memory(1_000 if rig.brief else IN_FLIGHT)
        finally:
            links.delete_link("p0")


def _programs(probes: int) -> dict[str, list[str]]:
    many = {}
    for function, module, name in (
        ("rtts", "aioprocket", OURS),
        ("gufo_rtts", "gufo", "gufo_ping"),
        ("icmplib_rtts", "icmplib", "icmplib"),
    ):
        if importlib.util.find_spec(module) is not None:
            command = [sys.executable, "-m", "benchmarks.pingrtts", function, FAR, str(probes)]
            many[name] = [*command, str(APART)]
    if shutil.which("fping"):
        many["fping"] = ["fping", f"-C{probes}", "-q", f"-p{APART * 1e3:g}", FAR]
    return many


def _times(probes: int) -> None:
    if not shutil.which("tcpdump"):
        print("tcpdump is not installed: the truth of times is left out")
        return
    for loaded in (False, True):
        heading(f"Error of {probes} reported round trips, µs, {'under load' if loaded else 'idle'}")
        row("", "median", "99 %", "of best peer's")
        found = {}
        for name, command in _programs(probes).items():
            with _load() if loaded else _calm():
                found[name] = sorted(_errors(command))
        best = min(
            (median(errors) for name, errors in found.items() if name != "Pinger"), default=0
        )
        for name, errors in found.items():
            middle, far = median(errors), quantiles(errors, n=100)[98]
            verdict = f"{middle / best:.2f}×" if best else ""
            if name == "Pinger":
                verdict = (
                    within(middle / best, 0.2) if loaded and best else within(middle, 2, " µs")
                )
            row(name, f"{middle:.2f}", f"{far:.2f}", verdict)


@contextmanager
def _calm() -> Iterator[None]:
    yield


@contextmanager
def _load() -> Iterator[None]:
    """Two programs on the pinger's processor that never wait."""
    command = ["taskset", "-c", str(CORES[1]), sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(2)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _errors(command: list[str]) -> list[float]:
    """Reported less captured, without its sign, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pings.pcap")
        with _captured(path):
            told = subprocess.run(
                ["taskset", "-c", str(CORES[1]), *command], capture_output=True, text=True
            )
        truth = _round_trips(path)
    if command[0] == "fping":
        times = told.stderr.rpartition(":")[2].split()
        reported = [float(each) * 1e6 for each in times if each != "-"]
    else:
        reported = [float(each) for each in told.stdout.split()]
    return [abs(said - true) / 1e3 for said, true in zip(reported, truth, strict=False)]


@contextmanager
def _captured(path: Path) -> Iterator[None]:
    command = ["taskset", "-c", str(CORES[0]), "tcpdump", "-i", "p0", "-U"]
    command += ["--immediate-mode", "--time-stamp-precision=nano", "-Z", "root"]
    command += ["-w", str(path), "icmp"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump:
        assert tcpdump.stderr is not None
        for line in tcpdump.stderr:
            if "listening on" in line:
                break
        yield
        time.sleep(0.2)  # for what is still in its buffer
        tcpdump.terminate()
        tcpdump.communicate()


def _round_trips(path: Path) -> list[int]:
    """Nanoseconds from each request at the interface to its reply there, in their order."""
    asked: dict[bytes, int] = {}
    found: dict[bytes, int] = {}
    with pcapng.Reader(path) as file:
        for packet in file:
            data = bytes(packet)[34:]  # behind the headers of Ethernet and IPv4
            kind, name = data[0], data[4:8]
            if kind == 8:
                asked.setdefault(name, packet.timestamp_ns)
            elif kind == 0 and name in asked:
                found.setdefault(name, packet.timestamp_ns - asked[name])
    return [found[name] for name in asked if name in found]


def _memory(hosts: int) -> None:
    heading(f"{hosts:,} probes on their way, no answer")
    command = [sys.executable, "-m", "benchmarks.pingrtts", "in_flight", NOWHERE, str(hosts), "0"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    row("Pinger.sweep, bytes for each", within(float(told), 300, " B"))
