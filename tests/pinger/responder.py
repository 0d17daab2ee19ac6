"""The kit's hosts that answer as they are told to, in networks that the tests know."""

import aioprocket
from aioprocket.testing import Answer, Responder
from aioprocket.testing import EchoRequest as Request

__all__ = ("NETWORKS", "PATIENT", "Request", "Responder", "host", "reached", "running")

# Networks for documentation and benchmarks (RFC 5737, RFC 2544, RFC 3849): the device has the first
# address of each.
NETWORKS = {4: "198.18.0.1/16", 6: "2001:db8:77::1/64"}
PREFIX = {4: "198.18.0.", 6: "2001:db8:77::"}
PATIENT = 30.0  # seconds: a reply is on its way, however slow the machine


def host(version: int, number: int) -> str:
    """The address of one of the hosts."""
    return f"{PREFIX[version]}{number if version == 4 else f'{number:x}'}"


async def reached(
    pinger: aioprocket.Pinger, version: int, counter: str, count: int
) -> aioprocket.PingerStats:
    """What was counted, once that is there: the kernel may be slow to hand over what it has."""
    while getattr(pinger.stats(), counter) < count:
        await pinger.ping("127.0.0.1" if version == 4 else "::1", count=1, timeout=PATIENT)
    return pinger.stats()


def running(answer: Answer) -> Responder:
    """A network whose hosts answer by ``answer``, until the block is left."""
    return Responder(answer, addresses=NETWORKS.values())
