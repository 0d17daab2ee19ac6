"""What a packet begins with: Ethernet, Linux cooked captures, loopback headers, or IP itself.

Source: https://www.tcpdump.org/linktypes.html; linux/if_ether.h
"""

import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final

from .arp import parse_arp
from .network import parse_ip, parse_ipv4, parse_ipv6
from .result import Dissection

__all__ = ("ETHERNET", "LINKTYPES", "Linktype", "parse_link")


class Linktype(IntEnum):
    """LINKTYPE_… of capture files, those that are understood here."""

    NULL = 0
    ETHERNET = 1
    RAW_BSD = 12  # DLT_RAW, which some wrote where LINKTYPE_RAW belongs
    RAW = 101
    LOOP = 108
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


ETHERNET: Final = Linktype.ETHERNET
LINKTYPES: Final = frozenset(int(each) for each in Linktype)

_VLAN_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_AF_INET: Final = 2
_AF_INET6: Final = frozenset({10, 24, 28, 30})  # Linux; NetBSD and OpenBSD; FreeBSD; macOS
_ARPHRD_WITH_PROTOCOL: Final = frozenset({1, 6, 512, 768, 769, 772, 776, 778, 823, 65534})
_ETHERTYPES: Final = {
    0x0842: "Wake-on-LAN", 0x6003: "DECnet", 0x8035: "RARP", 0x8847: "MPLS", 0x8848: "MPLS",
    0x8863: "PPPoE discovery", 0x8864: "PPPoE", 0x888E: "EAPOL", 0x8892: "PROFINET",
    0x88A4: "EtherCAT", 0x88CC: "LLDP", 0x88E1: "HomePlug", 0x88E5: "MACsec", 0x88F7: "PTP",
    0x8902: "CFM", 0x9000: "loopback test",
}  # fmt: skip
_LLC: Final = {0x42: "STP", 0xAA: "SNAP", 0xE0: "IPX", 0xF0: "NetBIOS", 0xFE: "ISO"}
_SLL_TYPES: Final = ("in", "broadcast", "multicast", "otherhost", "out")


def parse_link(into: Dissection, data: bytes, linktype: int) -> None:
    """Read the link header, and all that follows it."""
    parser = _PARSERS.get(linktype)
    if parser is not None:
        parser(into, data)
    else:
        into.info = f"{len(data)} bytes"


def _ethernet(into: Dissection, data: bytes) -> None:
    into.protocol = "Ethernet"
    destination, source, ethertype = struct.unpack_from("!6s6sH", data)
    into.between(source.hex(":"), destination.hex(":"))
    into.add("ethernet", source=into.source, destination=into.destination, ethertype=ethertype)
    _payload(into, data, 14, ethertype)


def _payload(into: Dissection, data: bytes, at: int, ethertype: int) -> None:
    while ethertype in _VLAN_TAGS:
        into.protocol = "VLAN"
        tci, inner = struct.unpack_from("!HH", data, at)
        into.vlans += (tci & 0xFFF,)
        into.add("vlan", id=tci & 0xFFF, priority=tci >> 13, tpid=ethertype)
        ethertype, at = inner, at + 4
    if ethertype == 0x0800:
        parse_ipv4(into, data, at)
    elif ethertype == 0x86DD:
        parse_ipv6(into, data, at)
    elif ethertype == 0x0806:
        parse_arp(into, data, at)
    elif ethertype < 0x0600:
        _llc(into, data, at)
    else:
        into.protocol = _ETHERTYPES.get(ethertype, f"ethertype 0x{ethertype:04x}")
        into.info = f"{len(data) - at} bytes"


def _llc(into: Dissection, data: bytes, at: int) -> None:
    into.protocol = "LLC"
    destination, source, control = struct.unpack_from("!BBB", data, at)
    into.add("llc", destination=destination, source=source, control=control)
    if destination == 0xAA and source == 0xAA:
        organization, ethertype = struct.unpack_from("!3sH", data, at + 3)
        into.add("snap", organization=organization.hex(), ethertype=ethertype)
        if organization == b"\0\0\0":
            return _payload(into, data, at + 8, max(ethertype, 0x0600))
    into.protocol = _LLC.get(destination, f"LLC 0x{destination:02x}")
    into.info = f"{len(data) - at} bytes"
    return None


def _raw_ip(into: Dissection, data: bytes) -> None:
    into.protocol = "IP"
    parse_ip(into, data, 0)


def _null(into: Dissection, data: bytes) -> None:
    into.protocol = "loopback"
    # In the byte order of who captured: families are small, so one of the two halves is zero.
    (family,) = struct.unpack_from("<I" if data[:2] != b"\0\0" else ">I", data)
    _by_family(into, data, family)


def _loop(into: Dissection, data: bytes) -> None:
    into.protocol = "loopback"
    _by_family(into, data, struct.unpack_from("!I", data)[0])


def _by_family(into: Dissection, data: bytes, family: int) -> None:
    into.add("loopback", family=family)
    if family == _AF_INET:
        parse_ipv4(into, data, 4)
    elif family in _AF_INET6:
        parse_ipv6(into, data, 4)
    else:
        into.info = f"family {family}, {len(data) - 4} bytes"


def _sll(into: Dissection, data: bytes) -> None:
    into.protocol = "cooked"
    kind, hardware, length, address, protocol = struct.unpack_from("!HHH8sH", data)
    _cooked(into, data, 16, kind, hardware, address[:length], protocol)


def _sll2(into: Dissection, data: bytes) -> None:
    into.protocol = "cooked"
    protocol, _, ifindex, hardware, kind, length, address = struct.unpack_from("!HHIHBB8s", data)
    _cooked(into, data, 20, kind, hardware, address[:length], protocol, ifindex)


def _cooked(
    into: Dissection,
    data: bytes,
    at: int,
    kind: int,
    hardware: int,
    address: bytes,
    protocol: int,
    ifindex: int = 0,
) -> None:
    into.between(address.hex(":"), "")
    direction = _SLL_TYPES[kind] if kind < len(_SLL_TYPES) else str(kind)
    into.add("cooked", direction=direction, source=into.source, hardware_type=hardware,
             protocol=protocol, ifindex=ifindex)  # fmt: skip
    if hardware in _ARPHRD_WITH_PROTOCOL:
        _payload(into, data, at, protocol if protocol >= 0x0600 else 0)
    else:
        into.info = f"protocol 0x{protocol:04x}, {len(data) - at} bytes"


_PARSERS: Final[Mapping[int, Callable[[Dissection, bytes], None]]] = {
    Linktype.NULL: _null,
    Linktype.ETHERNET: _ethernet,
    Linktype.RAW_BSD: _raw_ip,
    Linktype.RAW: _raw_ip,
    Linktype.LOOP: _loop,
    Linktype.LINUX_SLL: _sll,
    Linktype.IPV4: _raw_ip,
    Linktype.IPV6: _raw_ip,
    Linktype.LINUX_SLL2: _sll2,
}
