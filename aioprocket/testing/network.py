"""A network of one's own: two hosts joined by a cable, and nothing else on it."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from .. import arguments
from ..errors import NetworkUnavailableError
from ..helper import helper_path
from ..spec import IpInterface
from .machine.holder import INTERFACE

__all__ = ("Host", "Network", "network")

# A bare interpreter: no folder of the user's, no site-packages, none of this package's imports.
_BARE: Final = "import sys; sys.path.insert(0, sys.argv[1]); from machine import {module}; {call}"
_HOLD: Final = _BARE.format(
    module="holder", call="import json; holder.hold(*json.loads(sys.argv[2]))"
)
_ENTER: Final = _BARE.format(module="entering", call="entering.enter(*sys.argv[2:4], sys.argv[4:])")


@dataclass(frozen=True, slots=True)
class Host:
    """One end of the cable: a machine's network, whose root one is by its ``helper``.

    Attributes:
        interface: Its end of the cable, an Ethernet interface.
        hwaddr: Of the interface: six bytes.
        address: The first of its addresses.
        namespace: For ``namespace=``, where the caller may enter it: its owner by an installed
            helper, root without one.
        helper: For ``helper=`` of every door and tool, for ``--helper`` and for the environment
            variable AIOPROCKET_HELPER: a command line, which opens here whatever it is asked for.
            What tools ask about a network, its addresses and routes, they ask here as well.
    """

    interface: str
    hwaddr: bytes
    address: str
    namespace: str
    helper: str = field(repr=False)
    _holder: int = field(repr=False)

    def command(self, *words: str) -> list[str]:
        """The words of a command that runs a program on this host, as its root.

        What it does stays in this network; files, and other processes, are those of the caller.
        """
        return _command(self._holder, self.namespace, words)


class Network(NamedTuple):
    """Its two hosts."""

    near: Host
    far: Host


@contextmanager
def network(
    near: Iterable[str | IpInterface] = ("192.0.2.1/24",),
    far: Iterable[str | IpInterface] = ("192.0.2.2/24",),
) -> Iterator[Network]:
    """Two hosts joined by a cable, for who has no privilege, until the block is left.

    It is the kernel's, in namespaces that only a process of this function's is in: packets are real
    and nobody else sees them. Frames pass both ways when it is there, and unless an address is of
    IPv6 the kernel sends none on its own. Each ``open…(…, helper=near.helper)`` starts an
    interpreter and a helper; where there are many, ``async with Helper(near.helper) as helper``
    starts one. It blocks the loop while it is made, for a few tenths of a second.

    Args:
        near: The addresses of one host, with the length of their prefix; there may be none.
        far: Of the other.

    Raises:
        NetworkUnavailableError: This process may have no namespaces, as in many containers, or the
            kernel has no veth; ``hint`` says what would allow it.
        SpecError: An address is none.
        HelperNotFoundError: The package was not built.
    """
    addresses = [[str(each) for each in arguments.networks(host)] for host in (near, far)]
    helper = str(helper_path())
    with subprocess.Popen(
        _bare(_HOLD, json.dumps(addresses)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # Ctrl-C is not for it
    ) as holder:
        try:
            assert holder.stdout is not None
            facts = json.loads(holder.stdout.readline() or b'{"reason": "it ended", "errno": 1}')
            if "reason" in facts:
                raise NetworkUnavailableError(
                    f"a network of its own for process {os.getpid()}: {facts['reason']}",
                    errno=facts["errno"],
                    hint=facts.get("advice", ""),
                )
            places = (f"pid:{holder.pid}", facts["far"])
            yield Network(
                *(
                    _host(number, place, holder.pid, own, helper)
                    for number, (place, own) in enumerate(zip(places, addresses, strict=True), 1)
                )
            )
        finally:
            holder.kill()


def _host(number: int, namespace: str, holder: int, addresses: list[str], helper: str) -> Host:
    return Host(
        interface=INTERFACE,
        hwaddr=bytes([2, 0, 0, 0, 0, number]),
        address=addresses[0].partition("/")[0] if addresses else "",
        namespace=namespace,
        helper=shlex.join(_command(holder, namespace, (helper,))),
        _holder=holder,
    )


def _command(holder: int, namespace: str, words: Iterable[str]) -> list[str]:
    path = namespace if "/" in namespace else f"/proc/{holder}/ns/net"
    return _bare(_ENTER, str(holder), path, *words)


def _bare(program: str, *arguments: str) -> list[str]:
    # A helper starts without an environment, in which some interpreters do not find their library.
    libraries = os.environ.get("LD_LIBRARY_PATH")
    env = ["/usr/bin/env", f"LD_LIBRARY_PATH={libraries}"] if libraries else []
    return [*env, sys.executable, "-IS", "-c", program, str(Path(__file__).parent), *arguments]
