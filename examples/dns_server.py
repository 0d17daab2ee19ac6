"""Answer DNS for one zone, by UDP and TCP on port 53. `pip install dnspython`.

    dns_server.py example.org.zone --origin example.org --ip 192.0.2.1

The file is a master file of RFC 1035. Other zones are refused, and so is all that is no plain
question; there are no wildcards, no delegations and no DNSSEC. By UDP nobody knows who asks, and an
answer may be longer than its question: it is cut at 1232 bytes, and the rest is there by TCP.
"""

import argparse
import asyncio
import sys
from contextlib import closing, suppress
from functools import partial
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.zone

import aioprocket

PLAIN_UDP, MAX_UDP, MAX_TCP = 512, 1232, 65535  # bytes: without EDNS, with it, and by TCP
MAX_ALIASES = 8
IDLE = 10.0  # seconds that a connection may be silent

Message = dns.message.Message


def answer(zone: dns.zone.Zone, wire: bytes, *, by_udp: bool) -> bytes | None:
    """The message that answers one; None: it is none to be answered."""
    if len(wire) < 12 or wire[2] & 0x80:  # no header, or an answer itself
        return None
    try:
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query, our_payload=MAX_UDP)
    except dns.exception.DNSException:
        return wire[:2] + bytes([0x80, dns.rcode.FORMERR]) + bytes(8)
    response.set_rcode(look_up(zone, query, response))
    limit = MAX_TCP
    if by_udp:
        limit = PLAIN_UDP if query.edns < 0 else min(max(query.payload, PLAIN_UDP), MAX_UDP)
    return response.to_wire(max_size=limit, prefer_truncation=True)


def look_up(zone: dns.zone.Zone, query: Message, response: Message) -> dns.rcode.Rcode:
    """Put into the response what the zone has, and return how that went."""
    if query.edns > 0:
        return dns.rcode.BADVERS
    if query.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if len(query.question) != 1:
        return dns.rcode.FORMERR
    asked, origin = query.question[0], zone.origin
    name, kind, rdclass = asked.name, asked.rdtype, asked.rdclass
    assert origin is not None
    if rdclass != dns.rdataclass.IN or dns.rdatatype.is_metatype(kind):
        return dns.rcode.REFUSED
    if not name.is_subdomain(origin):
        return dns.rcode.REFUSED
    response.flags |= dns.flags.AA
    for _ in range(MAX_ALIASES):
        if found := zone.get_rrset(name, kind):
            response.answer.append(found)
            return dns.rcode.NOERROR
        if not (alias := zone.get_rrset(name, dns.rdatatype.CNAME)):
            break
        response.answer.append(alias)
        name = alias[0].target
        if not name.is_subdomain(origin):  # who asked goes on elsewhere
            return dns.rcode.NOERROR
    # The zone's SOA says for how long this may be remembered: RFC 2308.
    soa = zone.find_rrset(origin, dns.rdatatype.SOA)
    soa.ttl = min(soa.ttl, soa[0].minimum)
    response.authority.append(soa)
    exists = any(known.is_subdomain(name) for known in zone.nodes)
    return dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN


class Datagrams(aioprocket.RawProtocol):
    """The server by UDP: a transport is like asyncio's own."""

    def __init__(self, zone: dns.zone.Zone) -> None:
        self._zone = zone
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: aioprocket.RawTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if response := answer(self._zone, data, by_udp=True):
            self._transport.sendto(response, addr)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


async def serve_stream(
    zone: dns.zone.Zone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One client by TCP: each message has two bytes with its length before it."""
    goes = (ConnectionError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError)
    with closing(writer), suppress(*goes):
        while True:
            async with asyncio.timeout(IDLE):
                length = int.from_bytes(await reader.readexactly(2), "big")
                response = answer(zone, await reader.readexactly(length), by_udp=False)
                if response is None:
                    return
                writer.write(len(response).to_bytes(2, "big") + response)
                await writer.drain()


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("zone", help="a master file")
    options.add_argument("--origin", help="of its relative names; $ORIGIN in it does as well")
    options.add_argument("--ip", default="127.0.0.1", help="to listen at")
    options.add_argument("--port", type=int, default=53)
    options.add_argument("--helper")
    arguments = options.parse_args()
    try:
        zone = dns.zone.from_file(arguments.zone, arguments.origin, relativize=False)
    except (OSError, dns.exception.DNSException) as error:
        sys.exit(f"{arguments.zone}: {error or type(error).__name__}")

    where: Any = {"port": arguments.port, "ip": arguments.ip, "helper": arguments.helper}
    stream = await aioprocket.open(protocol="tcp", backlog=64, **where)
    server = await asyncio.start_server(partial(serve_stream, zone), sock=stream.to_socket())
    async with server:
        door = aioprocket.open(protocol="udp", **where)
        transport, protocol = await aioprocket.create_endpoint(partial(Datagrams, zone), door)
        print(f"{zone.origin} at {arguments.ip} port {arguments.port}", flush=True)
        try:
            if failure := await protocol.lost:
                raise failure
        finally:
            transport.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
