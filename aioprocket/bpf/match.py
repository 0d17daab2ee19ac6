"""What a packet can be, and the instructions that test for it, wherever it lies.

A match knows no socket: the program is made where it is known what that socket's filter sees, and
holds for tagged frames (one tag in the data, and those that the kernel has taken out), for IPv4
headers with options, and for fragments, of which only the first has ports. IPv6 extension headers
are not walked over, as in libpcap.
"""

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from .ancillary import Extension
from .codegen import Code, Label
from .ground import ETHERTYPE_IPV4, ETHERTYPE_IPV6, TAGS, Ground
from .opcodes import ABS, ALU, AND, IND, JMP, JSET, LD, LDX, MSH, B, H, K, W
from .program import Program

__all__ = (
    "TCP",
    "UDP",
    "VLAN_ID",
    "All",
    "Any",
    "Direction",
    "EtherType",
    "Host",
    "IcmpId",
    "IcmpType",
    "IpProtocol",
    "Match",
    "Network",
    "Not",
    "Port",
    "Vlan",
    "generate",
)

Direction: TypeAlias = Literal["src", "dst", "any"]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

TCP: Final = 6
UDP: Final = 17
_ICMP, _FRAGMENT, _ICMPV6 = 1, 44, 58
_OFFSET_OF_FRAGMENT: Final = 0x1FFF
VLAN_ID: Final = 0x0FFF
_IPV6_HEADER: Final = 40
_ECHOES: Final = {4: (0, 8), 6: (128, 129)}  # reply and request: RFC 792, RFC 4443


class Match(ABC):
    """What a packet can be; made by the functions of `aioprocket.bpf`, and taken by ``filter=``."""

    @abstractmethod
    def emit(self, code: Code, ground: Ground, matching: Label, otherwise: Label) -> None:
        """Instructions that end at one of two labels."""


def generate(match: Match, ground: Ground, snaplen: int) -> Program:
    """The program that keeps ``snaplen`` bytes of what matches."""
    code, accept, drop = Code(), Label(), Label()
    if ground.told_by == "field" and ground.told_at == 12:
        tagged, plain = Label(), Label()
        code.emit(LD | ABS | H, ground.told_at)
        for tag in TAGS:
            other = plain if tag == TAGS[-1] else Label()
            code.equal(tag, tagged, other)
            if other is not plain:
                code.place(other)
        code.place(tagged)
        inside = Ground(18, "field", 16, tag=14, live=ground.live)
        match.emit(code, inside, accept, drop)
        code.place(plain)
    match.emit(code, ground, accept, drop)
    return code.finish(accept, drop, snaplen)


@dataclass(frozen=True, slots=True)
class All(Match):
    """Every one of these."""

    parts: tuple[Match, ...]

    def emit(self, code: Code, ground: Ground, matching: Label, otherwise: Label) -> None:
        """As `Match.emit`."""
        for part in self.parts:
            following = Label()
            part.emit(code, ground, following, otherwise)
            code.place(following)
        code.jump(matching)


@dataclass(frozen=True, slots=True)
class Any(Match):
    """One of these at least."""

    parts: tuple[Match, ...]

    def emit(self, code: Code, ground: Ground, matching: Label, otherwise: Label) -> None:
        """As `Match.emit`."""
        for part in self.parts:
            following = Label()
            part.emit(code, ground, matching, following)
            code.place(following)
        code.jump(otherwise)


@dataclass(frozen=True, slots=True)
class Not(Match):
    """All but this."""

    part: Match

    def emit(self, code: Code, ground: Ground, matching: Label, otherwise: Label) -> None:
        """As `Match.emit`."""
        self.part.emit(code, ground, otherwise, matching)


@dataclass(frozen=True, slots=True)
class EtherType(Match):
    """A protocol of Ethernet."""

    number: int

    def emit(self, code: Code, ground: Ground, matching: Label, otherwise: Label) -> None:
        """As `Match.emit`."""
        ground.test_protocol(code, self.number, matching, otherwise)


@dataclass(frozen=True, slots=True)
class Vlan(Match):
    """An outer tag; ``number`` None: of any VLAN."""

    number: int | None

    def emit(self, code: Code, ground: Ground, matching: Label, otherwise: Label) -> None:
        """As `Match.emit`."""
        if ground.live:
            held, absent = Label(), Label()
            code.emit(LD | ABS | W, Extension.VLAN_TAG_PRESENT)
            code.equal(1, held, absent)
            code.place(held)
            self._test(code, Extension.VLAN_TAG, matching, otherwise)
            code.place(absent)
        if ground.tag is None:
            code.jump(otherwise)
        else:
            self._test(code, ground.tag, matching, otherwise)

    def _test(self, code: Code, place: int, matching: Label, otherwise: Label) -> None:
        if self.number is None:
            code.jump(matching)
            return
        code.emit(LD | ABS | H, place)
        code.emit(ALU | AND | K, VLAN_ID)
        code.equal(self.number, matching, otherwise)


@dataclass(frozen=True, slots=True)
class _Ip(Match):
    """What is different in IPv4 and IPv6: each version has its own test, or cannot match."""

    def emit(self, code: Code, ground: Ground, matching: Label, otherwise: Label) -> None:
        """As `Match.emit`."""
        four, not_four, six = Label(), Label(), Label()
        ground.test_protocol(code, ETHERTYPE_IPV4, four, not_four)
        code.place(four)
        self.emit4(code, ground.network, matching, otherwise)
        code.place(not_four)
        ground.test_protocol(code, ETHERTYPE_IPV6, six, otherwise)
        code.place(six)
        self.emit6(code, ground.network, matching, otherwise)

    def emit4(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv4, whose header is at ``network``."""
        code.jump(otherwise)

    def emit6(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv6."""
        code.jump(otherwise)


@dataclass(frozen=True, slots=True)
class IpProtocol(_Ip):
    """A protocol of IP, its fragments included."""

    number: int

    def emit4(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv4, whose header is at ``network``."""
        code.emit(LD | ABS | B, network + 9)
        code.equal(self.number, matching, otherwise)

    def emit6(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv6, whose header is at ``network``."""
        other, fragment = Label(), Label()
        code.emit(LD | ABS | B, network + 6)
        code.equal(self.number, matching, other)
        code.place(other)
        code.equal(_FRAGMENT, fragment, otherwise)
        code.place(fragment)
        code.emit(LD | ABS | B, network + _IPV6_HEADER)
        code.equal(self.number, matching, otherwise)


def _transport4(code: Code, network: int, protocol: int, otherwise: Label) -> None:
    """Go on with X at the length of the IPv4 header, in front of this protocol's own."""
    same, first = Label(), Label()
    code.emit(LD | ABS | B, network + 9)
    code.equal(protocol, same, otherwise)
    code.place(same)
    code.emit(LD | ABS | H, network + 6)
    code.test(JMP | JSET | K, _OFFSET_OF_FRAGMENT, otherwise, first)
    code.place(first)
    code.emit(LDX | MSH | B, network)


def _transport6(code: Code, network: int, protocol: int, otherwise: Label) -> None:
    same = Label()
    code.emit(LD | ABS | B, network + 6)
    code.equal(protocol, same, otherwise)
    code.place(same)


def _one_of(code: Code, values: Sequence[int], matching: Label, otherwise: Label) -> None:
    for value in values:
        other = Label()
        code.equal(value, matching, other)
        code.place(other)
    code.jump(otherwise)


@dataclass(frozen=True, slots=True)
class Port(_Ip):
    """A port of UDP or TCP."""

    protocol: int
    number: int
    direction: Direction

    def emit4(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv4, whose header is at ``network``."""
        _transport4(code, network, self.protocol, otherwise)
        self._test(code, LD | IND | H, network, matching, otherwise)

    def emit6(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv6, whose header is at ``network``."""
        _transport6(code, network, self.protocol, otherwise)
        self._test(code, LD | ABS | H, network + _IPV6_HEADER, matching, otherwise)

    def _test(
        self, code: Code, load: int, transport: int, matching: Label, otherwise: Label
    ) -> None:
        for place in {"src": (0,), "dst": (2,), "any": (0, 2)}[self.direction]:
            other = Label()
            code.emit(load, transport + place)
            code.equal(self.number, matching, other)
            code.place(other)
        code.jump(otherwise)


@dataclass(frozen=True, slots=True)
class Host(_Ip):
    """An address of IP, or one of a network."""

    network: Network
    direction: Direction

    def emit4(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv4, whose header is at ``network``."""
        self._test(4, code, {"src": network + 12, "dst": network + 16}, matching, otherwise)

    def emit6(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv6, whose header is at ``network``."""
        self._test(6, code, {"src": network + 8, "dst": network + 24}, matching, otherwise)

    def _test(
        self, version: int, code: Code, places: dict[str, int], matching: Label, otherwise: Label
    ) -> None:
        if version == self.network.version:
            for direction, place in places.items():
                if self.direction in (direction, "any"):
                    other = Label()
                    self._compare(code, place, other)
                    code.jump(matching)
                    code.place(other)
        code.jump(otherwise)

    def _compare(self, code: Code, place: int, otherwise: Label) -> None:
        address, mask = self.network.network_address.packed, self.network.netmask.packed
        for at in range(0, len(address), 4):
            wanted, bits = (int.from_bytes(part[at : at + 4]) for part in (address, mask))
            if bits:
                same = Label()
                code.emit(LD | ABS | W, place + at)
                code.emit(ALU | AND | K, bits)
                code.equal(wanted, same, otherwise)
                code.place(same)


@dataclass(frozen=True, slots=True)
class IcmpType(_Ip):
    """Types of ICMP, or of ICMPv6."""

    version: Literal[4, 6]
    numbers: tuple[int, ...]

    def emit4(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv4, whose header is at ``network``."""
        if self.version == 4:
            _transport4(code, network, _ICMP, otherwise)
            code.emit(LD | IND | B, network)
            _one_of(code, self.numbers, matching, otherwise)
        else:
            code.jump(otherwise)

    def emit6(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv6, whose header is at ``network``."""
        if self.version == 6:
            _transport6(code, network, _ICMPV6, otherwise)
            code.emit(LD | ABS | B, network + _IPV6_HEADER)
            _one_of(code, self.numbers, matching, otherwise)
        else:
            code.jump(otherwise)


@dataclass(frozen=True, slots=True)
class IcmpId(_Ip):
    """The identifier of an echo."""

    number: int

    def emit4(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv4, whose header is at ``network``."""
        echo = Label()
        _transport4(code, network, _ICMP, otherwise)
        code.emit(LD | IND | B, network)
        _one_of(code, _ECHOES[4], echo, otherwise)
        code.place(echo)
        code.emit(LD | IND | H, network + 4)
        code.equal(self.number, matching, otherwise)

    def emit6(self, code: Code, network: int, matching: Label, otherwise: Label) -> None:
        """Of a packet of IPv6, whose header is at ``network``."""
        echo = Label()
        _transport6(code, network, _ICMPV6, otherwise)
        code.emit(LD | ABS | B, network + _IPV6_HEADER)
        _one_of(code, _ECHOES[6], echo, otherwise)
        code.place(echo)
        code.emit(LD | ABS | H, network + _IPV6_HEADER + 4)
        code.equal(self.number, matching, otherwise)
