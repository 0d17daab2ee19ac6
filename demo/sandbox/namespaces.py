"""Namespaces, as the package's kit for tests makes them."""

from aioprocket.testing.machine.namespaces import (
    Forbidden,
    Namespace,
    Privilege,
    enter_private,
    new_network,
)

__all__ = ("Forbidden", "Namespace", "Privilege", "enter_private", "new_network")
