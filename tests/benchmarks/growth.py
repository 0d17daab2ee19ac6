"""What grows and what must not: with the rate, with interfaces, with channels."""

import subprocess
import sys

from sandbox import links

from . import plot
from .figures import heading, row, within
from .rig import Rig
from .traffic import Traffic, kernel_traffic
from .trials import Figures, Receiver, measure, present

ROUNDS = 3
SECONDS = 0.8
SIZE = 64
RATES = (10_000, 50_000, 100_000, 1_000_000)
INTERFACES = (1, 8, 64)
CHANNELS = 1000

FLAT_BOUND = 1.5
BESIDE_BOUND = 5.0  # MiB

RING = "C: bare TPACKET_V3 counter, 10 ms"
CYPCAP = "cypcap dispatch, asyncio, 10 ms"
OURS = "packet_received, asyncio"


def run(rig: Rig) -> None:
    _rates(rig)
    _interfaces(rig)
    _beside_ring(rig)
    _channels(rig)


def _measure(
    rig: Rig, receivers: list[Receiver], ifname: str, traffic: Traffic, rate: int
) -> dict[str, Figures]:
    return measure(
        rig,
        receivers,
        traffic,
        size=SIZE,
        rate=rate,
        rounds=ROUNDS,
        seconds=SECONDS,
        ifname=ifname,
    )


def _rates(rig: Rig) -> None:
    traffic = kernel_traffic(rig.peers, rig.pair, rig.cores[0])
    receivers = present(
        [
            Receiver.program(RING, rig.peers["ring_counter"]),
            Receiver.python(CYPCAP, "cypcap-10ms", needs="cypcap"),
            Receiver.python(f'{OURS}, "balanced"', "endpoint-balanced"),
            Receiver.python(f'{OURS}, "throughput"', "endpoint-throughput"),
        ]
    )
    measured = {
        rate: _measure(rig, receivers, rig.pair[1], traffic, rate)
        for rate in (RATES[-1:] if rig.brief else RATES)
    }
    heading(f"Rate: ns per packet, {SIZE}-byte frames, {traffic.text}")
    _show("packets/s", measured)


def _interfaces(rig: Rig) -> None:
    counts = INTERFACES[:2] if rig.brief else INTERFACES
    pairs = [(f"m{number}", f"n{number}") for number in range(max(counts))]
    for pair in pairs:
        links.add_veth(*pair)
        for ifname in pair:
            links.disable_ipv6(ifname)
            links.set_up(ifname)
    receivers = present(
        [
            Receiver.python(CYPCAP, "cypcap-many", needs="cypcap"),
            Receiver.python(OURS, "endpoint-many"),
        ]
    )
    measured = {}
    for count in counts:
        senders, ifnames = (",".join(names) for names in zip(*pairs[:count], strict=True))
        traffic = Traffic("sendmmsg", rig.peers["spreader"], senders, rig.cores[0])
        measured[count] = _measure(rig, receivers, ifnames, traffic, 0)
    for pair in pairs:
        links.delete_link(pair[0])
    heading("Interfaces: ns per packet, a channel each, flood by sendmmsg over all in turn")
    _show("interfaces", measured)


def _show(what: str, measured: dict[int, dict[str, Figures]]) -> None:
    row("", *(f"{grown:,}" for grown in measured), "most to least")
    names = list(next(iter(measured.values())))
    for name in names:
        several = [figures[name] for figures in measured.values() if name in figures]
        if len(several) < len(measured):
            continue
        flat = max(one.ns for one in several) / min(one.ns for one in several)
        ours = name.startswith(OURS)
        verdict = within(flat, FLAT_BOUND) if ours else f"{flat:.2f}×"
        row(name, *(f"{one.ns:.0f}" for one in several), verdict)
        row("  lost", *(f"{one.lost:.2%}" for one in several))
    offered = (
        sum(one.rate for one in figures.values()) / max(1, len(figures))
        for figures in measured.values()
    )
    row("offered a second", *(f"{rate:,.0f}" for rate in offered))
    plot.lines(
        f"Growth with {what}",
        what,
        {
            name: {grown: figures[name].ns for grown, figures in measured.items()}
            for name in names
            if all(name in figures for figures in measured.values())
        },
        lambda name: name.startswith(OURS),
    )


def _figures_of(function: str, *arguments: str) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.memory", function, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return [float(figure) for figure in done.stdout.split()]


def _beside_ring(rig: Rig) -> None:
    heading("Memory of a channel with a ring of 64 MiB, after a flood")
    sender, receiver = rig.pair
    seconds = "0.1" if rig.brief else "2"
    generator = str(rig.peers["generator"])
    match _figures_of("beyond_ring", receiver, generator, sender, seconds):
        case [received, ring, beside]:
            row("packets", f"{received:,.0f}")
            row("ring, mapped", f"{ring / (1 << 20):.1f} MiB")
            row("beside it", within(beside / (1 << 20), BESIDE_BOUND, " MiB"))
        case _:
            row("left out:", "it ended")


def _channels(rig: Rig) -> None:
    count = 10 if rig.brief else CHANNELS
    heading(f"{count:,} channels with small rings on one interface, in one process")
    sender, receiver = rig.pair
    match _figures_of("thousand", receiver, sender, str(count)):
        case [opened, reached, ms, ring, beside]:
            row("opened", f"{opened:,.0f}", f"{ms:.1f} ms each")
            row("saw the same frame", f"{reached:,.0f}")
            row("ring, mapped", f"{ring / 1024:.0f} KiB each")
            row("beside it", f"{beside / 1024:.1f} KiB each")
        case _:
            row("left out:", "it ended")
