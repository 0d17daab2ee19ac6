"""From a door's arguments to the spec that they mean: names, defaults that follow one another."""

import ipaddress
import socket

from .bpf import Program, ProgramLike
from .errors import SpecError
from .spec import (
    IpAddress,
    IpInterface,
    PacketSpec,
    SocketSpec,
    family_number,
    protocol_number,
    type_number,
)

__all__ = ("any_socket", "icmp", "network", "program")

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
_FAMILY_OF_VERSION: dict[int | str, int] = {4: socket.AF_INET, 6: socket.AF_INET6}


def program(filter: ProgramLike | None) -> Program | None:
    """The checked program that ``filter=`` means.

    Raises:
        FilterError: It is none.
    """
    return None if filter is None else Program.of(filter)


def network(address: str | IpInterface) -> IpInterface:
    """An address with the length of its prefix: ``"10.9.0.1/24"``.

    Raises:
        SpecError: It is none.
    """
    try:
        return ipaddress.ip_interface(address)
    except ValueError:
        raise SpecError(
            f"address {address!r} is not an address with its prefix", hint="like '10.9.0.1/24'"
        ) from None


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
    filter: ProgramLike | None,
    lock_filter: bool,
    mark: int | None,
    priority: int | None,
    receive_buffer: int | None,
    send_buffer: int | None,
    reuse_port: bool,
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
            filter=program(filter),
            lock_filter=lock_filter,
            namespace=namespace,
        )
    if port or address is not None or backlog is not None or reuse_port:
        raise SpecError("port, ip, backlog and reuse_port mean nothing to family packet")
    return PacketSpec(
        type=type,
        protocol=protocol,
        interface=interface,
        mark=mark,
        priority=priority,
        receive_buffer=receive_buffer,
        send_buffer=send_buffer,
        filter=program(filter),
        lock_filter=lock_filter,
        namespace=namespace,
    )


def icmp(
    *,
    family: int | str,
    type: int | str,
    ip: str | IpAddress | None,
    interface: str | None,
    namespace: str | None,
    filter: ProgramLike | None,
    lock_filter: bool,
    mark: int | None,
    priority: int | None,
    receive_buffer: int | None,
    send_buffer: int | None,
) -> SocketSpec:
    """What the arguments of `aioprocket.open_icmp` mean, ``type`` being dgram or raw.

    Raises:
        SpecError: They contradict each other, or name what cannot exist.
        FilterError: The filter is no program.
    """
    number = _FAMILY_OF_VERSION.get(family) or family_number(family)
    if number not in _FAMILY_OF_VERSION.values():
        raise SpecError(f"family {family!r} has no ICMP: 4 or 6")
    address, interface = _address(ip, interface)
    return SocketSpec(
        family=number,
        type=type_number(type),
        protocol=socket.IPPROTO_ICMP if number == socket.AF_INET else socket.IPPROTO_ICMPV6,
        ip=address,
        interface=interface,
        mark=mark,
        priority=priority,
        receive_buffer=receive_buffer,
        send_buffer=send_buffer,
        filter=program(filter),
        lock_filter=lock_filter,
        namespace=namespace,
    )


def _address(
    ip: str | IpAddress | None, interface: str | None
) -> tuple[IpAddress | None, str | None]:
    """The address without its scope, and the interface, which is the scope if there is one."""
    if ip is None:
        return None, interface
    try:
        address = ipaddress.ip_address(ip)
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
        return family_number(family)
    if ip is not None:
        return _FAMILY_OF_VERSION[ip.version]
    if protocol_number(protocol, socket.AF_INET) == socket.IPPROTO_ICMPV6:
        return socket.AF_INET6
    return socket.AF_INET


def _type(type: int | str | None, family: int, protocol: int) -> int:
    if type is not None:
        return type_number(type)
    if family in _TYPE_OF_FAMILY:
        return _TYPE_OF_FAMILY[family]
    return _TYPE_OF_PROTOCOL.get(protocol, socket.SOCK_RAW)
