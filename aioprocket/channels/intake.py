"""The reading side of a channel: what came, what went wrong, and what that means. No loop.

Packets and bytes are counted by the port's receiver. Errors come in two kinds. *Soft* ones are
news about the network, one of them per event, and the descriptor goes on: they are counted, told
to ``on_error``, and reading continues. All others end the read that met them.
"""

import errno
import os
import select
import socket
from collections.abc import Callable
from typing import Final

import anyio

from .._system._native import UNLOOKED
from ..errors import LinkDownError, errno_text
from ..packet import Batch, Packet
from .explain import channel_error, link_error
from .link import Link
from .modes import ReadMachine
from .port import Port
from .serve import TURN_SECONDS

__all__ = ("TURN_NS", "Intake")

_SOFT: Final = frozenset({
    errno.ENETDOWN,  # the link went down; frames flow again when it is up
    errno.ENOBUFS,  # netlink: an overrun, which is in the drop count as well
    # What ICMP errors become on inet sockets: icmp_err_convert in net/ipv4/icmp.c and ipv6.
    errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE, errno.EHOSTDOWN,
    errno.ENONET, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPROTO, errno.EACCES,
})  # fmt: skip
TURN_NS: Final = int(TURN_SECONDS * 1e9)
_INET: Final = frozenset({socket.AF_INET, socket.AF_INET6})


class Intake:
    """Reads from a port, keeps the books, and knows what may be delivered (``machine``)."""

    __slots__ = (
        "_drops_told", "_gone", "_link", "_link_is_down", "_on_drop", "_port", "_soft", "deafens",
        "error_count", "extra_bytes", "extra_packets", "extra_truncated", "machine", "on_error",
        "place", "times_link_down",
    )  # fmt: skip

    def __init__(self, port: Port, link: Link | None, place: str) -> None:
        self._port = port
        self._link = link
        self.place = place  # what the channel is, in messages
        self._gone = False
        self._link_is_down = False
        self._on_drop: Callable[[int], object] | None = None
        # To a device and to a stream, whatever goes wrong is the end of it.
        self._soft = _SOFT if port.sock is not None and not port.stream else frozenset()
        # Of the end of its interface the kernel tells such a socket nothing.
        sock = port.sock
        bound = link is not None and sock is not None and sock.family in _INET
        self.deafens = bound and not port.stream
        self.machine = ReadMachine()
        self.on_error: Callable[[OSError], None] | None = None
        self._drops_told = 0
        self.error_count = 0
        self.times_link_down = 0
        # What reads past the receiver took, which counts the rest.
        self.extra_packets = 0
        self.extra_bytes = 0
        self.extra_truncated = 0

    # What a wakeup has to look after besides packets.

    @property
    def gone(self) -> bool:
        """The interface was removed."""
        return self._gone

    @property
    def link_is_down(self) -> bool:
        """The interface went down, and nobody has seen it up again."""
        return self._link_is_down

    @property
    def on_drop(self) -> Callable[[int], object] | None:
        """Told of the first drop from here on."""
        return self._on_drop

    @on_drop.setter
    def on_drop(self, callback: Callable[[int], object] | None) -> None:
        self._on_drop = callback
        self._beware()

    def _beware(self, *, link_is_down: bool | None = None, gone: bool | None = None) -> None:
        if link_is_down is not None:
            self._link_is_down = link_is_down
        if gone is not None:
            self._gone = gone
        self.machine.delivery.wary = self._gone or self._link_is_down or self._on_drop is not None

    @property
    def timed(self) -> bool:
        """Whether time alone bounds a turn: `Port.timed`."""
        return self._port.timed

    def next_batch(self, budget: int) -> list[Packet]:
        """What the mode lets be delivered now, ``budget`` packets at most; none is no error.

        Raises:
            What `attempt` raises.
        """
        machine = self.machine
        if machine.backlog:  # what is read now may bring more for it, which comes last
            return machine.take([], budget)
        want = machine.want(budget)
        return self.attempt(want) if want else []

    def attempt(self, count: int) -> list[Packet]:
        """Up to ``count`` packets that are there now; none is no error, nor is a soft error.

        Raises:
            anyio.EndOfStream: The other end closed, or the device has no more.
            LinkDownError: The interface was removed: nothing will ever come again.
            ChannelError: What the kernel said.
        """
        if self.gone:
            raise self._removed()
        packets = self._receive(count)
        if packets is None:  # behind the error there may be packets
            packets = self._receive(count) or []
        if packets:
            self._note_packets()
        return packets

    def next_whole(self, budget: int) -> Batch | None:
        """As `next_batch`, in one piece; None for none."""
        machine = self.machine
        if machine.backlog:
            packets = self.next_batch(budget)
            return Batch(packets) if packets else None
        want = machine.want(budget)
        return self.attempt_whole(want) if want else None

    def attempt_whole(self, count: int | None) -> Batch | None:
        """As `attempt`, in one piece: `Port.take`."""
        if self.gone:
            raise self._removed()
        batch = None
        for _ in range(2):  # behind an error there may be packets
            try:
                batch = self._port.take(count)
                break
            except OSError as error:
                self.note(error)
            except EOFError:
                raise anyio.EndOfStream from None
        if batch is not None:
            self._note_packets()
        return batch

    def _note_packets(self) -> None:
        self.machine.delivery.found = True
        # They may be from before it went down: so it is asked.
        if self._link_is_down and self._link is not None:
            self._beware(link_is_down=not self._link.up())

    def dispatch(self, callback: Callable[..., object], budget: int, datagrams: bool) -> None:
        """Call back for each packet that the mode lets be delivered now; see `Receiver.dispatch`.

        Raises:
            What the callback raises: ``machine.delivery.calling`` is true then.
            And what `attempt` raises.
        """
        if self.gone:
            raise self._removed()
        port, delivery = self._port, self.machine.delivery
        before = port.counters.packets
        for _ in range(2):  # behind an error there may be packets
            try:
                port.dispatch(delivery, callback, budget, datagrams, TURN_NS)
                break
            except (OSError, EOFError) as error:
                self.fail(error)
        if port.counters.packets != before:
            self._note_packets()

    def fail(self, error: OSError | EOFError) -> None:
        """Take what ended a dispatch for the news that it is.

        Raises:
            The error itself, if it is the callback's; what `attempt` raises.
        """
        if self.machine.delivery.calling:
            raise error
        if isinstance(error, EOFError):
            raise anyio.EndOfStream from None
        self.note(error)

    def forget(self) -> None:
        """Throw away what was read and not delivered, as if it had never been read."""
        for packet in self.machine.forget():
            self.extra_packets -= 1
            self.extra_bytes -= len(packet)
            self.extra_truncated -= packet.truncated

    def _receive(self, count: int) -> list[Packet] | None:
        try:
            return self._port.receive(count)
        except OSError as error:
            self.note(error)
            return None
        except EOFError:
            raise anyio.EndOfStream from None

    def attempt_into(self, room: memoryview) -> int | None:
        """One packet into room for bytes, and its length there; None: nothing is there.

        Raises:
            What `attempt` raises.
        """
        if self.gone:
            raise self._removed()
        try:
            held, length = self._port.read_into(room)
        except BlockingIOError:
            return None
        except OSError as error:
            self.note(error)
            return None
        except EOFError:
            raise anyio.EndOfStream from None
        self.count(held, truncated=length > held)
        return held

    def count(self, length: int, *, truncated: bool = False) -> None:
        """One packet that did not come through the receiver, unless that counts all."""
        if self._port.counts_all or (self._port.stream and not length):  # b"": its end
            return
        self.extra_packets += 1
        self.extra_bytes += length
        self.extra_truncated += truncated

    def note(self, error: OSError) -> None:
        """Take a soft error for the news that it is.

        Raises:
            LinkDownError: Not a soft one, and about the link.
            ChannelError: Any other that is not soft.
        """
        if error.errno not in self._soft:
            link = self._link
            if link is not None and (down := link_error(error, "receive", link)) is not None:
                raise down from error
            raise channel_error(error, "receive", self.place) from error
        if error.errno == errno.ENETDOWN:
            self._note_link_down(error)
        elif not self.drain_errors():
            # With IP_RECVERR the same news is in the error queue, where it says more.
            self._tell(error)

    def is_about_another(self, error: OSError) -> bool:
        """Whether a send failed with the network's answer to an earlier packet.

        The kernel reports that at the next call, whichever it is, and does not do what the call
        asks for. It is noted here; the call has to be made again.
        """
        sock = self._port.sock
        if sock is None or self._port.stream or sock.family not in _INET:
            return False
        if self.drain_errors():
            return True
        if error.errno == errno.ECONNREFUSED:
            self._tell(error)
            return True
        return False

    def _note_link_down(self, error: OSError) -> None:
        self.times_link_down += 1
        link = self._link
        if link is None:
            self._tell(error)
            return
        self._beware(link_is_down=True)
        self._tell(link_error(error, "receive", link) or error)
        self.check_link()

    def wake(self, events: Callable[[], int]) -> None:
        """The loop said that something is there; ``events`` gives the mask of epoll.

        It is not asked for while packets come, or seldom: that is a system call.
        """
        delivery = self.machine.delivery
        delivery.wakeups += 1
        delivery.unlooked += 1
        looked = not delivery.found or delivery.unlooked >= UNLOOKED
        delivery.found = False
        if looked:
            delivery.unlooked = 0
            if events() & select.EPOLLERR:
                self.drain_errors()

    def drain_errors(self) -> bool:
        """Empty the error queue, without which every wait would return at once.

        Returns:
            Whether there was anything in it.
        """
        errors = self._port.errors()
        for error in errors:
            self._tell(error)
        return bool(errors)

    def _tell(self, error: OSError) -> None:
        self.error_count += 1
        if self.on_error is not None:
            self.on_error(error)

    def look_for_drops(self) -> None:
        """Tell of drops whoever waits for the first one; else the kernel is not asked.

        Called where a read has emptied the queue, and where one that never does yields: what was
        dropped before is known there.

        Raises:
            What ``on_drop`` raises. No packet was read in between.
        """
        callback = self.on_drop
        if callback is None:
            return
        dropped = self._port.dropped()
        if dropped > self._drops_told:
            self._drops_told = dropped
            self.on_drop = None  # before the call, in which it may be set anew
            callback(dropped)

    def check_link(self) -> None:
        """Look whether the link was removed, where the kernel says nothing of that (any more).

        Raises:
            LinkDownError: It was.
        """
        if not (self._link_is_down or self.deafens) or self._link is None or not self._link.gone():
            return
        if not self._link_is_down:
            self._note_link_down(OSError(errno.ENODEV, os.strerror(errno.ENODEV)))
            return  # from here once more
        # What came before is still to be delivered.
        self._beware(gone=not self.machine.backlog and not self._port.queued())
        if self._gone:
            raise self._removed()

    def _removed(self) -> LinkDownError:
        assert self._link is not None
        return LinkDownError(
            f"receive on {self._link.name}: the interface was removed: {errno_text(errno.ENODEV)}",
            interface=self._link.name,
            errno=errno.ENODEV,
            hint="this channel will never receive again; when the interface is back, open another",
        )
