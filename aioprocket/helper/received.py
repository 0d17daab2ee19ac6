"""What came from a helper is what was asked for: read from the descriptor itself, before use."""

import os
import socket
import stat
from typing import Final

from .._system.descriptor import Descriptor
from ..errors import HelperProtocolError
from ..spec import DeviceSpec, PacketSpec, SocketSpec, Spec, TunSpec, describe

__all__ = ("check_received",)

# CPython's own class: the numbers as they are, without the search for their enum's member.
_Socket: Final = socket.SocketType


def check_received(descriptor: Descriptor, spec: Spec, by: str) -> None:
    """Check kind, family, type and protocol, and make sure that it does not block.

    Raises:
        HelperProtocolError: It is something else.
    """
    fd = descriptor.fileno()
    match spec:
        case SocketSpec():
            wanted = (int(spec.family), int(spec.type), spec.protocol)
        case PacketSpec():
            # Protocol 0 receives nothing until its receiver binds it.
            wanted = (int(socket.AF_PACKET), int(spec.type), 0)
        case TunSpec() | DeviceSpec():
            if not stat.S_ISCHR(os.fstat(fd).st_mode):
                raise HelperProtocolError(f"{by} sent what is no device for the {describe(spec)}")
            os.set_blocking(fd, False)
            return
    found = _socket_numbers(fd)
    if found != wanted:
        raise HelperProtocolError(
            f"{by} sent something else for the {describe(spec)}: "
            f"family, type and protocol are {found}, not {wanted}"
        )
    os.set_blocking(fd, False)


def _socket_numbers(fd: int) -> tuple[int, int, int] | None:
    try:
        sock = _Socket(fileno=fd)
    except OSError:
        return None  # ENOTSOCK
    numbers = (sock.family, sock.type, sock.proto)
    sock.detach()
    return numbers
