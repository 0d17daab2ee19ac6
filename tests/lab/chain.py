"""A way of several hops: router namespaces in a row, joined by cables, IPv4 and IPv6."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import links
from sandbox.namespaces import Namespace, new_network
from sandbox.routes import add_route, forward

__all__ = ("Chain", "chain", "no_rate_limit", "router_address")


def _near(number: int, version: int) -> str:
    """The address on cable ``number`` of whoever is nearer to us."""
    return f"10.77.{number}.1" if version == 4 else f"fd77:{number:x}::1"


def router_address(ttl: int, version: int = 4) -> str:
    """The address that router ``ttl`` answers from: that of its interface towards us."""
    return f"10.77.{ttl}.2" if version == 4 else f"fd77:{ttl:x}::2"


@dataclass(frozen=True)
class Chain:
    """The namespaces in their order: the nearest router first, the destination last."""

    networks: tuple[Namespace, ...]

    def __len__(self) -> int:
        return len(self.networks)

    def address(self, ttl: int, version: int = 4) -> str:
        """Who answers at hop ``ttl``."""
        return router_address(ttl, version)

    def destination(self, version: int = 4) -> str:
        """The last one's address."""
        return router_address(len(self), version)

    def addresses(self, version: int = 4) -> list[str]:
        """All who answer, in their order."""
        return [router_address(ttl, version) for ttl in range(1, len(self) + 1)]


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
def chain(hops: int, *, ifname: str = "hop") -> Iterator[Chain]:
    """A chain of ``hops`` namespaces behind interface ``hop0`` of this one."""
    with ExitStack() as stack:
        networks = tuple(stack.enter_context(new_network()) for _ in range(hops))
        links.add_veth(f"{ifname}0", "near", peer_namespace=networks[0].fd)
        stack.callback(links.delete_link, f"{ifname}0")
        _plug(f"{ifname}0", 1, near=True)
        for index, network in enumerate(networks):
            with network.entered():
                _plug("near", index + 1, near=False)
                if index + 1 < hops:
                    links.add_veth("far", "near", peer_namespace=networks[index + 1].fd)
                    _plug("far", index + 2, near=True)
                forward()
                no_rate_limit()
        _route(networks)
        yield Chain(networks)


def _plug(ifname: str, number: int, *, near: bool) -> None:
    # Without duplicate address detection an address can be used at once.
    _set(f"ipv6/conf/{ifname}/accept_dad", "0")
    _set(f"ipv6/conf/{ifname}/router_solicitations", "0")
    links.set_up(ifname)
    for version, prefix in ((4, 24), (6, 64)):
        address = _near(number, version) if near else router_address(number, version)
        links.add_address(ifname, f"{address}/{prefix}")


def _route(networks: tuple[Namespace, ...]) -> None:
    for version in (4, 6):
        for number in range(2, len(networks) + 1):
            add_route(_cable(number, version), router_address(1, version))
        for index, network in enumerate(networks):
            with network.entered():
                # Router ``index + 1`` lies between the cables ``index + 1`` and ``index + 2``.
                for number in range(1, index + 1):
                    add_route(_cable(number, version), _near(index + 1, version))
                for number in range(index + 3, len(networks) + 1):
                    add_route(_cable(number, version), router_address(index + 2, version))


def _cable(number: int, version: int) -> str:
    return f"10.77.{number}.0/24" if version == 4 else f"fd77:{number:x}::/64"
