"""Echo servers to compare, each a process of its own: ``udp_echo.py KIND LOOP PORT``."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import uvloop

import aioprocket

HOST = "127.0.0.1"


class Echo(asyncio.DatagramProtocol):
    """The same for asyncio's endpoints and for ours."""

    def connection_made(self, transport: Any) -> None:
        self._sendto = transport.sendto

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._sendto(data, addr)


async def serve_endpoint(port: int) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(HOST, port))
    await asyncio.Event().wait()


async def serve_transport(port: int, *, offload: bool = False) -> None:
    door = aioprocket.open(port, protocol="udp", ip=HOST, offload=offload)
    await aioprocket.create_endpoint(Echo, door)
    await asyncio.Event().wait()


async def serve_batches(port: int, *, offload: bool = False) -> None:
    async with aioprocket.open(port, protocol="udp", ip=HOST, offload=offload) as channel:
        async for batch in channel.batches():
            await channel.send_batch(batch)


KINDS: dict[str, Callable[[int], Coroutine[Any, Any, None]]] = {
    "endpoint": serve_endpoint,
    "transport": serve_transport,
    "batches": serve_batches,
    "transport-offload": partial(serve_transport, offload=True),
    "batches-offload": partial(serve_batches, offload=True),
}
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


def main() -> None:
    kind, loop_name, port = sys.argv[1:]
    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        runner.run(KINDS[kind](int(port)))


if __name__ == "__main__":
    main()
