"""Probes as bytes, all of one flow: routers that share load by flows send each the same way.

What a router may look at stays the same from probe to probe: the ports of UDP and TCP, type, code
and checksum of ICMP. What tells probes apart is behind it, but within the 8 bytes that every router
quotes where the protocol allows it.

Source: Augustin et al., "Avoiding traceroute anomalies with Paris traceroute", IMC 2006.
"""

import struct
from typing import Final, Literal

from ..errors import WireError
from ..spec import IpAddress
from ..wire import icmp, tcp, udp
from ..wire.icmp import Echo
from ..wire.tcp import TcpFlag, TcpHeader
from ..wire.udp import UdpHeader

__all__ = ("LEAST_SIZE", "EchoFlow", "Method", "SynFlow", "UdpFlow")

Method = Literal["icmp", "udp", "tcp"]

_IP_SIZE: Final = {4: 20, 6: 40}
_COOKIE: Final = struct.Struct("!6sH")
_COOKIE_SIZE: Final = 6
_ECHO: Final = 8 + _COOKIE.size
_SYN: Final = 24  # with the option for the segment size
_MSS: Final = struct.pack("!BBH", 2, 4, 1460)  # RFC 9293, section 3.7.1

# The smallest packet of a method, with an IP header of version 4.
LEAST_SIZE: Final[dict[Method, int]] = {"icmp": 20 + _ECHO, "udp": 20 + 8 + _COOKIE.size, "tcp": 44}


def _room(version: int, size: int, headers: int) -> int:
    """What is left of a packet of ``size`` bytes behind its headers."""
    return max(0, size - _IP_SIZE[version] - headers)


class EchoFlow:
    """Echo requests of one identifier, told apart by their sequence, of one checksum."""

    def __init__(self, version: Literal[4, 6], size: int, identifier: int, cookie: bytes) -> None:
        self.version = version
        self.protocol = icmp.PROTOCOLS[version]
        self._identifier = identifier
        self._cookie = cookie[:_COOKIE_SIZE]
        self.resize(size)

    def resize(self, size: int) -> None:
        """Make the packets from here on ``size`` bytes long, IP header included."""
        self._padding = bytes(_room(self.version, size, _ECHO))

    def build(self, number: int) -> bytes:
        """The message of probe ``number``; on a socket of IPv6 the kernel makes its checksum."""
        # The sequence and what balances it add up to "minus zero", so the sum stays what it is.
        payload = _COOKIE.pack(self._cookie, 0xFFFF - number) + self._padding
        echo = Echo(identifier=self._identifier, sequence=number, version=self.version)
        return echo.emit(payload)

    def number_of_quoted(self, payload: bytes) -> int | None:
        """Which probe an error quotes, from its ICMP header on; None: none of ours."""
        echo, data = self._parse(payload)
        if echo is None or echo.reply or not self._cookie.startswith(data[:_COOKIE_SIZE]):
            return None
        return echo.sequence

    def number_of_reply(self, message: bytes) -> int | None:
        """Which probe a reply answers; None: none of ours."""
        echo, data = self._parse(message)
        if echo is None or not echo.reply or data[:_COOKIE_SIZE] != self._cookie:
            return None
        return echo.sequence

    def _parse(self, message: bytes) -> tuple[Echo | None, bytes]:
        try:
            echo, data = Echo.parse(message, self.version)
        except WireError:
            return None, b""
        return (echo if echo.identifier == self._identifier else None), data


class UdpFlow:
    """Datagrams between two ports, told apart by their payload, and its checksum."""

    def __init__(
        self, version: Literal[4, 6], size: int, ports: tuple[int, int], cookie: bytes,
        source: IpAddress, destination: IpAddress,
    ) -> None:  # fmt: skip
        self.version = version
        self.protocol = udp.PROTOCOL
        self._header = UdpHeader(source_port=ports[0], destination_port=ports[1])
        self._cookie = cookie[:_COOKIE_SIZE]
        self._addresses = {"source": source, "destination": destination}
        self._by_checksum: dict[bytes, int] = {}
        self.resize(size)

    def resize(self, size: int) -> None:
        """Make the packets from here on ``size`` bytes long, IP header included."""
        self._padding = bytes(_room(self.version, size, 8 + _COOKIE.size))

    def build(self, number: int) -> bytes:
        """The payload of probe ``number``; the header is the kernel's."""
        payload = _COOKIE.pack(self._cookie, number) + self._padding
        datagram = self._header.emit(payload, **self._addresses)
        self._by_checksum[datagram[6:8]] = number
        return payload

    def number_of_payload(self, payload: bytes) -> int | None:
        """Which probe has this payload, or the start of it; None: it does not say, or not ours."""
        if len(payload) < _COOKIE.size:
            return None
        cookie, number = _COOKIE.unpack_from(payload)
        return int(number) if cookie == self._cookie else None

    def is_nameless(self, payload: bytes) -> bool:
        """Whether a quotation ends before it says which probe it is of, or is padded from there."""
        return len(payload) < _COOKIE.size or not any(payload[: _COOKIE.size])

    def number_of_quoted(self, datagram: bytes) -> int | None:
        """Which probe an error quotes, from its UDP header on; None: none of ours."""
        try:
            header, payload = UdpHeader.parse(datagram)
        except WireError:
            return None
        if header != self._header:
            return None
        if self.is_nameless(payload):
            return self._by_checksum.get(datagram[6:8])
        return self.number_of_payload(payload)


class SynFlow:
    """SYN segments between two ports, told apart by their sequence numbers."""

    def __init__(
        self, version: Literal[4, 6], ports: tuple[int, int], cookie: bytes,
        source: IpAddress, destination: IpAddress,
    ) -> None:  # fmt: skip
        self.version = version
        self.protocol = tcp.PROTOCOL
        self._ports = ports
        self._base = int.from_bytes(cookie[:4], "big")
        self._source, self._destination = source, destination

    def resize(self, size: int) -> None:
        """Nothing: a SYN has the size that it has."""

    def build(self, number: int) -> bytes:
        """The segment of probe ``number``, with its checksum."""
        segment = TcpHeader(
            source_port=self._ports[0],
            destination_port=self._ports[1],
            sequence=self._sequence(number),
            flags=TcpFlag.SYN,
            window=64240,
            options=_MSS,
        )
        return segment.emit(source=self._source, destination=self._destination)

    def number_of_quoted(self, segment: bytes) -> int | None:
        """Which probe an error quotes, of whose header 8 bytes are enough; None: none of ours."""
        if len(segment) < 8:
            return None
        source, destination, sequence = struct.unpack_from("!HHI", segment)
        return self._number(sequence) if (source, destination) == self._ports else None

    def number_of_reply(self, segment: bytes) -> int | None:
        """Which probe a SYN and ACK, or a reset, answers; None: none of ours."""
        try:
            header, _ = TcpHeader.parse(segment)
        except WireError:
            return None
        flags = TcpFlag(header.flags)
        opened = TcpFlag.SYN | TcpFlag.ACK in flags or TcpFlag.RST in flags
        if not opened or (header.destination_port, header.source_port) != self._ports:
            return None
        return self._number((header.acknowledgement - 1) & 0xFFFFFFFF)

    def _sequence(self, number: int) -> int:
        # The upper half is the secret, whatever the number adds.
        return self._base & 0xFFFF0000 | (self._base + number) & 0xFFFF

    def _number(self, sequence: int) -> int | None:
        if sequence >> 16 != self._base >> 16:
            return None
        return (sequence - self._base) & 0xFFFF
