"""The doors: from what a program asks for to an open channel.

A door checks its arguments at the call, opens when it is awaited or entered, and looks nothing up
by DNS. It is the one place that knows both ways of getting a descriptor and ways of using one.
"""

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

from . import arguments, bpf
from .bounds import whole
from .channels import Channel, IcmpChannel, PacketChannel, TunChannel
from .errors import NotPermittedError, SpecError
from .helper import HelperLike, is_named, obtain_directly
from .names import protocol_number, type_number
from .opening import Door, build_channel, door, open_channel, opening
from .spec import (
    MAX_QUEUES,
    DeviceSpec,
    Fanout,
    IpAddress,
    IpInterface,
    Latency,
    PacketSpec,
    SocketSpec,
    Spec,
    TunSpec,
)

__all__ = (
    "Door",
    "open",
    "open_device",
    "open_icmp",
    "open_packet",
    "open_tun",
)


def open(
    port: int = 0,
    *,
    protocol: int | str = "tcp",
    type: int | str | None = None,
    family: int | str | None = None,
    ip: str | IpAddress | None = None,
    interface: str | None = None,
    namespace: str | None = None,
    backlog: int | None = None,
    device: str | None = None,
    filter: bpf.FilterLike | None = None,
    lock_filter: bool = False,
    mark: int | None = None,
    priority: int | None = None,
    receive_buffer: int | None = None,
    send_buffer: int | None = None,
    reuse_port: bool = False,
    offload: bool = False,
    broadcast: bool = False,
    latency: Literal["low", "balanced"] = "low",
    helper: HelperLike = None,
    timeout: float = 5.0,
    read_packets: int = 64,
) -> Door[Channel]:
    """Open a socket of any family, or a character device.

    Args:
        port: TCP or UDP port to bind to; 0 binds to a port only if ``ip`` is given.
        protocol: Name or number. Ethernet protocols are in host order.
        type: Name or number; None follows the protocol: tcp stream, udp dgram, else raw.
        family: Name or number; None follows ``ip`` and the protocol, else inet.
        ip: Address to bind to, with ``%interface`` where it is link-local. ``"::"`` is every
            address of IPv6 and none of IPv4 (IPV6_V6ONLY), which take a socket of their own.
        interface: Receive from and send to this interface only.
        namespace: Network namespace: a name of ``ip netns``, a path, or ``"pid:N"``.
        backlog: Listen, with room for as many connections not accepted yet.
        device: A character device below /dev instead of a socket.
        filter: In force before the first packet can be read: an expression of pcap-filter(7), what
            `bpf.udp_port` and its like return, or a program of classic BPF. An expression is about
            whole packets, also where the socket receives less of them; a program is about what the
            kernel shows to it. Not for a stream.
        lock_filter: Nobody can change the filter any more, the receiver included.
        mark: SO_MARK, for routing and firewalls.
        priority: SO_PRIORITY.
        receive_buffer: Bytes that the kernel holds; not clamped to net.core.rmem_max.
        send_buffer: Bytes that the kernel holds; not clamped to net.core.wmem_max.
        reuse_port: SO_REUSEPORT.
        offload: UDP: the kernel takes and gives datagrams several at once, see `InetChannel`. Those
            that it drops together count as one in ``stats().rx_dropped``: there were more.
        broadcast: SO_BROADCAST, without which the kernel sends none to a broadcast address.
        latency: How long a packet may wait for others to be handed over with. ``"low"``: not at
            all. ``"balanced"``: where they come densely, up to 1 ms, or until some 50 are due: a
            wakeup costs several times what a packet does. For streams: flow records, a DNS server
            under load, a VPN by UDP. Not where few requests are on their way, whose answers would
            wait as well. A sudden flood of a million packets/s must find room meanwhile, so with
            the buffer that the kernel gives to all it is 0.3 ms, and 1 ms takes a
            ``receive_buffer`` of 1 MiB. Not for a stream of bytes.
        helper: None tries this process's own rights, the installed helper and the broker;
            ``"sudo"``, a `Helper`, a command or ``"unix:PATH"`` name one way.
        timeout: Seconds that the helper may take to answer.
        read_packets: Packets read at most per wakeup of an active channel. From a ring, as many as
            2 ms allow.

    Raises:
        SpecError: The arguments contradict each other, or name what cannot exist.
        FilterError: The filter is no program, cannot be compiled, or means nothing here.
        NotPermittedError: No way is permitted; the message names each that was tried.
        OpenError: A system call failed; ``step`` says which.
        HelperError: The helper could not be reached, or failed.
    """
    spec: Spec = arguments.any_socket(
        port=port,
        protocol=protocol,
        type=type,
        family=family,
        ip=ip,
        interface=interface,
        namespace=namespace,
        backlog=backlog,
        filter=filter,
        lock_filter=lock_filter,
        mark=mark,
        priority=priority,
        receive_buffer=receive_buffer,
        send_buffer=send_buffer,
        reuse_port=reuse_port,
        offload=offload,
        broadcast=broadcast,
        latency=latency,
    )
    if device is not None:
        # Nothing that was asked for may be dropped in silence, a filter least of all.
        if spec != arguments.PLAIN:
            raise SpecError(f"device {device!r} takes none of a socket's arguments")
        spec = DeviceSpec(name=device)
    return opening(spec, Channel, helper, timeout, read_packets)


def open_packet(
    interface: str | None = None,
    *,
    type: int | str = "raw",
    protocol: int | str = "all",
    promiscuous: bool = False,
    allmulti: bool = False,
    filter: bpf.FilterLike | None = None,
    lock_filter: bool = False,
    ring: bool = True,
    latency: Latency = "balanced",
    fanout: Fanout | int | None = None,
    snaplen: int = 65535,
    qdisc_bypass: bool = False,
    namespace: str | None = None,
    mark: int | None = None,
    priority: int | None = None,
    receive_buffer: int | None = None,
    send_buffer: int | None = None,
    helper: HelperLike = None,
    timeout: float = 5.0,
    read_packets: int = 64,
) -> Door[PacketChannel]:
    """Open a packet(7) socket: every frame of one interface, or of all.

    Args:
        interface: Name, or None for all interfaces of the namespace. Where the helper's policy
            grants one alone, it is that one, and ``channel.interface`` says so.
        type: ``"raw"``: frames with their link header; ``"dgram"``: without.
        protocol: Ethernet protocol, by name or in host order. The kernel shows what this machine
            sends to ``"all"`` only; with another one it is received frames alone. 0: nothing is
            received: a channel that only sends, faster, and without a ring.
        promiscuous: Also receive frames for other stations, while the channel is open.
        allmulti: Also receive every multicast frame, while the channel is open.
        filter: As `open`. VLANs are matched by the tag that the kernel has taken out of the frame.
        lock_filter: As `open`. With an interface, no other one can be read afterwards, either:
            a bind alone would not hold the receiver. Sending is not confined by it.
        ring: Receive through memory that the kernel shares (TPACKET_V3): no system call and no copy
            for a packet. False: by system calls, up to 64 packets each; ``latency`` is then as that
            of `open`. A forked child cannot read its parent's ring (``EBADF``), and leaves it
            alone when it closes the channel.
        latency: How long a packet may wait for others to be handed over with. ``"balanced"``: 1
            ms, or until 1/64 of the ring is full; 8 MiB: some 800 packets of 64 bytes, or 80 of
            1500. ``"throughput"``: 50 ms, or 1/8; 32 MiB: 27,000 or 2,600. ``"low"``: not at all,
            in 2 MiB of frames with room for 1,982 bytes, or for ``snaplen`` if that is less
            (TPACKET_V2). A packet that is larger, as GRO makes them, is read by a system call; if
            the socket's queue has no room for it, it is cut, and ``truncated``. A ring of the first
            two is full after 64 and 8 handovers, however little is in each. While nobody reads,
            the event loop sees to that: what is sparse is kept in memory (``stats().rx_held``), up
            to the ring's size. But a loop that is itself held up for more than 64 ms, or 400, loses
            packets, which are counted; with ``"low"`` and ``ring=False`` packets count, not time.
        fanout: Share the packets with other sockets: a `Fanout`, or the number of a group that
            shares them out by their flows.
        snaplen: Bytes kept of each packet. With a ring a smaller one leaves room for more packets.
        receive_buffer: Bytes of the ring, which take no privilege; without a ring, as `open`.
            ``channel.ring_size`` says what became of it: it is rounded to blocks, of which there
            are at least a few.
        qdisc_bypass: What is sent goes to the driver past the interface's queue, and past ``tc``,
            shaping and other packet sockets with it. Where the driver has no room, a send fails
            with ``ENOBUFS``, and the frame may be counted as dropped there.
        namespace: As `open`, and so are the rest.

    Raises:
        What `open` raises.
    """
    kind = type_number(type)
    number = protocol_number(protocol, socket.AF_PACKET)
    has_ring = bool(ring and number)
    spec = PacketSpec(
        interface=interface,
        type=kind,
        protocol=number,
        promiscuous=promiscuous,
        allmulti=allmulti,
        filter=arguments.program(filter, socket.AF_PACKET, kind),
        lock_filter=lock_filter,
        snaplen=snaplen,
        ring=ring,
        latency=latency,
        fanout=arguments.fanout(fanout),
        qdisc_bypass=qdisc_bypass,
        namespace=namespace,
        mark=mark,
        priority=priority,
        ring_size=receive_buffer if has_ring else None,
        receive_buffer=None if has_ring else receive_buffer,
        send_buffer=send_buffer,
    )
    return opening(spec, PacketChannel, helper, timeout, read_packets)


def open_icmp(
    family: Literal[4, 6] | str = 4,
    *,
    type: int | str = "auto",
    ip: str | IpAddress | None = None,
    interface: str | None = None,
    filter: bpf.FilterLike | None = None,
    lock_filter: bool = False,
    namespace: str | None = None,
    mark: int | None = None,
    priority: int | None = None,
    receive_buffer: int | None = None,
    send_buffer: int | None = None,
    latency: Literal["low", "balanced"] = "low",
    helper: HelperLike = None,
    timeout: float = 5.0,
    read_packets: int = 64,
) -> Door[IcmpChannel]:
    """Open a channel of ICMP (``family=4``) or ICMPv6 (``family=6``) messages.

    Whatever the type, what is received starts with the ICMP header, and time to live arrives as
    ancillary data. ``channel.identifier`` is the identifier to put into an echo request.

    Args:
        family: 4 or 6 (or ``"inet"``, ``"inet6"``).
        type: ``"dgram"``, the kernel's ping socket: echoes of its own only. ``"raw"``: every
            message. ``"auto"``: dgram if net.ipv4.ping_group_range lets this process and no helper
            is named, else raw.
        filter: As `open`; or, for ICMPv6, `bpf.icmp6_types`.
        latency: As `open`: ``"balanced"`` for who watches much, not for who waits for answers.
        ip: As `open`, and so are the rest.

    Raises:
        What `open` raises.
    """

    def spec(kind: int | str) -> SocketSpec:
        return arguments.icmp(
            family=family,
            type=kind,
            ip=ip,
            interface=interface,
            filter=filter,
            lock_filter=lock_filter,
            namespace=namespace,
            mark=mark,
            priority=priority,
            receive_buffer=receive_buffer,
            send_buffer=send_buffer,
            latency=latency,
        )

    if type != "auto":
        only = spec(type)
        return opening(only, IcmpChannel, helper, timeout, read_packets)
    ping, raw = spec("dgram"), spec("raw")

    async def opener() -> IcmpChannel:
        if not is_named(helper):
            # The error of the other way is not about this one: it is raised outside of this.
            with suppress(NotPermittedError):
                return build_channel(await obtain_directly(ping), IcmpChannel, read_packets)
        return await open_channel(raw, IcmpChannel, helper, timeout, read_packets)

    return door(opener, helper, timeout, read_packets)


def open_tun(
    name: str = "",
    *,
    mode: Literal["tun", "tap"] = "tun",
    queues: int = 1,
    mtu: int | None = None,
    addresses: Iterable[str | IpInterface] = (),
    up: bool = True,
    persist: bool = False,
    offload: bool = False,
    namespace: str | None = None,
    helper: HelperLike = None,
    timeout: float = 5.0,
    read_packets: int = 64,
) -> Door[TunChannel]:
    """Open a TUN (IP packets) or TAP (Ethernet frames) device, complete with address and link.

    Args:
        name: Of the device; empty: the first free of ``aio0``, ``aio1``, … A device that exists
            is attached to if it is the caller's own.
        mode: ``"tun"`` or ``"tap"``.
        queues: How many queues. The channel is the first; ``channel.queues`` has all of them,
            and each must be read, for the kernel spreads flows over them.
        mtu: In bytes. Below 1280 the device has no IPv6, and the helper makes such devices for root
            and in namespaces of the caller's own only.
        addresses: Up to four, with prefix length: ``"198.18.0.1/24"``. The helper's built-in
            policy grants those that no real network has, 198.18.0.0/15 and 2001:db8::/32 among
            them; others take a rule (``tun addr=10.9.0.0/24``) or a namespace of the caller's own.
        up: Bring the link up.
        persist: The device outlives its channel.
        offload: Packets of up to 64 KiB, which the kernel has not cut to the MTU yet (TSO, USO,
            GRO): many times the bytes per second. Such a packet has a ``gso_size``, and an open
            checksum. Sent to another channel with offload it goes on as it is; for all else there
            are its `Packet.segments`, which are complete, as is any packet without a ``gso_size``.
            What is sent otherwise (bytes, a packet from elsewhere) must be complete, too. Bytes
            alone do not say all this: receive packets, not by ``recv`` or ``datagram_received``.
        namespace: As `open`, and so are the rest.

    Raises:
        What `open` raises.
    """
    whole("queues", queues, 1, MAX_QUEUES)
    first = TunSpec(
        name=name,
        mode=mode,
        mtu=mtu,
        addresses=arguments.networks(addresses),
        up=up,
        persist=persist,
        multi_queue=queues > 1,
        offload=offload,
        namespace=namespace,
    )

    async def opener() -> TunChannel:
        channel = await open_channel(first, TunChannel, helper, timeout, read_packets)
        try:
            for _ in range(queues - 1):
                more = TunSpec(
                    name=channel.name,
                    mode=mode,
                    up=False,
                    multi_queue=True,
                    offload=offload,
                    namespace=namespace,
                )
                channel.add_queue(
                    await open_channel(more, TunChannel, helper, timeout, read_packets)
                )
        except BaseException:
            await channel.aclose()
            raise
        return channel

    return door(opener, helper, timeout, read_packets)


def open_device(
    name: str,
    *,
    helper: HelperLike = None,
    timeout: float = 5.0,
    read_packets: int = 64,
) -> Door[Channel]:
    """Open a character device below /dev, as ``"net/tun"`` or ``"rtc0"``.

    Directly where this process may; else what the helper's policy lists.

    Raises:
        What `open` raises.
    """
    spec = DeviceSpec(name=name)
    return opening(spec, Channel, helper, timeout, read_packets)
