"""For the tests of programs that use aioprocket: channels and networks without privilege or mocks.

`pair` joins two channels; `network` is two hosts of the kernel's, joined by a cable, for the
ordinary user; a `Responder` is a network whose hosts answer pings as badly as they are told to.
"""

from ..errors import NetworkUnavailableError
from .echo_request import EchoRequest
from .joined import pair
from .network import Host, Network, network
from .responder import Answer, Responder

__all__ = (
    "Answer",
    "EchoRequest",
    "Host",
    "Network",
    "NetworkUnavailableError",
    "Responder",
    "network",
    "pair",
)
