"""Figures in a network of their own, every one beside its peer in the same run: ``make bench``.

Absolute figures move with the machine and its neighbours; the ratios are what can be compared.
"""

import sys
import tempfile
from pathlib import Path

from sandbox import links
from sandbox.namespaces import Forbidden, enter_private

from . import datagrams, descriptors, reading, udp
from .peers import compile_peers


def read_all(peers: dict[str, Path], pair: tuple[str, str], root: bool) -> None:
    reading.run(peers, pair, force_buffer=root)
    datagrams.run(peers)


def main() -> int:
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
        parts = {
            "descriptors": lambda: descriptors.run(peers),
            "reading": lambda: read_all(peers, pair, privilege == "root"),
            "udp": lambda: udp.run(peers),
        }
        for name in sys.argv[1:] or parts:
            parts[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
