"""What came from a helper is what was asked for: read from the descriptor itself, before use."""

import os
import socket
import stat
from typing import Final

from .._system import options
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
    try:
        sock = _Socket(fileno=fd)
    except OSError as error:
        raise HelperProtocolError(
            f"{by} sent what is no socket for the {describe(spec)}"
        ) from error
    try:
        found = (sock.family, sock.type, sock.proto)
        if found != wanted:
            raise HelperProtocolError(
                f"{by} sent something else for the {describe(spec)}: "
                f"family, type and protocol are {found}, not {wanted}"
            )
        missing = _missing_restriction(sock, spec)
        if missing:
            raise HelperProtocolError(f"{by} sent the {describe(spec)} without its {missing}")
    finally:
        sock.detach()
    os.set_blocking(fd, False)


def _missing_restriction(sock: socket.SocketType, spec: SocketSpec | PacketSpec) -> str:
    """What was asked for, and is not there: an unrestricted socket must not pass for another."""
    if spec.lock_filter and not options.filter_is_locked(sock):
        return "lock"
    if isinstance(spec, SocketSpec):
        if spec.interface is not None and options.bound_ifindex(sock) == 0:
            return "interface"
        if spec.port and sock.getsockname()[1] != spec.port:
            return "port"
    return ""
