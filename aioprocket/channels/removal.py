"""Whether an interface was removed, where the kernel does not say so to the sockets bound to it.

A packet socket gets an error. A socket of IP that is bound to an interface is bound to an index,
which never comes again, and waits for ever. So it is asked now and then whether there is an
interface of that index in its network: by one timer for all such channels of an asyncio loop; on
trio, by who waits.
"""

import asyncio
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, WeakSet

from ..errors import LinkDownError

if TYPE_CHECKING:
    from .receiving import Receiving

__all__ = ("LINK_CHECK", "watch_link")

# Seconds between looks at a link.
LINK_CHECK: Final = 0.5
# Of thousands that are bound, looks come later: this times the processor time that one takes.
_PRICE: Final = 500


class _Watch:
    """The channels of one loop."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._channels: WeakSet[Receiving] = WeakSet()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, channel: "Receiving") -> None:
        self._channels.add(channel)
        if self._timer is None:
            self._start(LINK_CHECK)

    def _start(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        self._timer = None
        if os.getpid() != self._pid:
            return  # a forked child that runs its parent's loop
        began = time.thread_time()
        try:
            for channel in list(self._channels):
                if _is_over(channel):
                    self._channels.discard(channel)
        finally:
            if self._channels:
                self._start(max(LINK_CHECK, _PRICE * (time.thread_time() - began)))


def _is_over(channel: "Receiving") -> bool:
    """Whether there is nothing more to look for; who receives is woken to hear of it."""
    if not channel._closed:
        with suppress(LinkDownError):
            channel._intake.check_link()
        if not channel._intake.link_is_down:
            return False
        channel._settle(0)
        channel._readiness.wake()
        channel._on_link_down()
    return True


_watches: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch]" = WeakKeyDictionary()


def watch_link(channel: "Receiving") -> bool:
    """Have the running asyncio loop look at a channel's link; False: none runs."""
    loop = asyncio._get_running_loop()
    if loop is None:
        return False
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = _Watch()
    watch.add(channel)
    return True
