"""Echo on a low port, TCP by asyncio's own server and UDP, on several interfaces at once."""

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack, closing, suppress

import aioprocket


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A client may go at any moment; so may we, and asyncio would complain of a cancelled handler.
    with closing(writer), suppress(ConnectionError, asyncio.CancelledError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def echo_datagrams(channel: aioprocket.Channel) -> None:
    async for data, address, *_ in channel:
        with suppress(OSError):  # whoever asked cannot be answered: the next one can
            await channel.sendto(data, address)


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("interface", nargs="+")
    options.add_argument("--port", type=int, default=7)
    options.add_argument("--helper")
    arguments = options.parse_args()

    port = arguments.port
    channels = []
    async with AsyncExitStack() as stack:
        # One helper process opens all of them, and is gone before the first client comes.
        async with aioprocket.Helper(arguments.helper) as helper:
            for interface in arguments.interface:
                stream = await aioprocket.open(
                    port, protocol="tcp", interface=interface, backlog=64, helper=helper
                )
                # From here on it is an ordinary socket, which the server owns.
                server = await asyncio.start_server(echo_stream, sock=stream.to_socket())
                stack.callback(server.close)
                door = aioprocket.open(port, protocol="udp", interface=interface, helper=helper)
                channels.append(await stack.enter_async_context(door))
                print(f"{interface}: echo on port {port}", flush=True)
        await asyncio.gather(*map(echo_datagrams, channels))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
