"""Echo on a low port, TCP by asyncio's own server and UDP, on several interfaces at once."""

import argparse
import asyncio

import aioprocket


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def echo_datagrams(channel: aioprocket.Channel) -> None:
    async for data, address, *_ in channel:
        await channel.sendto(data, address)


async def serve(
    interface: str, port: int, helper: aioprocket.Helper, group: asyncio.TaskGroup
) -> None:
    """Echo on one interface; no other one reaches these sockets."""
    stream = await aioprocket.open(
        port, protocol="tcp", interface=interface, backlog=64, helper=helper
    )
    # From here on it is an ordinary socket, which the server owns.
    server = await asyncio.start_server(echo_stream, sock=stream.to_socket())
    group.create_task(server.serve_forever())
    datagrams = await aioprocket.open(port, protocol="udp", interface=interface, helper=helper)
    group.create_task(echo_datagrams(datagrams))
    print(f"{interface}: echo on port {port}", flush=True)


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("interface", nargs="+")
    options.add_argument("--port", type=int, default=7)
    options.add_argument("--helper")
    arguments = options.parse_args()

    # One helper process opens all of them, and is gone before the first client comes.
    async with asyncio.TaskGroup() as group, aioprocket.Helper(arguments.helper) as helper:
        for interface in arguments.interface:
            await serve(interface, arguments.port, helper, group)


if __name__ == "__main__":
    asyncio.run(main())
