"""The rungs of the ladder for tests: what is on one, and which it was that gave a descriptor."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from aioprocket.helper import ladder, locate, obtain, way
from aioprocket.spec import PacketSpec, SocketSpec, Spec

from .leaks import no_leaks

__all__ = (
    "LOW_PORT",
    "NETLINK",
    "PACKET",
    "UDP",
    "AsNobody",
    "close_one",
    "place_broker",
    "place_installed",
)

T = TypeVar("T")
AsNobody = Callable[[Callable[[], T]], T]

UDP = SocketSpec(family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_UDP)
LOW_PORT = SocketSpec(
    family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_UDP, port=53
)
NETLINK = SocketSpec(family=socket.AF_NETLINK, type=socket.SOCK_RAW, protocol=0)
PACKET = PacketSpec(interface="lo")


def place_installed(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Where the installed helper would be."""
    for module in (locate, ladder, way):
        monkeypatch.setattr(module, "INSTALLED", (str(path),))


def place_broker(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Where the broker would listen."""
    for module in (ladder, way):
        monkeypatch.setattr(module, "BROKER_SOCKET", str(path))


def close_one(spec: Spec, helper: ladder.HelperLike = None) -> tuple[str, int | None]:
    """Obtain and close; which rung it was, and its process."""

    async def run() -> tuple[str, int | None]:
        opened = await obtain(spec, helper=helper)
        opened.descriptor.close()
        return opened.origin, opened.helper_pid

    with no_leaks():
        return asyncio.run(run())
