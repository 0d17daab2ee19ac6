"""How a door opens: nothing before it is awaited, nothing left behind when that is cancelled."""

import threading
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

import anyio.to_thread

from . import arguments, channels
from .channels import Channel, IcmpChannel
from .errors import BusyError
from .helper import HelperLike, check_helper, check_timeout, obtain
from .spec import PacketSpec, Spec

__all__ = ("Door", "build_channel", "door", "open_channel", "opening")

_C = TypeVar("_C", bound=Channel)
_C_co = TypeVar("_C_co", bound=Channel, covariant=True)


_HOW: Final = "channel = await door, or async with door as channel, opens it"


class Door(Generic[_C_co]):
    """What an ``open…()`` returns: ``channel = await door`` or ``async with door as channel``.

    Nothing is open before that. Each await opens anew; entered it can be once at a time. If it is
    cancelled meanwhile, a descriptor that arrives late is closed.
    """

    def __init__(self, opener: Callable[[], Coroutine[Any, Any, _C_co]]) -> None:
        self._opener = opener
        self._inside = False
        self._entered: Channel | None = None

    if not TYPE_CHECKING:  # who checks types is told already

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"a door has no {name!r}: {_HOW}", name=name, obj=self)

        def __enter__(self) -> NoReturn:
            raise TypeError(f"a door is not entered by with: {_HOW}")

        def __exit__(self, *_: object) -> None:
            """What `with` looks for before it enters."""

        def __iter__(self) -> NoReturn:
            raise TypeError(f"a door has no packets, its channel has: {_HOW}")

        __aiter__ = __iter__

    def __await__(self) -> Generator[Any, None, _C_co]:
        return self._opener().__await__()

    async def __aenter__(self) -> _C_co:
        if self._inside:
            raise BusyError("this door is entered already", hint="make another, or await it")
        self._inside = True
        try:
            channel = await self._opener()
        except BaseException:
            self._inside = False
            raise
        self._entered = channel
        return channel

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        channel, self._entered, self._inside = self._entered, None, False
        if channel is not None:
            await channel.aclose()


def opening(
    spec: Spec, kind: type[_C], helper: HelperLike, timeout: float, read_packets: int
) -> Door[_C]:
    """A door to what one spec describes.

    Raises:
        SpecError: The helper, the timeout or the number of packets cannot be.
    """
    return door(
        lambda: open_channel(spec, kind, helper, timeout, read_packets),
        helper,
        timeout,
        read_packets,
    )


def door(
    opener: Callable[[], Coroutine[Any, Any, _C]],
    helper: HelperLike,
    timeout: float,
    read_packets: int,
) -> Door[_C]:
    """A door that is opened by ``opener``, whose helper and limits are checked here.

    Raises:
        SpecError: The helper, the timeout or the number of packets cannot be.
    """
    check_helper(helper)
    check_timeout(timeout)
    arguments.read_packets(read_packets)
    return Door(opener)


async def open_channel(
    spec: Spec,
    kind: type[_C],
    helper: HelperLike,
    timeout: float,
    read_packets: int,
) -> _C:
    """Get a descriptor by the ladder, and make its channel."""
    opened = await obtain(spec, helper=helper, timeout=timeout)
    if not isinstance(spec, PacketSpec) or not spec.ring:
        return build_channel(opened, kind, read_packets)
    # Before it swaps a socket's queue for a ring the kernel waits for a grace period, some 15 ms.
    building = _Building(opened, kind, read_packets)
    try:
        channel = await anyio.to_thread.run_sync(building.build)
    except BaseException:
        building.give_up()
        raise
    channel._enter_loop()
    return channel


class _Building(Generic[_C]):
    """A channel that a thread makes, and that may be wanted no more when it is there.

    asyncio's own cancel, which knows no shield, may come before the thread begins, in its midst,
    and after it.
    """

    def __init__(self, opened: channels.Opened, kind: type[_C], read_packets: int) -> None:
        self._opened = opened
        self._kind = kind
        self._read_packets = read_packets
        self._lock = threading.Lock()
        self._begun = self._given_up = False
        self._channel: _C | None = None

    def build(self) -> _C:
        with self._lock:
            if self._given_up:
                raise BusyError("the channel is wanted no more")  # nobody hears of it
            self._begun = True
        channel = build_channel(self._opened, self._kind, self._read_packets)
        with self._lock:
            self._channel = channel
            given_up = self._given_up
        if given_up:
            channel.close()
        return channel

    def give_up(self) -> None:
        """Leave nothing open; what the thread still makes it closes itself."""
        with self._lock:
            self._given_up = True
            begun, channel = self._begun, self._channel
        if channel is not None:
            channel.close()
        elif not begun:
            self._opened.descriptor.close()


def build_channel(opened: channels.Opened, kind: type[_C], read_packets: int) -> _C:
    """The channel of a descriptor, which is closed if none can be made."""
    # No await from here on: a cancelled door must not lose what it holds.
    try:
        channel = channels.build(opened, read_packets=read_packets, icmp=kind is IcmpChannel)
    except BaseException:
        opened.descriptor.close()
        raise
    assert isinstance(channel, kind)
    return channel
