"""The process of one receiver: ``python -m benchmarks.receiver FUNCTION LOOP``.

It is spoken to as ring_counter.c is: an interface on standard input, "ready" on standard output,
SIGUSR1, and then packets received, packets dropped and nanoseconds of processor time; two more
figures where frames carry the time of their sending.
"""

import asyncio
import signal
import sys
from collections.abc import Callable

import uvloop

from .figures import cpu_seconds
from .receivers import RECEIVERS, Receive

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


async def _serve(receive: Receive, ifname: str) -> str:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stopped.set)
    async with receive(ifname) as figures:
        began = cpu_seconds()
        print("ready", flush=True)
        await stopped.wait()
        cpu = cpu_seconds() - began
        received, dropped, *latency = figures()
    return " ".join(map(str, (received, dropped, round(cpu * 1e9), *latency)))


def main(function: str, loop: str) -> None:
    for line in sys.stdin:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            print(runner.run(_serve(RECEIVERS[function], line.strip())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
