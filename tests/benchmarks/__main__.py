"""Figures in a network of their own, every one beside its peer in the same run: ``make bench``.

``make bench ONLY="descriptors reading"`` runs some parts of it. Absolute figures move with the
machine and its neighbours; the ratios are what can be compared.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox import links
from sandbox.namespaces import Forbidden, enter_private

from . import descriptors, reading, sending, tun, udp
from .peers import compile_peers


@dataclass(frozen=True)
class Rig:
    """What a part may use: the C programs, a veth pair, and whether buffers can be forced."""

    peers: dict[str, Path]
    pair: tuple[str, str]
    force_buffer: bool


PARTS: Final[dict[str, Callable[[Rig], None]]] = {
    "descriptors": lambda rig: descriptors.run(rig.peers),
    "reading": lambda rig: reading.run(rig.peers, rig.pair, force_buffer=rig.force_buffer),
    "sending": lambda rig: sending.run(rig.peers, rig.pair),
    "tun": lambda rig: tun.run(),
    "udp": lambda rig: udp.run(rig.peers),
}


def main(wanted: list[str]) -> int:
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        print(f"There is no part {' '.join(unknown)}. The parts: {' '.join(PARTS)}")
        return 2
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
        rig = Rig(compile_peers(Path(folder)), pair, privilege == "root")
        for name in wanted or PARTS:
            PARTS[name](rig)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
