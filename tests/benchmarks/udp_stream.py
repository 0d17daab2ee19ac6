"""A stream of UDP datagrams from one process to another, with and without offload.

``udp_stream.py send|receive plain|offload LOOP PORT``: the sender hands over batches as fast as the
kernel takes them; the receiver counts until nothing comes any more. Each prints its datagrams and
the processor time of one.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import uvloop

import aioprocket

HOST: Final = "127.0.0.1"
PORT: Final = 5300
SIZE: Final = 1200  # a QUIC packet, RFC 9000, section 14
BATCH: Final = 512
SECONDS: Final = 0.5
QUIET: Final = 0.5
ROUNDS: Final = 5
BUFFER: Final = 8 << 20
LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}
# Sender and receiver.
WAYS: Final = (("plain", "plain"), ("offload", "plain"), ("offload", "offload"))


def run(cores: tuple[int, ...]) -> None:
    from .figures import heading, row

    heading(f"UDP stream of {SIZE} bytes to another process, {ROUNDS} rounds")
    row("sender, receiver", "sent/s", "MB/s", "CPU, µs", "received/s", "CPU, µs")
    runs = {
        (loop, way): [_one_run(loop, *way, cores) for _ in range(ROUNDS)]
        for loop in LOOPS
        for way in WAYS
    }
    for (loop, way), several in runs.items():
        sent, sending, received, receiving = (median(each) for each in zip(*several, strict=True))
        row(
            f"{', '.join(way)}, {loop}",
            f"{sent / SECONDS:,.0f}",
            f"{sent * SIZE / SECONDS / 1e6:,.0f}",
            f"{sending * 1e6:.2f}",
            f"{received / SECONDS:,.0f}",
            f"{receiving * 1e6:.2f}",
        )


def _one_run(loop: str, sender: str, receiver: str, cores: tuple[int, ...]) -> list[float]:
    def start(core: int, *arguments: str) -> subprocess.Popen[str]:
        command = [
            "taskset",
            "-c",
            str(core),
            sys.executable,
            __file__,
            *arguments,
            loop,
            str(PORT),
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def answer(process: subprocess.Popen[str]) -> list[float]:
        count, cpu = process.communicate(timeout=60)[0].split()
        return [int(count), float(cpu)]

    with start(cores[1], "receive", receiver) as receiving:
        assert receiving.stdout is not None
        receiving.stdout.readline()  # it is there
        with start(cores[0], "send", sender) as sending:
            sent = answer(sending)
        return sent + answer(receiving)


async def send(offload: bool, port: int) -> None:
    async with aioprocket.open(protocol="udp", ip=HOST, offload=offload) as channel:
        batch = [(bytes(SIZE), (HOST, port))] * BATCH
        ends, before = time.monotonic() + SECONDS, time.process_time()
        while time.monotonic() < ends:
            await channel.send_batch(batch)
        used = time.process_time() - before
        print(channel.stats().tx_packets, used / channel.stats().tx_packets)


async def receive(offload: bool, port: int) -> None:
    async with aioprocket.open(
        port, protocol="udp", ip=HOST, offload=offload, receive_buffer=BUFFER
    ) as channel:
        print("ready", flush=True)
        batches = channel.batches()
        await anext(batches)
        before = last = time.process_time()
        try:
            while True:
                async with asyncio.timeout(QUIET):
                    async for _ in batches:
                        last = time.process_time()
        except TimeoutError:
            received = channel.stats().rx_packets
            print(received, (last - before) / received)


def main() -> None:
    what, kind, loop, port = sys.argv[1:]
    task = {"send": send, "receive": receive}[what]
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(task(kind == "offload", int(port)))


if __name__ == "__main__":
    main()
