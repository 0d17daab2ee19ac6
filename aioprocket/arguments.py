"""From a door's arguments to the spec that they mean: names, defaults that follow one another."""

import ipaddress
import socket
from collections.abc import Iterable

from .bounds import MAX_COUNT, whole
from .bpf import FilterLike, Program, View, program_for
from .errors import SpecError
from .names import family_number, protocol_number, type_number
from .spec import (
    Fanout,
    IpAddress,
    IpInterface,
    Latency,
    PacketSpec,
    SocketSpec,
)

__all__ = ("PLAIN", "any_socket", "fanout", "icmp", "networks", "program", "read_packets")

# type=None follows the family, or else the protocol.
_TYPE_OF_FAMILY: dict[int, int] = {
    socket.AF_UNIX: socket.SOCK_STREAM,
    socket.AF_NETLINK: socket.SOCK_RAW,
    socket.AF_PACKET: socket.SOCK_RAW,
}
_TYPE_OF_PROTOCOL: dict[int, int] = {
    socket.IPPROTO_TCP: socket.SOCK_STREAM,
    socket.IPPROTO_UDP: socket.SOCK_DGRAM,
}
_FAMILY_OF_VERSION: dict[int, int] = {4: socket.AF_INET, 6: socket.AF_INET6}
_ICMP: dict[int, int] = {
    socket.AF_INET: socket.IPPROTO_ICMP,
    socket.AF_INET6: socket.IPPROTO_ICMPV6,
}
# The kernel only says that it does not support any other.
_TYPES_OF_PROTOCOL: dict[int, tuple[str, tuple[int, ...]]] = {
    socket.IPPROTO_TCP: ("tcp is stream", (socket.SOCK_STREAM, socket.SOCK_RAW)),
    socket.IPPROTO_UDP: ("udp is dgram", (socket.SOCK_DGRAM, socket.SOCK_RAW)),
    socket.IPPROTO_ICMP: ("icmp is raw or dgram", (socket.SOCK_DGRAM, socket.SOCK_RAW)),
    socket.IPPROTO_ICMPV6: ("ipv6-icmp is raw or dgram", (socket.SOCK_DGRAM, socket.SOCK_RAW)),
}


# What `any_socket` makes of the defaults.
PLAIN = SocketSpec(family=socket.AF_INET, type=socket.SOCK_STREAM, protocol=socket.IPPROTO_TCP)


def program(filter: FilterLike | None, family: int, type: int, protocol: int = 0) -> Program | None:
    """The checked program that ``filter=`` means on such a socket.

    Raises:
        FilterError: It is none, or can mean nothing there.
    """
    return None if filter is None else program_for(filter, _view(family, type, protocol))


def _view(family: int, type: int, protocol: int) -> View:
    if type == socket.SOCK_STREAM:
        return View.STREAM
    if family == socket.AF_PACKET:
        return View.FRAME if type == socket.SOCK_RAW else View.NETWORK
    if family not in _ICMP:
        return View.FOREIGN
    if family == socket.AF_INET:
        return View.IPV4 if type == socket.SOCK_RAW else View.BEHIND_IPV4
    if protocol == socket.IPPROTO_ICMPV6:
        return View.ICMPV6
    # A socket of UDP receives IPv4 as well, unless it is told not to.
    return View.BEHIND_IPV6 if type == socket.SOCK_RAW else View.BEHIND_IP


def fanout(group: Fanout | int | None) -> Fanout | None:
    """The group that ``fanout=`` means: a number is that of one that goes by flows.

    Raises:
        SpecError: It is none.
    """
    return Fanout(group) if isinstance(group, int) else group


def read_packets(count: int) -> int:
    """How many packets an active channel reads per wakeup.

    Raises:
        SpecError: It is no whole number from 1.
    """
    return whole("read_packets", count, 1, MAX_COUNT)


def networks(addresses: Iterable[str | IpInterface]) -> tuple[IpInterface, ...]:
    """Addresses with the length of their prefix: ``["198.18.0.1/24"]``.

    Raises:
        SpecError: One of them is none, or they are no list.
    """
    if isinstance(addresses, str | bytes) or not isinstance(addresses, Iterable):
        raise SpecError(f"addresses is a list, like ['198.18.0.1/24'], not {addresses!r}")
    return tuple(_network(address) for address in addresses)


def _network(address: str | IpInterface) -> IpInterface:
    hint = "like '198.18.0.1/24'"
    if isinstance(address, ipaddress.IPv4Interface | ipaddress.IPv6Interface):
        found: IpInterface = address
    elif not isinstance(address, str) or "/" not in address:
        raise SpecError(f"address {address!r} is not an address with its prefix", hint=hint)
    else:
        try:
            found = ipaddress.ip_interface(address)
        except ValueError:
            raise SpecError(
                f"address {address!r} is not an address with its prefix", hint=hint
            ) from None
    if found.ip.is_multicast:
        raise SpecError(f"address {address} is a group's: no device can have it")
    return found


def any_socket(
    *,
    port: int,
    protocol: int | str,
    type: int | str | None,
    family: int | str | None,
    ip: str | IpAddress | None,
    interface: str | None,
    namespace: str | None,
    backlog: int | None,
    filter: FilterLike | None,
    lock_filter: bool,
    mark: int | None,
    priority: int | None,
    receive_buffer: int | None,
    send_buffer: int | None,
    reuse_port: bool,
    offload: bool = False,
    broadcast: bool = False,
    latency: Latency = "low",
) -> SocketSpec | PacketSpec:
    """What the arguments of `aioprocket.open` mean.

    Raises:
        SpecError: They contradict each other, or name what cannot exist.
        FilterError: The filter is no program.
    """
    address, interface = _address(ip, interface)
    family = _family(family, address, protocol)
    protocol = protocol_number(protocol, family)
    type = _type(type, family, protocol)
    if family != socket.AF_PACKET:
        return SocketSpec(
            family=family,
            type=type,
            protocol=protocol,
            ip=address,
            port=port,
            interface=interface,
            backlog=backlog,
            reuse_port=reuse_port,
            mark=mark,
            priority=priority,
            receive_buffer=receive_buffer,
            send_buffer=send_buffer,
            filter=program(filter, family, type, protocol),
            lock_filter=lock_filter,
            offload=offload,
            broadcast=broadcast,
            namespace=namespace,
            latency=latency,
        )
    if port or address is not None or backlog is not None or reuse_port or offload or broadcast:
        raise SpecError(
            "port, ip, backlog, reuse_port, offload and broadcast mean nothing to family packet"
        )
    return PacketSpec(
        type=type,
        protocol=protocol,
        interface=interface,
        mark=mark,
        priority=priority,
        receive_buffer=receive_buffer,
        send_buffer=send_buffer,
        filter=program(filter, family, type),
        lock_filter=lock_filter,
        namespace=namespace,
        latency=latency,
    )


def icmp(
    *,
    family: int | str,
    type: int | str,
    ip: str | IpAddress | None,
    interface: str | None,
    namespace: str | None,
    filter: FilterLike | None,
    lock_filter: bool,
    mark: int | None,
    priority: int | None,
    receive_buffer: int | None,
    send_buffer: int | None,
    latency: Latency = "low",
) -> SocketSpec:
    """What the arguments of `aioprocket.open_icmp` mean, ``type`` being dgram or raw.

    Raises:
        SpecError: They contradict each other, or name what cannot exist.
        FilterError: The filter is no program.
    """
    number = _family_number(family)
    if number not in _ICMP:
        raise SpecError(f"family {family!r} has no ICMP: 4 or 6")
    address, interface = _address(ip, interface)
    kind = _type(type, number, _ICMP[number])
    return SocketSpec(
        family=number,
        type=kind,
        protocol=_ICMP[number],
        ip=address,
        interface=interface,
        mark=mark,
        priority=priority,
        receive_buffer=receive_buffer,
        send_buffer=send_buffer,
        filter=program(filter, number, kind, _ICMP[number]),
        lock_filter=lock_filter,
        namespace=namespace,
        latency=latency,
    )


def _address(
    ip: str | IpAddress | None, interface: str | None
) -> tuple[IpAddress | None, str | None]:
    """The address without its scope, and the interface, which is the scope if there is one."""
    if ip is None:
        return None, interface
    try:
        # Not of a number or of bytes, which it would take, too.
        address = ipaddress.ip_address(str(ip))
    except ValueError:
        raise SpecError(
            f"ip {ip!r} is not an IPv4 or IPv6 address", hint="names are not looked up here"
        ) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        if interface not in (None, address.scope_id):
            raise SpecError(f"ip {ip} is on another interface than {interface!r}")
        return ipaddress.IPv6Address(int(address)), address.scope_id
    return address, interface


def _family(family: int | str | None, ip: IpAddress | None, protocol: int | str) -> int:
    if family is not None:
        return _family_number(family)
    if ip is not None:
        return _FAMILY_OF_VERSION[ip.version]
    if protocol_number(protocol, socket.AF_INET) == socket.IPPROTO_ICMPV6:
        return socket.AF_INET6
    return socket.AF_INET


def _family_number(family: int | str) -> int:
    """4 and 6 are families, too; neither number is one of the kernel's that we open."""
    if family == 4 or family == 6:
        return _FAMILY_OF_VERSION[int(family)]
    return family_number(family)


def _type(type: int | str | None, family: int, protocol: int) -> int:
    if type is None:
        if family in _TYPE_OF_FAMILY:
            return _TYPE_OF_FAMILY[family]
        return _TYPE_OF_PROTOCOL.get(protocol, socket.SOCK_RAW)
    number = type_number(type)
    if family in _ICMP and protocol in _TYPES_OF_PROTOCOL:
        rule, types = _TYPES_OF_PROTOCOL[protocol]
        if number not in types:
            raise SpecError(f"type {type!r} does not go with the protocol: {rule}")
    return number
