"""Two hosts: this one, and one at the other end of a cable."""

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox import links
from sandbox.namespaces import Namespace

__all__ = ("FAR", "FAR6", "NEAR", "NEAR6", "NEAR_TOO", "joined")

NEAR, FAR = "10.5.0.1", "10.5.0.2"
NEAR_TOO = "10.5.0.7"
NEAR6, FAR6 = "fd05::1", "fd05::2"


@contextmanager
def joined(namespace: Namespace) -> Iterator[None]:
    """Our end of the cable is ``near``, the namespace's end ``far``; each with its addresses."""
    links.add_veth("near", "far", peer_namespace=namespace.fd)
    try:
        _set_up("near", f"{NEAR}/24", f"{NEAR_TOO}/24", f"{NEAR6}/64")
        with namespace.entered():
            _set_up("far", f"{FAR}/24", f"{FAR6}/64")
        yield
    finally:
        links.delete_link("near")


def _set_up(ifname: str, *addresses: str) -> None:
    links.set_up(ifname)
    for address in addresses:
        links.add_address(ifname, address)
