"""TCP, UDP and what stands where they do.

Source: RFC 9293, RFC 768, RFC 2784 (GRE), RFC 3376 (IGMP); options of TCP:
https://www.iana.org/assignments/tcp-parameters
"""

import struct
from typing import Final

from ..errors import WireError
from .addresses import ipv4
from .dhcp import parse_dhcp
from .dhcpv6 import parse_dhcpv6
from .dns import parse_dns
from .result import Dissection, Value

__all__ = ("parse_gre", "parse_igmp", "parse_ports", "parse_tcp", "parse_udp")

_TCP: Final = struct.Struct("!HHIIHHHH")
_FLAGS: Final = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE")
_FLAG_WORDS: Final = tuple(
    " ".join(name for bit, name in enumerate(_FLAGS) if flags >> bit & 1) or "no flags"
    for flags in range(1 << len(_FLAGS))
)
_ACK: Final = 0x10
_URG: Final = 0x20

_DNS_PORT: Final = 53
_NAMES: Final = {53: "DNS", 5353: "mDNS", 5355: "LLMNR"}
_DHCP: Final = frozenset({67, 68})
_DHCPV6: Final = frozenset({546, 547})
_PLAIN: Final = {123: "NTP", 1900: "SSDP", 514: "syslog", 69: "TFTP", 161: "SNMP", 162: "SNMP",
                 4789: "VXLAN", 51820: "WireGuard", 137: "NetBIOS", 138: "NetBIOS"}  # fmt: skip
_IGMP: Final = {0x11: "query", 0x12: "v1 report", 0x16: "v2 report", 0x17: "leave",
                0x22: "v3 report"}  # fmt: skip


def parse_tcp(into: Dissection, data: bytes, at: int, length: int) -> None:
    """Read a segment; ``length`` is its size by the IP header, more than a cut capture has."""
    source, destination, seq, ack, flags, window, _, urgent = _TCP.unpack_from(data, at)
    size = flags >> 12 << 2
    flags &= 0x1FF
    into.source_port, into.destination_port = source, destination
    payload = length - size
    if size < 20 or payload < 0:
        raise WireError("not a TCP header")
    fields: dict[str, Value] = {
        "source_port": source, "destination_port": destination, "flags": _FLAG_WORDS[flags],
        "seq": seq, "ack": ack, "window": window, "length": payload,
    }  # fmt: skip
    words = f"{_FLAG_WORDS[flags]} seq {seq}"
    if flags & _ACK:
        words += f" ack {ack}"
    words += f" win {window} len {payload}"
    if flags & _URG:
        fields["urgent"] = urgent
        words += f" urg {urgent}"
    into.info = words
    if size > 20:
        fields |= _tcp_options(data[at + 20 : at + size])
    into.add("tcp", **fields)
    if "mss" in fields:
        into.info += f" mss {fields['mss']}"
    at += size
    if payload > 2 and _DNS_PORT in (source, destination) and at + 2 < len(data):
        (message_len,) = struct.unpack_from("!H", data, at)
        # Else it is the middle of one, or a part: that is for who puts segments together.
        if message_len == payload - 2:
            parse_dns(into, data, at + 2, "DNS")


def _tcp_options(raw: bytes) -> dict[str, Value]:
    found: dict[str, Value] = {}
    at = 0
    while at + 1 < len(raw) and raw[at] != 0:
        kind, size = raw[at], raw[at + 1]
        if kind == 1:
            at += 1
            continue
        if size < 2 or at + size > len(raw):
            break
        if (kind, size) == (2, 4):
            found["mss"] = int.from_bytes(raw[at + 2 : at + 4])
        elif (kind, size) == (3, 3):
            found["window_scale"] = raw[at + 2]
        elif (kind, size) == (4, 2):
            found["sack_permitted"] = True
        elif (kind, size) == (8, 10):
            found["timestamp"], found["timestamp_echo"] = struct.unpack_from("!II", raw, at + 2)
        at += size
    return found


def parse_udp(into: Dissection, data: bytes, at: int, length: int) -> None:
    """Read a datagram, and what its ports say that it carries."""
    source, destination, size = struct.unpack_from("!HHH", data, at)
    into.source_port, into.destination_port = source, destination
    size = size or length  # zero: a jumbogram, or not yet cut into datagrams
    if size < 8:
        raise WireError("not a UDP header")
    into.add("udp", source_port=source, destination_port=destination, length=size - 8)
    into.info = f"len {size - 8}"
    if size == 8:
        return
    # The better known one first: both may be among them.
    for port in (min(source, destination), max(source, destination)):
        if port in _NAMES:
            parse_dns(into, data, at + 8, _NAMES[port])
        elif port in _DHCP:
            parse_dhcp(into, data, at + 8)
        elif port in _DHCPV6:
            parse_dhcpv6(into, data, at + 8)
        elif port in _PLAIN:
            into.protocol = _PLAIN[port]
        else:
            continue
        return


def parse_ports(into: Dissection, data: bytes, at: int, length: int) -> None:
    """Read the ports, which SCTP, DCCP and UDP-Lite have where TCP and UDP have theirs."""
    into.source_port, into.destination_port = struct.unpack_from("!HH", data, at)
    into.add(
        into.protocol.lower(),
        source_port=into.source_port,
        destination_port=into.destination_port,
    )
    into.info = f"{length} bytes"


def parse_igmp(into: Dissection, data: bytes, at: int, length: int) -> None:
    """Read who asks for members of a group, joins or leaves it."""
    kind, _, _, group = struct.unpack_from("!BBH4s", data, at)
    name = _IGMP.get(kind, f"type 0x{kind:02x}")
    groups: tuple[str, ...] = ()
    if kind == 0x22:
        groups = tuple(_report(data, at + 8, int.from_bytes(group[2:])))
    elif group != bytes(4):
        groups = (ipv4(group),)
    into.add("igmp", type=kind, groups=groups)
    into.info = " ".join((name, *groups)).strip()


def _report(data: bytes, at: int, count: int) -> list[str]:
    groups = []
    for _ in range(min(count, 8)):
        auxiliary, sources, group = struct.unpack_from("!xBH4s", data, at)
        groups.append(ipv4(group))
        at += 8 + sources * 4 + auxiliary * 4
    return groups


def parse_gre(into: Dissection, data: bytes, at: int, length: int) -> tuple[int, int]:
    """Read the header; the Ethernet protocol inside, and where it begins."""
    flags, following = struct.unpack_from("!HH", data, at)
    # Checksum, key and sequence number, of RFC 2784 and RFC 2890.
    optional = sum(4 for bit in (0x8000, 0x2000, 0x1000) if flags & bit)
    into.add("gre", flags=flags, protocol=following)
    into.info = f"protocol 0x{following:04x}, {length - 4 - optional} bytes"
    return (following if flags & 0x0007 == 0 else 0), at + 4 + optional
