"""Capture at full flood: nanoseconds of the receiver for each packet, against its peers.

The kernel's side of reception runs on the generator's core, so what is measured is what the
receiver adds: its system calls, its walk through the ring, its calls of Python.
"""

import subprocess
import sys
from statistics import median

from .figures import at_least, heading, row, within
from .plot import bars
from .rig import Rig
from .traffic import FLOOD, Traffic, kernel_traffic
from .trials import Figures, Receiver, measure, present

ROUNDS = 5
SECONDS = 0.8
SIZES = (64, 1500)
MIXED = 0  # to generator.c: 64, 128, 576 and 1,500 bytes, in no order

CYPCAP = "cypcap dispatch, asyncio, 10 ms"
PYPCAP = "pypcap dispatch, asyncio, 10 ms"
PCAPY = "pcapy-ng next_batch(256), asyncio, 10 ms"
PCAPY_OFFSETS = "pcapy-ng the same, no bytes object each"
SCAPY = "scapy AsyncSniffer"
PCAP_LOOP = "C: libpcap pcap_loop, 10 ms"
RING = "C: bare TPACKET_V3 counter, 10 ms"
CALLBACK = "packet_received, asyncio"
CALLBACK_UVLOOP = "packet_received, uvloop"
RINGLESS = "packet_received, asyncio, ring=False"
CALLED = "floor: these columns in the loop's callback"
CALLED_UVLOOP = "floor: the same, uvloop"
COLUMNS = "batches(), timestamps_ns and lens"
COLUMNS_UVLOOP = "batches(), the same, uvloop"
FIELD = "batches(), these and field(26, 4)"
NUMPY = "batches(), wire_lens summed by numpy"
ITERATE = "batches(), for packet in batch"
READ = "packet_received, time and bytes read"
CYPCAP_READ = "cypcap dispatch, time and bytes read"

OURS = (
    CALLBACK, CALLBACK_UVLOOP, RINGLESS, COLUMNS, COLUMNS_UVLOOP, FIELD, NUMPY, ITERATE, READ,
)  # fmt: skip

MIXED_ROWS = (
    RING, PCAP_LOOP, CYPCAP, PCAPY, COLUMNS, COLUMNS_UVLOOP, ITERATE, CALLBACK, CALLBACK_UVLOOP,
)  # fmt: skip

CALLBACK_BOUNDS = {64: 0.5, 1500: 0.4}
ITERATE_BOUND = 0.25
PCAP_LOOP_BOUND = 0.7
RING_BOUND = 2.5
SCAPY_BOUND = 500


def run(rig: Rig) -> None:
    traffic = kernel_traffic(rig.peers, rig.pair, rig.cores[0])
    receivers = present(_receivers(rig))
    for size in SIZES:
        figures = measure(
            rig, receivers, traffic, size=size, rate=FLOOD, rounds=ROUNDS, seconds=SECONDS
        )
        figures |= _measure_scapy(rig, traffic, size)
        floors = _floors(rig)
        _show_callbacks(traffic, size, figures, floors)
        _show_batches(traffic, size, figures, floors)
        bars(
            f"Capture, {size}-byte frames at full flood",
            {n: (f.ns, *f.span) for n, f in figures.items()},
            OURS.__contains__,
        )
    _run_mixed(rig, receivers)


def _run_mixed(rig: Rig, receivers: list[Receiver]) -> None:
    traffic = Traffic("sendmmsg", rig.peers["generator"], rig.pair[0], rig.cores[0])
    chosen = [receiver for receiver in receivers if receiver.name in MIXED_ROWS]
    figures = measure(rig, chosen, traffic, size=MIXED, rate=FLOOD, rounds=ROUNDS, seconds=SECONDS)
    _title(traffic, "frames of 64 to 1,500 bytes", figures, "Mixed sizes")
    for peer in (RING, PCAP_LOOP, CYPCAP, PCAPY):
        _show(figures, peer)
    for name in (COLUMNS, COLUMNS_UVLOOP):
        _show(figures, name, *_ratio(figures, name, PCAP_LOOP, PCAP_LOOP_BOUND))
    _show(figures, ITERATE, *_ratio(figures, ITERATE, PCAPY, ITERATE_BOUND))
    for name in (CALLBACK, CALLBACK_UVLOOP):
        _show(figures, name, *_ratio(figures, name, CYPCAP, CALLBACK_BOUNDS[64]))


def _receivers(rig: Rig) -> list[Receiver]:
    programs = {PCAP_LOOP: "pcap_counter", RING: "ring_counter"}
    return [
        Receiver.python(CALLBACK, "endpoint-throughput"),
        Receiver.python(CYPCAP, "cypcap-10ms", needs="cypcap"),
        Receiver.python(CALLBACK_UVLOOP, "endpoint-throughput", "uvloop"),
        Receiver.python(PYPCAP, "pypcap", needs="pcap"),
        Receiver.python(READ, "endpoint-read"),
        Receiver.python(CYPCAP_READ, "cypcap-read", needs="cypcap"),
        Receiver.python(RINGLESS, "endpoint-ringless"),
        *(
            Receiver.program(name, rig.peers[program])
            for name, program in programs.items()
            if program in rig.peers
        ),
        Receiver.python(CALLED, "columns-called"),
        Receiver.python(CALLED_UVLOOP, "columns-called", "uvloop"),
        Receiver.python(COLUMNS, "columns"),
        Receiver.python(COLUMNS_UVLOOP, "columns", "uvloop"),
        Receiver.python(FIELD, "field"),
        Receiver.python(NUMPY, "numpy", needs="numpy"),
        Receiver.python(ITERATE, "iterate"),
        Receiver.python(PCAPY, "pcapy", needs="pcapy"),
        Receiver.python(PCAPY_OFFSETS, "pcapy-offsets", needs="pcapy"),
    ]


def _measure_scapy(rig: Rig, traffic: Traffic, size: int) -> dict[str, Figures]:
    """Apart: most of what it is offered it drops, so that a short flood tells all."""
    sniffer = present([Receiver.python(SCAPY, "scapy", needs="scapy")])
    return measure(rig, sniffer, traffic, size=size, rate=FLOOD, rounds=1, seconds=0.3)


def _floors(rig: Rig) -> dict[str, float]:
    lines: dict[str, list[float]] = {}
    command = ["taskset", "-c", str(rig.cores[1]), sys.executable, "-m", "benchmarks.floors"]
    for _ in range(1 if rig.brief else ROUNDS):
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        for line in done.stdout.splitlines():
            ns, name = line.split()
            lines.setdefault(name, []).append(float(ns))
    return {name: median(several) for name, several in lines.items()}


def _show(figures: dict[str, Figures], name: str, *ratios: str) -> None:
    if name not in figures:
        return
    shown = figures[name]
    least, most = shown.span
    cells = f"{shown.ns:.1f}", f"{least:.0f}..{most:.0f}", f"{shown.lost:.2%}"
    row(name, *cells, *ratios)


def _ratio(figures: dict[str, Figures], name: str, peer: str, bound: float) -> list[str]:
    if name not in figures or peer not in figures:
        return []
    return [within(figures[name].ns / figures[peer].ns, bound)]


def _title(traffic: Traffic, frames: str, figures: dict[str, Figures], what: str) -> None:
    offered = median(one.rate for one in figures.values())
    heading(f"{what}, {frames}, flood of the {traffic.text} (≈ {offered:,.0f}/s)")
    row("", "ns per packet", "least..most", "lost", "ns to peer's")


def _show_callbacks(
    traffic: Traffic, size: int, figures: dict[str, Figures], floors: dict[str, float]
) -> None:
    _title(traffic, f"{size}-byte frames", figures, "One Python callback per packet")
    row("floor: the call alone, from a loop in C", f"{floors['call']:.1f}")
    row("floor: the call alone, time and bytes read", f"{floors['call-read']:.1f}")
    for peer in (CYPCAP, PYPCAP, CYPCAP_READ, SCAPY):
        _show(figures, peer)
    bound = CALLBACK_BOUNDS[size]
    for name in (CALLBACK, CALLBACK_UVLOOP):
        _show(figures, name, *_ratio(figures, name, CYPCAP, bound))
    _show(figures, READ, *_ratio(figures, READ, CYPCAP_READ, bound))
    _show(figures, RINGLESS)
    if SCAPY in figures and CALLBACK in figures:
        times = figures[SCAPY].ns / figures[CALLBACK].ns
        row("  scapy's ns to those of packet_received", "", "", "", at_least(times, SCAPY_BOUND))


def _show_batches(
    traffic: Traffic, size: int, figures: dict[str, Figures], floors: dict[str, float]
) -> None:
    _title(traffic, f"{size}-byte frames", figures, "Batches")
    for peer in (RING, PCAP_LOOP):
        _show(figures, peer)
    for floor in (CALLED, CALLED_UVLOOP):
        _show(figures, floor, *_ratio(figures, floor, PCAP_LOOP, PCAP_LOOP_BOUND))
    for name in (COLUMNS, COLUMNS_UVLOOP, FIELD):
        _show(figures, name, *_ratio(figures, name, PCAP_LOOP, PCAP_LOOP_BOUND))
        row("  against the bare C counter", "", "", "", *_ratio(figures, name, RING, RING_BOUND))
    _show(figures, NUMPY)
    row("floor: a Python loop and one byte read", f"{floors['loop']:.1f}")
    _show(figures, PCAPY)
    _show(figures, PCAPY_OFFSETS)
    _show(figures, ITERATE, *_ratio(figures, ITERATE, PCAPY, ITERATE_BOUND))
