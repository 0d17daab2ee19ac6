"""Programs of tcpdump's, and frames that it captured.

``programs.txt``: ``== LINKTYPE EXPRESSION``, then what ``tcpdump -d -r FILE EXPRESSION`` printed
for a file of that link type; LINKTYPE ``live``: what ``tcpdump -d -i veth EXPRESSION`` did. tcpdump
4.99.3, libpcap 1.10.3.

``frames.pcap``: what ``tcpdump -s 200 -i veth`` saw of ping (also with -R and -s 3000), of TCP,
DNS, DHCP's ports, fragments, SCTP and multicast, over IPv4 and IPv6, between two namespaces.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Compiled:
    """What tcpdump made of an expression, as it printed it."""

    linktype: str
    expression: str
    text: str


@dataclass(frozen=True)
class Frame:
    """What was captured of a frame, and how long it was."""

    data: bytes
    wire_len: int


def programs() -> list[Compiled]:
    """All of them."""
    sections = re.split(r"^== ", (_HERE / "programs.txt").read_text(), flags=re.MULTILINE)[1:]
    found = []
    for section in sections:
        head, _, body = section.partition("\n")
        linktype, _, expression = head.partition(" ")
        # tcpdump pads the name of an instruction, also where nothing follows it.
        text = "\n".join(line.rstrip() for line in body.splitlines())
        found.append(Compiled(linktype, expression, text))
    return found


def frames() -> list[Frame]:
    """All of them, as they were captured: untagged Ethernet."""
    data = (_HERE / "frames.pcap").read_bytes()
    at, found = 24, []
    while at < len(data):
        _, _, held, wire_len = struct.unpack_from("<IIII", data, at)
        found.append(Frame(data[at + 16 : at + 16 + held], wire_len))
        at += 16 + held
    return found


def tagged(frame: Frame, number: int, tpid: int = 0x8100) -> Frame:
    """The frame with the tag of a VLAN in its data, as a file has it."""
    tag = struct.pack("!HH", tpid, 0x6000 | number)
    return Frame(frame.data[:12] + tag + frame.data[12:], frame.wire_len + 4)
