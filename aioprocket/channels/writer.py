"""The sending half of a transport: packets go at once, or from a buffer when there is room.

What is sent while packets are delivered is gathered, and goes with one system call at the end of
the turn. To whoever sends, that shows in nothing but speed: what would raise is not gathered, and
whatever could overtake it lets it go first.
"""

from collections.abc import Callable, Iterable
from typing import Final

from .._system._native import Gatherer
from ..packet import Packet
from ..readiness import Readiness
from .intake import Intake
from .items import parts, pieces
from .outlet import Outlet, no_room
from .port import Address, Data, Item, Port
from .writebuffer import WriteBuffer

__all__ = ("Writer",)

_WRITES: Final = 64  # packets out of the buffer per wakeup


class Writer:
    """Sends without waiting, and keeps what there is no room for.

    Attributes:
        accepts: Whether more may come, which ends by `stop`.
        buffer: What waits for room.
        gatherer: While it is ``open``, packets may wait for each other, until `end`.
        sendto: As `send`, but the packet may wait for others until `end`.
        on_error: Told of each packet that cannot be sent.
        on_writable: Called back in the loop while there is room for what is in the buffer; it is
            to call `flush`.
    """

    __slots__ = (
        "_intake", "_outlet", "_port", "_readiness", "accepts", "buffer", "gatherer", "on_error",
        "on_writable", "sendto",
    )  # fmt: skip

    def __init__(
        self, port: Port, outlet: Outlet, intake: Intake, readiness: Readiness, buffer: WriteBuffer
    ) -> None:
        self._port = port
        self._outlet = outlet
        self._intake = intake
        self._readiness = readiness
        self.buffer = buffer
        self.accepts = True
        self.on_error: Callable[[OSError], None] = lambda error: None
        self.on_writable: Callable[[], None] = lambda: None
        self.gatherer = Gatherer(port.sender, self.send)
        self.gatherer.direct = True
        self.sendto = self.gatherer.sendto
        outlet.before_put = self._send_gathered

    def end(self) -> None:
        """Send what was gathered, and gather no more."""
        self.gatherer.open = False
        self._send_gathered()

    def stop(self) -> None:
        """Take no more. What is in the buffer can still be sent."""
        self.accepts = self.gatherer.direct = False

    def _send_gathered(self) -> None:
        if self.gatherer:
            self._send_items(*self.gatherer.take())

    def size(self) -> int:
        """Bytes that wait for room, as `WriteBuffer.size`."""
        self._send_gathered()
        return self.buffer.size

    def send(self, data: Data, address: Address | None) -> None:
        """Send one packet or keep it.

        Raises:
            SpecError: The address is a host's name.
        """
        if not self.accepts:
            return
        self._send_gathered()
        if self.gatherer.gather(data, address):  # it had no room for it
            return
        if not self.buffer:
            try:
                self._outlet.put(data, address)
            except OSError as error:
                if not self._wait_for_room(error):
                    return
            else:
                return
        self._keep(data, address)

    def send_batch(self, items: Iterable[Item]) -> int:
        """Send packets or keep them: how many were taken at once.

        Raises:
            SpecError: As `send`; what was before it is sent or kept.
        """
        self._send_gathered()
        return self._send_items(items)

    def _send_items(self, items: Iterable[Item], refused: int = 0) -> int:
        source = pieces(items)
        taken = 0
        while self.accepts and (batch := next(source, ())):
            at = 0
            while at < len(batch) and self.accepts and not self.buffer:
                start = at
                at, error = self._outlet.put_batch(batch, start, refused)
                refused = 0
                taken += at - start
                if error is not None:
                    if self._wait_for_room(error):
                        break
                    at += 1  # that one was reported
            if self.accepts:
                for item in batch[at:]:
                    self._keep(*parts(item))
        return taken

    def _wait_for_room(self, error: OSError) -> bool:
        """Whether a packet that was refused is to be kept; the others are reported."""
        self._outlet.tx_refused += no_room(error)
        if isinstance(error, BlockingIOError):
            self._readiness.subscribe_writable(self.on_writable)
            return True
        self.on_error(error)
        return False

    def _keep(self, data: Data, address: Address | None) -> None:
        address = self._outlet.destination(data, address)
        if address is not None:
            self._port.check(address)  # here, where the caller hears of it
        # A Packet says more than its bytes, and does not change.
        kept = data if type(data) is Packet else bytes(memoryview(data))
        self.gatherer.direct = False  # what is sent from here on comes after it
        self.buffer.append(kept, address)

    def flush(self) -> None:
        """Send some of what is in the buffer; when that is all, `on_writable` is called no more."""
        batch = self.buffer.head(_WRITES)
        at = 0
        while at < len(batch) and self.buffer:  # whoever is told of an error may empty it
            start = at
            at, error = self._outlet.put_batch(batch, start)
            self.buffer.drop(at - start)
            if isinstance(error, BlockingIOError):
                # EPOLLERR wakes us as well, and does so until the error queue is empty.
                self._intake.drain_errors()
                return
            if error is not None and self.buffer:
                at += 1
                self.buffer.drop(1)
                self.on_error(error)
        if not self.buffer:
            self.gatherer.direct = self.accepts
            self._readiness.unsubscribe_writable()
