"""The packet sockets of one pinger: opened at their first use, by the size that probes have."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Literal

import anyio

from ...channels.ending import close_elsewhere
from ...errors import ClosedError, SpecError
from ..lane import Lane
from ..settings import Settings
from ..stats import PingerStats
from .lane import LinkLane
from .opening import frame_size, open_link

__all__ = ("LinkLanes",)


class LinkLanes:
    """One for each version of IP and size of the ring's frames.

    Args:
        settings: Of the pinger.
        timeout: Seconds that the helper may take to answer.
    """

    def __init__(self, settings: Settings, timeout: float) -> None:
        self.past = PingerStats.of(())  # of those that were replaced
        self._settings = settings
        self._timeout = timeout
        self._lanes: dict[tuple[int, int], LinkLane] = {}
        self._lock: anyio.Lock | None = None
        self._closed = False

    def __iter__(self) -> Iterator[LinkLane]:
        return iter(self._lanes.values())

    def opener(
        self, path: str, size: int, *, stamps: bool
    ) -> Callable[[Literal[4, 6]], Awaitable[Lane]]:
        """What gives the lane of a version for probes of a size.

        Raises:
            SpecError: The path is another one; the settings are those of a ping socket; or the
                kernel's timestamps are wanted.
        """
        if path != "link":
            raise SpecError(f"path {path!r} is none of ip, link")
        if stamps:
            raise SpecError(
                "stamps=True: by the link the kernel does not tell when a probe leaves",
                hint='path="ip" has stamps',
            )
        if self._settings.type == "dgram":
            raise SpecError(
                'path="link" sends by a packet socket, and type="dgram" is another',
                hint='type="auto" and type="raw" go with it',
            )
        return partial(self._lane, frame_size(size))

    async def _lane(self, frame: int, version: Literal[4, 6]) -> Lane:
        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:
            self._check_open()
            lane = before = self._lanes.get((version, frame))
            interface = self._settings.interface
            if lane is None or (interface is not None and not lane.is_bound_to(interface)):
                lane = await open_link(version, self._settings, frame, self._timeout)
                self._lanes[version, frame] = lane
                if before is not None:
                    before.retire(interface or "")
                    self.past = self.past.plus(PingerStats.of([before.table])._replace(in_flight=0))
                if self._closed:
                    lane.close()
            self._check_open()
            return lane

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the pinger is closed")

    def close(self) -> None:
        """Close the sockets; whoever waits gets `ClosedError`. Idempotent."""
        self._closed = True
        for lane in self:
            lane.close()

    async def aclose(self) -> None:
        """As `close`, but a thread waits for the kernel."""
        kept = [fd for lane in self for fd in lane.keep()]
        self.close()
        await close_elsewhere(kept)
