"""A piece of the machine of one's own: namespaces, cables and accounts that vanish with us.

The demo and the tests stand on it. System calls, cables and namespaces come from the package's kit
for tests; here is what takes a machine whose accounts can be changed.
"""

from aioprocket.testing.machine import kernel, links

__all__ = ("kernel", "links")
