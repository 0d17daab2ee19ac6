"""UDP echo on a low port, against asyncio's and uvloop's own endpoints and a C program.

Each server is a process on one core; a client in C on the other keeps a number of datagrams under
way, and sends one for each that comes back. What counts is the rate, and the server's processor
time for each datagram, which is the kernel's for both ways as well.
"""

import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from . import udp_stream
from .figures import CORES, at_least, heading, row, within

PORT = 53
WINDOW = 64
SECONDS = 0.8
SIZE = 64
ROUNDS = 7

C_SERVER = "C, recvmmsg and sendmmsg"
C_WITH_TIMES = "floor: the same, asking for times as well"
C_OFFLOAD = "floor: C with UDP_GRO and UDP_SEGMENT"
UVLOOP = "create_datagram_endpoint, uvloop"
# What the C server, or the one in Python, is told beside the port.
SERVERS: dict[str, tuple[str, ...]] = {
    C_SERVER: (),
    C_WITH_TIMES: ("times",),
    C_OFFLOAD: ("offload",),
    UVLOOP: ("endpoint", "uvloop"),
    "create_datagram_endpoint, asyncio": ("endpoint", "asyncio"),
    "datagram_received and sendto, uvloop": ("transport", "uvloop"),
    "datagram_received and sendto, asyncio": ("transport", "asyncio"),
    "batches and send_batch, uvloop": ("batches", "uvloop"),
    "batches and send_batch, asyncio": ("batches", "asyncio"),
    "datagram_received with offload=True, uvloop": ("transport-offload", "uvloop"),
    "datagram_received with offload=True, asyncio": ("transport-offload", "asyncio"),
    "batches with offload=True, uvloop": ("batches-offload", "uvloop"),
    "batches with offload=True, asyncio": ("batches-offload", "asyncio"),
}


@dataclass(frozen=True)
class Run:
    """One server under load: datagrams per second, those lost, processor seconds for each."""

    rate: float
    lost: int
    cpu: float


def run(peers: dict[str, Path], *, window: int = WINDOW) -> None:
    runs: dict[str, list[Run]] = {name: [] for name in SERVERS}
    for _ in range(ROUNDS):
        for name, arguments in SERVERS.items():
            runs[name].append(_one_run(peers, arguments, window))
    _show(runs, window)
    udp_stream.run(CORES)


def _one_run(peers: dict[str, Path], arguments: tuple[str, ...], window: int) -> Run:
    client_core, server_core = CORES
    if len(arguments) < 2:
        command = [str(peers["udp_server"]), str(PORT), *arguments]
    else:
        program = Path(__file__).with_name("udp_echo.py")
        command = [sys.executable, str(program), *arguments, str(PORT)]
    with subprocess.Popen(["taskset", "-c", str(server_core), *command]) as server:
        try:
            _wait_for_answer()
            before = _cpu_seconds(server.pid)
            load = [str(peers["udp_client"]), str(PORT), str(window), str(SECONDS), str(SIZE)]
            told = subprocess.run(
                ["taskset", "-c", str(client_core), *load], check=True, capture_output=True
            ).stdout
            answered, lost = map(int, told.split())
            cpu = _cpu_seconds(server.pid) - before
            return Run(answered / SECONDS, lost, cpu / max(1, answered))
        finally:
            server.send_signal(signal.SIGKILL)


def _wait_for_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.05)
        sock.connect(("127.0.0.1", PORT))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                sock.send(b"?")
                sock.recv(16)
            except (ConnectionRefusedError, TimeoutError):
                time.sleep(0.01)
            else:
                return
        raise TimeoutError("the echo server did not answer in 30 seconds")


def _cpu_seconds(pid: int) -> float:
    # In nanoseconds, where /proc/PID/stat counts ticks of a hundredth of a second.
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _show(runs: dict[str, list[Run]], window: int) -> None:
    heading(f"UDP echo of {SIZE} bytes on port {PORT}, {window} under way, {ROUNDS} rounds")
    row("", "datagrams/s", "of uvloop's", "CPU, µs", "of uvloop's", "of C's", "lost")
    peer_rate, peer_cpu = _medians(runs[UVLOOP])
    _, c_cpu = _medians(runs[C_SERVER])
    for name, several in runs.items():
        rate, cpu = _medians(several)
        ours = "received" in name or "offload=True" in name
        row(
            name,
            f"{rate:,.0f}",
            at_least(rate / peer_rate, 1.55) if ours else f"{rate / peer_rate:.2f}×",
            f"{cpu * 1e6:.2f}",
            within(cpu / peer_cpu, 0.65) if ours else f"{cpu / peer_cpu:.2f}×",
            within(cpu / c_cpu, 1.2) if ours else f"{cpu / c_cpu:.2f}×",
            str(sum(each.lost for each in several)),
        )


def _medians(several: list[Run]) -> tuple[float, float]:
    return median(each.rate for each in several), median(each.cpu for each in several)
