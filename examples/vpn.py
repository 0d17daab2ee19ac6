"""A VPN of two hosts: packets of a TUN device, encrypted, by UDP. `pip install cryptography`.

    vpn.py KEY --new-key                                    once; the other host gets a copy of it
    vpn.py KEY --address 198.18.0.1/30                      here
    vpn.py KEY --address 198.18.0.2/30 --peer 192.0.2.1     there

Every start draws a salt. Two that have greeted each other encrypt by ChaCha20-Poly1305, with a key
for each direction that HKDF makes of the shared key and both salts. So no number is used twice
under one key, and what was recorded in an earlier run of either side is worth nothing in this one.
What is genuine and was not there before is let in, and shows where the peer is now.

What it does not do: there is no forward secrecy (whoever gets the shared key, ever, reads all that
was recorded); sizes, times and addresses can be seen; the key is that of two hosts, and no third.
"""

import argparse
import asyncio
import ipaddress
import itertools
import os
import secrets
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import aioprocket
from aioprocket import Batch, Channel, Packet, Sent

# A datagram begins with its nonce: its kind, and a number. Behind it comes what is encrypted: a
# packet; or, after the salt of who greets, the salt of who is greeted, as far as it is known.
NONCE = struct.Struct("!IQ")
GREETING, PACKET = 1, 2
SALT, TAG = 32, 16
GREETING_HEAD = struct.Struct(f"{NONCE.size}s{SALT}s")
GREET_EVERY = 2.0  # seconds: finds a peer that was started anew, and keeps a NAT open
# By version of IP: bytes around a packet, and the option by which the kernel never fragments them,
# IP_MTU_DISCOVER of linux/in.h and IPV6_DONTFRAG of linux/in6.h.
AROUND = {4: 20 + 8 + NONCE.size + TAG, 6: 40 + 8 + NONCE.size + TAG}
WHOLE = {4: (socket.IPPROTO_IP, 10, 2), 6: (socket.IPPROTO_IPV6, 62, 1)}

Address = tuple[Any, ...]
Turn = Callable[[Batch], list[Any]]


class Window:
    """Which numbers were there already. A packet may be overtaken by a thousand others."""

    SIZE = 1024

    def __init__(self) -> None:
        self.newest, self._seen = -1, 0

    def admit(self, number: int) -> bool:
        """Whether it is new, as it is once. Ask about nothing that is not genuine."""
        ahead = max(0, number - self.newest)
        self.newest += ahead
        self._seen = (self._seen << min(ahead, self.SIZE)) & ((1 << self.SIZE) - 1)
        late = self.newest - number
        new = late < self.SIZE and not self._seen >> late & 1
        self._seen |= new << late
        return new


class Tunnel:
    """What goes on between the device and the peer, wherever that is."""

    def __init__(self, key: bytes, udp: Channel, peer: Address | None) -> None:
        self._key, self._udp = key, udp
        self._home = self._peer = peer  # where it should be, and where it is
        self._salt, self._peer_salt = secrets.token_bytes(SALT), bytes(SALT)
        self._not_the_peers = {self._salt}  # or no more
        self._greeter = self._cipher(b"greeting", self._salt)
        self._sealer: ChaCha20Poly1305 | None = None
        self._opener: ChaCha20Poly1305 | None = None
        self._greetings, self._packets = itertools.count(), itertools.count()
        self._greeted, self._arrived = Window(), Window()
        self._told: set[str] = set()
        self.counts = Counter[str]()

    def _cipher(self, purpose: bytes, *salts: bytes) -> ChaCha20Poly1305:
        kdf = HKDF(SHA256(), 32, salt=b"".join(salts), info=b"aioprocket vpn 1, " + purpose)
        return ChaCha20Poly1305(kdf.derive(self._key))

    def seal(self, packets: Batch) -> list[tuple[bytes, Address | None]]:
        """Into datagrams; none before there is a peer."""
        if self._sealer is None:
            self.counts["unsent"] += len(packets)
            return []
        datagrams = []
        for packet, number in zip(packets, self._packets, strict=False):
            nonce = NONCE.pack(PACKET, number)
            datagrams.append((nonce + self._sealer.encrypt(nonce, packet.data, None), self._peer))
        return datagrams

    def open(self, datagrams: Batch) -> list[bytes]:
        """The packets in those that are the peer's."""
        packets, newest = [], None
        for datagram in datagrams:
            try:
                kind, number = NONCE.unpack_from(datagram)
                if kind == GREETING:
                    self._open_greeting(datagram, number)
                    continue
                if self._opener is None:
                    raise InvalidTag  # as far as we can tell
                packet = self._opener.decrypt(datagram[: NONCE.size], datagram[NONCE.size :], None)
            except (InvalidTag, struct.error):
                self.counts["forged"] += 1
                continue
            if self._arrived.admit(number):
                packets.append(packet)
                newest = datagram if number == self._arrived.newest else newest
            else:
                self.counts["replayed"] += 1
        if newest is not None:
            self._peer = newest.addr
        return packets

    def _open_greeting(self, datagram: Packet, number: int) -> None:
        nonce, salt = GREETING_HEAD.unpack_from(datagram)
        sealed = datagram[GREETING_HEAD.size :]
        try:
            ours = self._cipher(b"greeting", salt).decrypt(nonce, sealed, None)
        except InvalidTag:
            self._tell(f"{datagram.addr[0]} greets by another key, or somebody forges greetings")
            raise
        if salt == self._peer_salt:
            if ours != self._salt or not self._greeted.admit(number):
                self.counts["replayed"] += 1
            elif number == self._greeted.newest:
                self._peer = datagram.addr
        elif salt in self._not_the_peers:
            self.counts["replayed"] += 1
        elif ours != self._salt:
            self._greet(datagram.addr, salt)  # it may be recorded; who is there can answer this
        else:
            self._not_the_peers.add(self._peer_salt)
            self._peer, self._peer_salt = datagram.addr, salt
            self._sealer = self._cipher(b"packet", self._salt, salt)
            self._opener = self._cipher(b"packet", salt, self._salt)
            self._greeted, self._arrived = Window(), Window()
            self._greeted.admit(number)
            self._greet(datagram.addr, salt)
            print("connected with", datagram.addr[0], "port", datagram.addr[1], flush=True)

    def _greet(self, address: Address, salt: bytes) -> None:
        nonce = NONCE.pack(GREETING, next(self._greetings))
        datagram = nonce + self._salt + self._greeter.encrypt(nonce, salt, None)
        with suppress(OSError):  # there will be another
            self._udp.send_nowait(datagram, address)

    async def keep_greeting(self) -> None:
        """For ever."""
        for times in itertools.count():
            for address in {self._peer, self._home}:
                if address is not None:
                    self._greet(address, self._peer_salt)
            if times == 3 and self._home and not self._sealer:
                self._tell("no answer so far: is the peer there, and has it the same key?")
            await asyncio.sleep(GREET_EVERY)

    async def carry(self, source: Channel, turn: Turn, target: Channel, lost: str) -> None:
        """From one channel to the other; what it does not take is lost, as in any network."""
        async for batch in source.batches():
            items = turn(batch)
            while items:
                try:
                    sent = await target.send_batch(items)
                except OSError as error:  # of the first
                    sent = Sent(0, error)
                if sent.error is not None:
                    self._tell(str(sent.error))
                    self.counts[lost] += 1
                items = items[sent + 1 :]

    def _tell(self, text: str) -> None:
        if text not in self._told and len(self._told) < 100:  # nobody is to fill a log
            self._told.add(text)
            print(text, flush=True)


def load_key(path: Path) -> bytes:
    if not path.exists():
        sys.exit(f"there is no {path}: --new-key makes it")
    with path.open("rb") as file:
        status, text = os.fstat(file.fileno()), file.read(100)
    if status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid()):
        sys.exit(f"{path} must be yours alone: chmod 600 {path}, if nobody can have read it")
    with suppress(ValueError):
        if len(key := bytes.fromhex(text.decode())) == 32:
            return key
    sys.exit(f"{path} holds no key, which is 64 hexadecimal digits")


async def main() -> None:
    options = argparse.ArgumentParser(description="A VPN of two hosts.")
    options.add_argument("key", type=Path, help="a file that holds the shared key")
    options.add_argument("--new-key", action="store_true", help="make it, and do no more")
    options.add_argument("--address", default="198.18.0.1/30", help="of the device, in the tunnel")
    options.add_argument("--peer", type=ipaddress.ip_address, help="one of the two has to know")
    options.add_argument("--port", type=int, default=1021, help="UDP, of both")
    options.add_argument("--ip", type=ipaddress.ip_address, help="to listen at; 0.0.0.0")
    options.add_argument("--link-mtu", type=int, default=1500, help="the smallest on the way")
    options.add_argument("--helper")
    arguments = options.parse_args()
    if arguments.new_key:
        arguments.key.touch(mode=0o600, exist_ok=False)
        arguments.key.write_text(secrets.token_hex(32))
        return
    key, port, peer = load_key(arguments.key), arguments.port, arguments.peer
    ip = arguments.ip or ipaddress.ip_address("::" if peer and peer.version == 6 else "0.0.0.0")
    home = socket.getaddrinfo(str(peer), port, type=socket.SOCK_DGRAM)[0][4] if peer else None
    mtu = arguments.link_mtu - AROUND[ip.version]
    # With offload datagrams pass the kernel several at once: some 15 % more in all.
    udp_door = aioprocket.open(
        port, protocol="udp", ip=ip, offload=True, receive_buffer=4 << 20, helper=arguments.helper
    )
    tun_door = aioprocket.open_tun(addresses=[arguments.address], mtu=mtu, helper=arguments.helper)
    async with udp_door as udp, tun_door as tun:
        udp.get_extra_info("socket").setsockopt(*WHOLE[ip.version])
        tunnel = Tunnel(key, udp, home)
        print(f"{tun.name}: {arguments.address}, MTU {mtu}, by UDP port {port}", flush=True)
        try:
            await asyncio.gather(
                tunnel.keep_greeting(),
                tunnel.carry(tun, tunnel.seal, udp, "unsent"),
                tunnel.carry(udp, tunnel.open, tun, "undelivered"),
            )
        finally:
            counts, inside, outside = tunnel.counts, tun.stats(), udp.stats()
            print(
                f"out: {inside.rx_packets} packets, {inside.rx_bytes} bytes;"
                f" dropped: {counts['unsent']}, by the kernel {inside.rx_dropped}\n"
                f"in: {inside.tx_packets} packets, {inside.tx_bytes} bytes;"
                f" dropped: {counts['undelivered']}, by the kernel {outside.rx_dropped},"
                f" not genuine {counts['forged']}, replayed {counts['replayed']}"
            )


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except aioprocket.AioprocketError as error:
        sys.exit(f"{error}\n{error.hint}")
    except OSError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
