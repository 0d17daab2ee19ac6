"""Ping one host, or any number of them, by one socket for each version of IP."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from functools import partial
from itertools import islice
from operator import attrgetter
from types import TracebackType
from typing import Literal, Self

import anyio

from .._system._native import EchoGroup
from ..bounds import seconds
from ..errors import ClosedError
from ..helper import HelperLike
from ..spec import IpAddress
from .echo import Echo, PingResult
from .lane import Lane
from .link import LinkLanes
from .monitor import MOST, Monitor
from .opening import open_socket
from .settings import Addresses, Probes, Settings, source_address
from .single import Plan, Single
from .source import Source
from .stats import PingerStats
from .sweep import Course, Pace
from .targets import Host, Hosts, Network, Target, addresses_of, one_target

__all__ = ("Pinger", "PingerStats")


class Pinger:
    """Sends echo requests to any number of hosts by one socket for each version of IP.

    ``async with Pinger() as pinger``. Any number of tasks may use it at once. Where a queue of this
    machine is full, probes wait for room. A round trip goes from the kernel's timestamp of the
    request, when it is given to the interface, to that of the reply; where there is none of the
    request, by `sweep`, and back to back, from a look at the clock right before the system call.
    `Echo.clock` tells which it was.

    Args:
        type: ``"dgram"``: the kernel's ping socket; that of IPv6 does not tell of probes that a
            full queue threw away: they are lost. A helper that is named opens it, and no privilege
            helps: net.ipv4.ping_group_range of that network has to have a group of the helper's,
            which is its caller's. ``"raw"``: a raw socket, by own rights or the helper's.
            ``"auto"``: dgram where that range lets this process and no helper is named, else raw.
        family: 4 or 6: only addresses of that version; None: whatever a host has.
        addresses: Of a name. ``"first"``: the one that the resolver prefers (RFC 6724).
            ``"happy"``: the first that there is a route to from here, with this interface, source,
            mark and namespace: IPv4, too, where the name has an address of IPv6 and the machine no
            way there. ``"all"``: each is a host of its own, of the same name, to `sweep` and
            `monitor`.
        source: The address that probes come from.
        interface: Send and receive by this interface only. Where another gets its name, as with
            ppp, a VPN or USB, `monitor`, `ping` and `echoes` go on by that within seconds, and so
            do new calls; a `sweep` that is under way then ends with `LinkDownError`.
        namespace: Network namespace, as `aioprocket.open`.
        mark: SO_MARK, for routing and firewalls.
        ttl: Time to live (hop limit) of the probes, 1 to 255.
        tos: Type of service (traffic class), 0 to 255.
        df: True: probes are never fragmented; one that is too large for a link has the error
            ``"frag-needed"``. False: they may be. None: as the system does it.
        size: Bytes behind the ICMP header. From 16 on a reply cannot be forged by who has not seen
            its request; with 8, guessing succeeds once in 2^64.
        pattern: What fills the bytes behind the first 16.
        broadcast: Addresses of many hosts are allowed: the first reply is the answer, further ones
            count as duplicates.
        receive_buffer: Bytes that the kernel holds of replies.
        helper: As `aioprocket.open`.
        open_timeout: Seconds that the helper may take to answer.

    Raises:
        SpecError: The arguments cannot be.
    """

    def __init__(
        self,
        *,
        type: Literal["auto", "dgram", "raw"] = "auto",
        family: Literal[4, 6] | None = None,
        addresses: Addresses = "first",
        source: str | IpAddress | None = None,
        interface: str | None = None,
        namespace: str | None = None,
        mark: int | None = None,
        ttl: int | None = None,
        tos: int | None = None,
        df: bool | None = None,
        size: int = 56,
        pattern: bytes | None = None,
        broadcast: bool = False,
        receive_buffer: int | None = None,
        helper: HelperLike = None,
        open_timeout: float = 5.0,
    ) -> None:
        self._settings = Settings(
            type=type,
            family=family,
            addresses=addresses,
            source=source_address(source),
            interface=interface,
            namespace=namespace,
            mark=mark,
            ttl=ttl,
            tos=tos,
            df=df,
            broadcast=broadcast,
            receive_buffer=receive_buffer,
            helper=helper,
        )
        self._probes = Probes(size=size, pattern=pattern or b"")
        self._open_timeout = seconds("open_timeout", open_timeout)
        self._lanes: dict[int, Lane] = {}
        self._past = PingerStats.of(())  # of those that were replaced
        self._by_link = LinkLanes(self._settings, self._open_timeout)
        self._calls: dict[Single, str] = {}  # of one host, by its name
        self._lock: anyio.Lock | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        """Open the socket, if the version of IP is known already; else with the first host.

        Raises:
            What `aioprocket.open_icmp` raises.
        """
        if self._settings.version is not None:
            await self._lane(self._settings.version)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """Close the sockets (by the link: 20 ms); whoever waits gets `ClosedError`. Idempotent."""
        self._closed = True
        for lane in self._lanes.values():
            lane.close()
        self._by_link.close()

    async def aclose(self) -> None:
        """As `close`, but a thread waits for the kernel."""
        self._closed = True
        for lane in self._lanes.values():
            lane.close()
        await self._by_link.aclose()

    def stats(self) -> PingerStats:
        """What came so far; it stays readable after the end."""
        present = (*self._lanes.values(), *self._by_link)
        past = self._past.plus(self._by_link.past)
        return past.plus(PingerStats.of(lane.table for lane in present))

    def in_flight(self, host: Host) -> int:
        """Probes to a host, as `ping` or `echoes` was told it, that have no end yet."""
        return sum(call.in_flight for call, named in self._calls.items() if named == str(host))

    async def resolve(self, host: Host) -> tuple[IpAddress, ...]:
        """The addresses of a host that are asked, as ``addresses=`` says: one, or all of a name's.

        Raises:
            ResolutionError: The host has no such address.
        """
        return tuple(await addresses_of(host, self._settings))

    async def ping(
        self,
        host: Host,
        *,
        count: int = 4,
        interval: float = 1.0,
        timeout: float = 1.0,
        size: int | None = None,
        pattern: bytes | None = None,
        jitter: float = 0.0,
        deadline: float | None = None,
    ) -> PingResult:
        """Send ``count`` probes to a host. Loss is data, and no exception.

        Args:
            host: A name, an address (with ``%interface`` where it is link-local), or an object
                of `ipaddress`.
            count: How many, from 1.
            interval: Seconds from one to the next, whatever becomes of it; 0: back to back, as soon
                as the one before has its end.
            timeout: Seconds that each has.
            size: As of the pinger, and so the pattern.
            pattern: See there.
            jitter: The part of the interval, 0 to 1, by which it is longer or shorter at random.
            deadline: Seconds after which it returns, with what there is: a probe that is still on
                its way then is lost, as ping's ``-w`` has it.

        Raises:
            SpecError: The arguments cannot be, or it would be all addresses of a name.
            ResolutionError: The host has no such address; nothing was sent.
            ClosedError: The pinger is closed.
            And what `aioprocket.open_icmp` raises, if this is the first use.
        """
        plan = Plan(count=count, interval=interval, jitter=jitter, deadline=deadline)
        probes = self._probes.like(size, pattern, timeout)
        target, single = await self._single(host, plan, probes)
        try:
            echoes = [echo async for echo in single.run()]
        finally:
            self._end(single)
        repeats = single.repeats
        echoes = [
            echo.with_duplicates(more) if (more := repeats.get(echo.sequence)) else echo
            for echo in sorted(echoes, key=attrgetter("sequence"))
        ]
        return PingResult.of(str(host), target.address, echoes)

    def echoes(
        self,
        host: Host,
        *,
        count: int | None = None,
        interval: float = 1.0,
        timeout: float = 1.0,
        size: int | None = None,
        pattern: bytes | None = None,
        jitter: float = 0.0,
        deadline: float | None = None,
    ) -> AsyncGenerator[Echo, None]:
        """As `ping`, but each probe's end as it comes; without end where ``count`` is None.

        It is an asynchronous generator, as `sweep` is: to leave it before its end, take
        `contextlib.aclosing`, at whose end the probes that still fly are forgotten.

        Raises:
            What `ping` raises.
        """
        plan = Plan(count=count, interval=interval, jitter=jitter, deadline=deadline)
        return self._echoes(host, plan, self._probes.like(size, pattern, timeout))

    async def _echoes(self, host: Host, plan: Plan, probes: Probes) -> AsyncGenerator[Echo, None]:
        _, single = await self._single(host, plan, probes)
        try:
            async with aclosing(single.run()) as stream:
                async for echo in stream:
                    yield echo
        finally:
            self._end(single)

    def sweep(
        self,
        hosts: Hosts,
        *,
        rate: float | None = None,
        count: int = 1,
        timeout: float = 1.0,
        window: int | None = None,
        size: int | None = None,
        pattern: bytes | None = None,
        stamps: bool = False,
        path: Literal["ip", "link"] = "ip",
    ) -> AsyncGenerator[Echo, None]:
        """Ask any number of hosts, and yield each probe's end as it comes.

        ``async with aclosing(pinger.sweep(hosts)) as echoes`` where it may be left before its end.
        What is kept is in proportion to the probes on their way, never to the hosts.

        Args:
            hosts: Names, addresses, networks (objects, or text such as ``"192.0.2.0/24"``), also
                mixed; a network; or an asynchronous iterable, which a task of its own takes from,
                when there is room for another probe: no reply waits for it.
                All addresses of a network are asked, its own and its broadcast address included.
                It may be endless.
            rate: Probes per second at most; None: as fast as the replies come.
            count: Probes to each host, one after another.
            timeout: Seconds that each has.
            window: Probes on their way at most, always; None: 128 at first and up to 512, as long
                as the replies come, and fewer where more of them come then.
            size: As of the pinger, and so the pattern.
            pattern: See there.
            stamps: Ask the kernel when each probe leaves, as `ping` does; else it is the clock
                right before the system call. The price is about three microseconds for each. Not by
                the link.
            path: ``"ip"``: by a socket as `Pinger` says. ``"link"``: as Ethernet frames by a packet
                socket, which costs less for each host. The kernel's routes and neighbours are
                asked, and then the link, for the next hop; firewalls and IPsec of this machine are
                not. Probes are never fragmented, and this machine's own addresses have the error
                ``"own-address"``. The round trip starts as exactly as eight frames leave together.

        Raises:
            SpecError: The arguments cannot be. By the link, too, when its turn has come: a way
                leads by an interface without Ethernet frames.
            ResolutionError: An address is of the other version of IP: before anything is sent for
                a list, tuple or network, else when its turn has come. The name has no address, and
                is the only host of a list or tuple; among others it has one echo, with the error
                ``"unresolved"`` and the address 0.0.0.0 (``::``), and gets no probe.
            ClosedError: The pinger is closed.
        """
        probes = self._probes.like(size, pattern, timeout)
        course = Course(
            Source(hosts, self._settings),
            Pace(rate, window, count, timeout),
            self._settings,
            self._lane if path == "ip" else self._by_link.opener(path, probes.size, stamps=stamps),
            partial(self._group, probes, stamped=stamps),
        )
        return course.run()

    def monitor(
        self,
        hosts: Hosts,
        *,
        interval: float = 1.0,
        timeout: float = 1.0,
        window: int = 100,
        size: int | None = None,
        pattern: bytes | None = None,
        stamps: bool = True,
    ) -> Monitor:
        """Watch hosts: a probe to each per interval, until the iteration is left.

        ``async with pinger.monitor(hosts) as monitor`` ends it at once where that is.

        Where they are more than 128, they are asked in turns of up to 512, 128 at once, evenly
        over the interval, and replies are read up to a hundredth of a second after they came: times
        are the kernel's.

        Args:
            hosts: As `sweep`, but 2^20 at most, for of each some 600 bytes are kept and 8 for each
                probe of its window: 1.4 GiB of as many. A name without an address has an echo with
                the error ``"unresolved"`` each time, if there are others; it is looked up once.
            interval: Seconds between two probes to one host.
            timeout: Seconds that each has.
            window: Probes to a host that its statistics are about.
            size: As of the pinger, and so the pattern.
            pattern: See there.
            stamps: Ask the kernel when each probe leaves. False: a fifth less of the processor's
                time, and of each eight probes that leave together the times are reckoned, which
                is ten microseconds off on average, and on a busy machine more.

        Raises:
            SpecError: The arguments cannot be, or these are more hosts; nothing was opened.
        """
        probes = self._probes.like(size, pattern, timeout)
        if isinstance(hosts, Iterable) and not isinstance(hosts, Host | Network | bytes):
            hosts = list(islice(hosts, MOST + 1))  # it may be endless
        return Monitor(
            Source(hosts, self._settings),
            self._lane,
            partial(self._group, probes, stamped=stamps),
            interval=interval,
            window=window,
        )

    # What these share

    async def _single(self, host: Host, plan: Plan, probes: Probes) -> tuple[Target, Single]:
        target = await one_target(host, self._settings)
        lane = await self._lane(target.version)
        lane_of = None if self._settings.interface is None else self._lane
        single = Single(target, lane, plan, lane_of, partial(self._group, probes, target))
        self._calls[single] = str(host)
        return target, single

    def _end(self, single: Single) -> None:
        del self._calls[single]
        single.abandon()

    def _group(
        self, probes: Probes, target: Target | None = None, *, stamped: bool = True
    ) -> EchoGroup:
        anybody = self._settings.broadcast or (target is not None and not any(target.packed))
        return EchoGroup(probes.size, probes.pattern, probes.timeout_ns, anybody, stamped)

    async def _lane(self, version: Literal[4, 6]) -> Lane:
        if self._closed:
            raise ClosedError("the pinger is closed")
        if version in self._lanes and self._is_present(self._lanes[version]):
            return self._lanes[version]
        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:
            before = self._lanes.get(version)
            if before is None or not self._is_present(before):
                sock, identifier = await open_socket(version, self._settings, self._open_timeout)
                if self._closed:
                    sock.close()
                    raise ClosedError("the pinger was closed while it was opened")
                self._lanes[version] = Lane(sock, version, identifier)
                if before is not None:
                    self._retire(before)
            return self._lanes[version]

    def _is_present(self, lane: Lane) -> bool:
        interface = self._settings.interface
        return interface is None or lane.is_bound_to(interface)

    def _retire(self, lane: Lane) -> None:
        lane.retire(self._settings.interface or "")
        self._past = self._past.plus(PingerStats.of([lane.table])._replace(in_flight=0))
