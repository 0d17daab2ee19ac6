"""What no receiver can go below: the callback and the loop themselves, over packets made before.

``python -m benchmarks.floors`` prints a line for each: nanoseconds, and its name.
"""

from collections import deque
from collections.abc import Callable
from itertools import repeat

from .figures import cpu_seconds
from .receivers import Count, CountAndRead

TURNS = 1_000_000
PACKET = bytes(64)


def _call(factory: type[Count]) -> None:
    counter = factory()
    # map and deque call it from C, once for each packet, and do nothing else.
    deque(map(counter.captured, repeat(_Header(), TURNS), repeat(PACKET)), maxlen=0)


class _Header:
    ts = 0.0


def _call_with_packet() -> None:
    deque(map(_Bytes().packet_received, repeat(PACKET, TURNS)), maxlen=0)


class _Bytes(Count):
    def packet_received(self, packet: bytes) -> None:
        self.received += 1
        packet[0]


def _loop() -> None:
    for packet in repeat(PACKET, TURNS):
        packet[0]


FLOORS: dict[str, Callable[[], None]] = {
    "call": _call_with_packet,
    "call-read": lambda: _call(CountAndRead),
    "loop": _loop,
}


def main() -> None:
    for name, run in FLOORS.items():
        began = cpu_seconds()
        run()
        print((cpu_seconds() - began) / TURNS * 1e9, name)


if __name__ == "__main__":
    main()
