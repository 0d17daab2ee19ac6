"""Figures in a network of their own, every one beside its peer in the same run: ``make bench``.

``make bench ONLY="descriptors reading"`` runs some parts of it. Absolute figures move with the
machine and its neighbours; the ratios are what can be compared.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sandbox import links
from sandbox.namespaces import Forbidden, enter_private

from . import (
    capture,
    capturefile,
    datagrams,
    descriptors,
    drained,
    figures,
    growth,
    latency,
    paced,
    ping,
    pingtruth,
    pingwatch,
    plot,
    reading,
    sending,
    trace,
    tun,
    udp,
    watching,
)
from .peers import compile_peers
from .rig import Rig

PICTURE = Path("build/benchmarks.png")


def _read(rig: Rig) -> None:
    reading.run(rig.peers, rig.pair, force_buffer=rig.force_buffer)
    datagrams.run(rig.peers)


PARTS: Final[dict[str, Callable[[Rig], None]]] = {
    "descriptors": lambda rig: descriptors.run(rig.peers),
    "reading": _read,
    "paced": paced.run,
    "drained": drained.run,
    "capture": capture.run,
    "latency": latency.run,
    "growth": growth.run,
    "sending": lambda rig: sending.run(rig.peers, rig.pair),
    "ping": ping.run,
    "pingtruth": pingtruth.run,
    "pingwatch": pingwatch.run,
    "tun": lambda rig: tun.run(rig.peers),
    "files": capturefile.run,
    "udp": lambda rig: udp.run(rig.peers),
    "watching": lambda rig: watching.run(),
    "trace": lambda rig: trace.run(),
}


def main(wanted: list[str]) -> int:
    brief = "--brief" in wanted
    wanted = [name for name in wanted if name != "--brief"]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        print(f"There is no part {' '.join(unknown)}. The parts: {' '.join(PARTS)}")
        return 2
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        print("One processor for the generator and for who receives: the figures are of both")
    try:
        privilege = enter_private()
    except Forbidden as reason:
        print(f"Benchmarks need a network of their own, and may not have one: {reason}")
        return 1
    pair = ("b0", "b1")
    links.add_veth(*pair)
    for ifname in pair:
        links.disable_ipv6(ifname)
        links.set_up(ifname)
    with tempfile.TemporaryDirectory(prefix="aioprocket-bench-") as folder:
        peers = compile_peers(Path(folder))
        rig = Rig(peers, pair, privilege == "root", figures.CORES, brief)
        for name in wanted or PARTS:
            PARTS[name](rig)
            os.sched_setaffinity(0, cores)  # a part may have pinned this process
    if not brief:  # too short to judge
        figures.summary()
    plot.save(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
