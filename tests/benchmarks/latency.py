"""From the wire to the callback, and what that costs, where waiting decides; and idling.

Each frame is sent by a system call of its own and carries the time of its sending. Whoever reads
that time pays for it, so processor time is taken from runs in which nobody does.
"""

from pathlib import Path

from .figures import heading, row, within
from .plot import points
from .rig import Rig
from .traffic import Silence, Traffic
from .trials import Figures, Receiver, measure, present

ROUNDS = 5
SECONDS = 1.0
SIZE = 64
RATES = (1_000, 50_000)
MIDDLE_RATE = 50_000
IDLE_SECONDS = 3.0

LOW_LATENCY_BOUND = 1.1
LOW_CPU_BOUND = 1.0
BALANCED_LATENCY_BOUND = 1.1  # "the same", as far as two runs of the same can be
BALANCED_CPU_BOUND = 0.7
IDLE_BOUND = 0.2  # per cent

IMMEDIATE = "cypcap immediate"
ONE_MS = "cypcap 1 ms"
TEN_MS = "cypcap 10 ms"
LOW = 'latency="low"'
BALANCED = 'latency="balanced"'
THROUGHPUT = 'latency="throughput"'
MODERATED = 'latency="balanced" without a ring'

# Row → function of `receivers`.
_FUNCTIONS = {
    IMMEDIATE: "cypcap-immediate",
    LOW: "endpoint-low",
    ONE_MS: "cypcap-1ms",
    BALANCED: "endpoint-balanced",
    TEN_MS: "cypcap-10ms",
    THROUGHPUT: "endpoint-throughput",
    MODERATED: "endpoint-moderated",
}


def run(rig: Rig) -> None:
    traffic = Traffic("one send() a frame", rig.peers["stamper"], rig.pair[0], rig.cores[0])
    for rate in RATES:
        cpu = _measure(rig, traffic, present(_of_interest(rate, "")), rate)
        late = _measure(rig, traffic, present(_of_interest(rate, "-stamped")), rate)
        _show(rate, cpu, late)
    _idle(rig)


def _of_interest(rate: int, suffix: str) -> list[Receiver]:
    both = "asyncio", "uvloop"
    receivers = _receivers([IMMEDIATE, LOW], both, suffix)
    if rate == MIDDLE_RATE:
        receivers += _receivers([ONE_MS, BALANCED, MODERATED], both, suffix)
        receivers += _receivers([TEN_MS, THROUGHPUT], ("asyncio",), suffix)
    return receivers


def _receivers(names: list[str], loops: tuple[str, ...], suffix: str = "") -> list[Receiver]:
    return [
        Receiver.python(
            f"{name}, {loop}",
            _FUNCTIONS[name] + suffix,
            loop,
            needs="cypcap" if name.startswith("cypcap") else None,
        )
        for name in names
        for loop in loops
    ]


def _measure(
    rig: Rig, traffic: Traffic, receivers: list[Receiver], rate: int
) -> dict[str, Figures]:
    return measure(rig, receivers, traffic, size=SIZE, rate=rate, rounds=ROUNDS, seconds=SECONDS)


_BOUNDS = {
    LOW: (IMMEDIATE, LOW_LATENCY_BOUND, LOW_CPU_BOUND),
    BALANCED: (ONE_MS, BALANCED_LATENCY_BOUND, BALANCED_CPU_BOUND),
}


def _show(rate: int, cpu: dict[str, Figures], late: dict[str, Figures]) -> None:
    heading(f"Wire to callback at {rate:,} packets/s, {SIZE}-byte frames, one send() each")
    row("", "median µs", "99 % µs", "CPU µs/packet", "lost")
    both = [name for name in cpu if name in late]
    for name in both:
        row(
            name,
            f"{late[name].latency:.0f}",
            f"{late[name].latest:.0f}",
            f"{cpu[name].ns / 1e3:.2f}",
            f"{cpu[name].lost:.2%}",
        )
        _judge(name, cpu, late)
    points(
        f"Latency and its price at {rate:,} packets/s",
        {name: (late[name].latency, cpu[name].ns / 1e3) for name in both},
        lambda name: name.startswith("latency"),
    )


def _judge(name: str, cpu: dict[str, Figures], late: dict[str, Figures]) -> None:
    """Against the peer under the same loop."""
    mode, loop = name.split(", ")
    if mode not in _BOUNDS:
        return
    peer_mode, latency_bound, cpu_bound = _BOUNDS[mode]
    peer = f"{peer_mode}, {loop}"
    if peer in cpu and peer in late:
        latency = late[name].latency / late[peer].latency
        row(f"  {mode}, {loop}: latency", within(latency, latency_bound))
        row(f"  {mode}, {loop}: CPU", within(cpu[name].ns / cpu[peer].ns, cpu_bound))


def _idle(rig: Rig) -> None:
    """A trial without traffic."""
    seconds = 0.1 if rig.brief else IDLE_SECONDS
    quiet = Silence("silence", Path(), rig.pair[0], rig.cores[0])
    receivers = present(_receivers(list(_FUNCTIONS), ("asyncio",)))
    idle = measure(rig, receivers, quiet, size=SIZE, rate=1, rounds=1, seconds=seconds)
    heading(f"Idle for {seconds:g} s")
    row("", "% CPU")
    for name, figures in idle.items():
        (trial,) = figures.trials
        share = trial.cpu / seconds * 100
        ours = name.startswith("latency")
        row(name, within(share, IDLE_BOUND, " %") if ours else f"{share:.2f} %")
