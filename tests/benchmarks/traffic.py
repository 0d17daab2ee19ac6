"""Generators: frames at a stated rate, on the first core, counted exactly."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ("FLOOD", "Silence", "Traffic", "kernel_traffic")

FLOOD = 0  # packets a second: as many as the generator can


@dataclass(frozen=True)
class Traffic:
    """One way to offer frames: a program, and the interface or interfaces it is given.

    Attributes:
        text: Names it in headings.
        program: Called with interface, seconds, frame size and rate; prints how many it offered.
        interfaces: Its first argument, comma-separated where it takes several.
        core: The processor it runs on.
    """

    text: str
    program: Path
    interfaces: str
    core: int

    def offer(self, seconds: float, size: int, rate: int) -> int:
        """Block until all are offered, and return how many it were."""
        command = [str(self.program), self.interfaces, str(seconds), str(size), str(rate)]
        done = subprocess.run(
            ["taskset", "-c", str(self.core), *command], stdout=subprocess.PIPE, check=True
        )
        return int(done.stdout)


class Silence(Traffic):
    """No frames at all."""

    def offer(self, seconds: float, size: int, rate: int) -> int:
        time.sleep(seconds)
        return 0


def kernel_traffic(peers: dict[str, Path], pair: tuple[str, str], core: int) -> Traffic:
    """Frames that the kernel receives on the second of the pair; else sent from the first."""
    sender, receiver = pair
    inside = Traffic("in-kernel generator", peers["genxdp"], receiver, core)
    try:
        inside.offer(0.01, 64, FLOOD)
    except subprocess.CalledProcessError:
        print("The in-kernel generator is left out: sendmmsg instead", file=sys.stderr)
        return Traffic("sendmmsg", peers["generator"], sender, core)
    return inside
