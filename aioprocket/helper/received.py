"""What came from a helper is what was asked for: read from the descriptor itself, before use."""

import os
import socket
import stat
from typing import Final

from .._system import options
from .._system._native import socket_kind
from .._system.descriptor import Descriptor, borrowed
from ..errors import HelperProtocolError
from ..spec import DeviceSpec, PacketSpec, SocketSpec, Spec, TunSpec, describe

__all__ = ("check_received",)

_PACKET: Final = int(socket.AF_PACKET)


def check_received(descriptor: Descriptor, spec: Spec, by: str) -> None:
    """Check kind, family, type and protocol, and make sure that it does not block.

    Raises:
        HelperProtocolError: It is something else.
    """
    fd = descriptor.fileno()
    match spec:
        case SocketSpec():
            _check_socket(fd, spec, (spec.family, spec.type, spec.protocol), by)
        case PacketSpec():
            # Protocol 0 receives nothing until its receiver binds it.
            _check_socket(fd, spec, (_PACKET, spec.type, 0), by)
        case TunSpec() | DeviceSpec():
            if not stat.S_ISCHR(os.fstat(fd).st_mode):
                raise HelperProtocolError(f"{by} sent what is no device for the {describe(spec)}")
    os.set_blocking(fd, False)


def _check_socket(
    fd: int, spec: SocketSpec | PacketSpec, wanted: tuple[int, int, int], by: str
) -> None:
    try:
        found = socket_kind(fd)
    except OSError as error:
        raise HelperProtocolError(
            f"{by} sent what is no socket for the {describe(spec)}"
        ) from error
    if found != wanted:
        raise HelperProtocolError(
            f"{by} sent something else for the {describe(spec)}: "
            f"family, type and protocol are {found}, not {tuple(map(int, wanted))}"
        )
    missing = _missing_restriction(fd, spec)
    if missing:
        raise HelperProtocolError(f"{by} sent the {describe(spec)} without its {missing}")


def _missing_restriction(fd: int, spec: SocketSpec | PacketSpec) -> str:
    """What was asked for, and is not there: an unrestricted socket must not pass for another."""
    confined = isinstance(spec, SocketSpec) and (spec.interface is not None or spec.port)
    if not confined and not spec.lock_filter:
        return ""
    with borrowed(fd) as sock:
        if spec.lock_filter and not options.filter_is_locked(sock):
            return "lock"
        if isinstance(spec, SocketSpec):
            if spec.interface is not None and options.bound_ifindex(sock) == 0:
                return "interface"
            if spec.port and sock.getsockname()[1] != spec.port:
                return "port"
    return ""
