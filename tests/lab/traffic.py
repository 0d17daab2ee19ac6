"""Traffic: frames sent by a child process, so that the test's own loop is free to receive.

Run as a program, this file is that child.
"""

import argparse
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ("flood", "frame", "settle")

# A unicast address that nobody has: only packet sockets see the frame, the IP stack drops it.
NOWHERE = bytes.fromhex("02 00 00 00 fe fe")
ETH_P_LOCAL = b"\x88\xb5"  # IEEE 802 local experimental, linux/if_ether.h has no name for it
PATIENCE = 0.01  # seconds for a frame to cross a cable


def frame(number: int, size: int = 64) -> bytes:
    """A frame for nobody that carries its number in four bytes after the Ethernet header."""
    return (NOWHERE + NOWHERE + ETH_P_LOCAL + number.to_bytes(4, "big")).ljust(size, b"\x00")


def settle(pair: tuple[str, str]) -> None:
    """Wait until frames pass both ways between two interfaces, and none is under way any more.

    An interface that has just come up drops what it should send until its queue is attached.
    """
    with _bound(pair[0]) as left, _bound(pair[1]) as right:
        for sender, receiver in ((left, right), (right, left)):
            next(number for number in itertools.count() if _passes(sender, receiver, number))


def _bound(ifname: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.settimeout(PATIENCE)
    sock.bind((ifname, int.from_bytes(ETH_P_LOCAL, "big")))
    return sock


def _passes(sender: socket.socket, receiver: socket.socket, number: int) -> bool:
    sender.send(frame(number))
    try:
        # Frames keep their order: with this one, every earlier one has arrived or is lost.
        while receiver.recv(2048) != frame(number):
            pass
    except TimeoutError:
        return False
    return True


@contextmanager
def flood(
    ifname: str,
    count: int,
    *,
    size: int = 64,
    per_second: int | None = None,
    cpu: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Send ``count`` numbered frames out of ``ifname`` while the block runs.

    ``per_second`` None is as fast as the child can. It is killed where the block ends early.
    """
    command = [sys.executable, "-I", __file__, ifname, str(count), str(size)]
    command += [f"--per-second={per_second or 0}", f"--cpu={-1 if cpu is None else cpu}"]
    with subprocess.Popen(command) as child:
        try:
            yield child
        finally:
            child.kill()


def _send(ifname: str, count: int, size: int, per_second: int) -> None:
    started = time.monotonic()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind((ifname, 0))
        for number in range(count):
            if per_second:
                time.sleep(max(0.0, started + number / per_second - time.monotonic()))
            sender.send(frame(number, size))


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("ifname")
    parser.add_argument("count", type=int)
    parser.add_argument("size", type=int)
    parser.add_argument("--per-second", type=int)
    parser.add_argument("--cpu", type=int)
    options = parser.parse_args()
    if options.cpu >= 0:
        os.sched_setaffinity(0, {options.cpu})
    _send(options.ifname, options.count, options.size, options.per_second)


if __name__ == "__main__":
    _main()
