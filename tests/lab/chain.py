"""A way of several hops: router namespaces in a row, joined by cables, IPv4 and IPv6."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import links
from sandbox.namespaces import Namespace, new_network
from sandbox.routes import add_route, forward

__all__ = ("Chain", "chain", "no_rate_limit", "router_address", "wait_for_answers")


def _near(number: int, version: int, block: int) -> str:
    """The address on cable ``number`` of whoever is nearer to us."""
    return f"10.{block}.{number}.1" if version == 4 else f"fd{block:02d}:{number:x}::1"


def router_address(ttl: int, version: int = 4, block: int = 77) -> str:
    """The address that router ``ttl`` answers from: that of its interface towards us."""
    return f"10.{block}.{ttl}.2" if version == 4 else f"fd{block:02d}:{ttl:x}::2"


@dataclass(frozen=True)
class Chain:
    """The namespaces in their order: the nearest router first, the destination last."""

    networks: tuple[Namespace, ...]
    block: int = 77

    def __len__(self) -> int:
        return len(self.networks)

    def address(self, ttl: int, version: int = 4) -> str:
        """Who answers at hop ``ttl``."""
        return router_address(ttl, version, self.block)

    def destination(self, version: int = 4) -> str:
        """The last one's address."""
        return router_address(len(self), version, self.block)

    def addresses(self, version: int = 4) -> list[str]:
        """All who answer, in their order."""
        return [router_address(ttl, version, self.block) for ttl in range(1, len(self) + 1)]


def no_rate_limit() -> None:
    """Let this namespace answer each packet that it cannot pass on."""
    # Else six errors to one host, and then one a second: icmp(7), icmp_ratelimit.
    _set("ipv4/icmp_ratemask", "0")
    _set("ipv6/icmp/ratelimit", "0")
    # And a thousand a second to all hosts, fifty at once: of each namespace since Linux 6.12.
    _set("ipv4/icmp_msgs_per_sec", "1000000")
    _set("ipv4/icmp_msgs_burst", "100000")


def _set(name: str, value: str) -> None:
    path = Path("/proc/sys/net", name)
    if path.exists():
        path.write_text(value)


@contextmanager
def chain(hops: int, *, block: int = 77) -> Iterator[Chain]:
    """A chain of ``hops`` namespaces behind an interface ``hop77`` of this one.

    Its addresses are those of 10.77.0.0/16 and fd77::/16; 77 is the ``block``.
    """
    ifname = f"hop{block}"
    with ExitStack() as stack:
        networks = tuple(stack.enter_context(new_network()) for _ in range(hops))
        links.add_veth(ifname, "near", peer_namespace=networks[0].fd)
        stack.callback(links.delete_link, ifname)
        _plug(ifname, 1, block, near=True)
        for index, network in enumerate(networks):
            with network.entered():
                _plug("near", index + 1, block, near=False)
                if index + 1 < hops:
                    links.add_veth("far", "near", peer_namespace=networks[index + 1].fd)
                    _plug("far", index + 2, block, near=True)
                forward()
                no_rate_limit()
        _route(networks, block)
        made = Chain(networks, block)
        for version in (4, 6):
            wait_for_answers(made.destination(version))
        yield made


def _plug(ifname: str, number: int, block: int, *, near: bool) -> None:
    # Without duplicate address detection an address can be used at once.
    _set(f"ipv6/conf/{ifname}/accept_dad", "0")
    _set(f"ipv6/conf/{ifname}/router_solicitations", "0")
    links.set_up(ifname)
    for version, prefix in ((4, 24), (6, 64)):
        place = _near if near else router_address
        address = place(number, version, block)
        links.add_address(ifname, f"{address}/{prefix}")


def _route(networks: tuple[Namespace, ...], block: int) -> None:
    for version in (4, 6):
        for number in range(2, len(networks) + 1):
            add_route(_cable(number, version, block), router_address(1, version, block))
        for index, network in enumerate(networks):
            with network.entered():
                # Router ``index + 1`` lies between the cables ``index + 1`` and ``index + 2``.
                for number in range(1, index + 1):
                    add_route(_cable(number, version, block), _near(index + 1, version, block))
                for number in range(index + 3, len(networks) + 1):
                    add_route(
                        _cable(number, version, block), router_address(index + 2, version, block)
                    )


def _cable(number: int, version: int, block: int) -> str:
    return f"10.{block}.{number}.0/24" if version == 4 else f"fd{block:02d}:{number:x}::/64"


def wait_for_answers(destination: str) -> None:
    """Wait until a datagram has got there, and the answer back: nobody listens at the port."""
    # An interface that has just come up drops what it should send until its queue is attached.
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        # In an address of two parts the interface behind a % would not count.
        *_, address = socket.getaddrinfo(destination, 9, family, socket.SOCK_DGRAM)[0]
        sock.connect(address)
        sock.settimeout(0.05)
        while True:
            try:
                sock.send(b"")
                sock.recv(1)
            except ConnectionRefusedError:
                return
            except OSError:  # not yet
                time.sleep(0.001)
