"""The broker as a service of systemd: what its units need, and the commands for them."""

import errno
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final

from ..errors import HelperError, HelperNotFoundError
from .diagnose import Diagnosis, why_not_joined
from .install import GROUP, how_to_start_broker
from .locate import BROKER_SOCKET, INSTALLED, UNITS, helper_path
from .steps import Steps

__all__ = ("is_booted", "limits", "removal", "setting_up", "why_broker_refuses")

_NAMES: Final = ("aioprocket.socket", "aioprocket.service")
_BOOTED: Final = "/run/systemd/system"  # sd_booted(3)
_PEER_PIDFD: Final = 77  # SO_PEERPIDFD, Linux 6.5
_UCRED: Final = struct.Struct("@iII")
_COMMAND: Final = Path(INSTALLED[0]).name[:15]  # as /proc/PID/comm has it


def is_booted() -> bool:
    """Whether systemd is the service manager here."""
    return os.path.isdir(_BOOTED)


def setting_up() -> Steps:
    """The commands that make the helper in its place a broker that is started by its socket.

    Raises:
        HelperError: systemd does not run here.
        HelperNotFoundError: The package has no units.
    """
    if not is_booted():
        raise HelperError(
            "systemd does not run here, and no other service manager is known",
            hint=how_to_start_broker(),
        )
    sources = [helper_path().with_name(name) for name in _NAMES]
    if not all(source.is_file() for source in sources):
        raise HelperNotFoundError("the units that come with the package are not there")
    copies = tuple(
        ("install", "-o", "root", "-g", "root", "-m", "0644", str(source), f"{UNITS}/{source.name}")
        for source in sources
    )
    return (
        *copies,
        ("systemctl", "daemon-reload"),
        ("systemctl", "enable", "--now", _NAMES[0]),
        # One that runs is the old program; the next client starts the new one.
        ("systemctl", "stop", _NAMES[1]),
    )


def removal() -> Steps:
    """The commands that end a broker and take its units away; none where there is neither."""
    there = [name for name in _NAMES if os.path.lexists(f"{UNITS}/{name}")]
    if not there:
        pid = _started_by_hand()
        return () if pid is None else (("kill", str(pid)),)
    stop: Steps = (("systemctl", "stop", *there),) if is_booted() else ()
    disable: Steps = (("systemctl", "disable", _NAMES[0]),) if _NAMES[0] in there else ()
    remove: Steps = (("rm", "-f", "--", *(f"{UNITS}/{name}" for name in there)),)
    reload: Steps = (("systemctl", "daemon-reload"),) if is_booted() else ()
    return (*stop, *disable, *remove, *reload)


def limits() -> str:
    """What a broker cannot do on this kernel; empty where it can do all."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.getsockopt(socket.SOL_SOCKET, _PEER_PIDFD, 4)
        except OSError as error:
            if error.errno == errno.ENOPROTOOPT:
                return (
                    "before Linux 6.5 a broker serves clients in its own network only, and no "
                    "containers"
                )
    return ""


def why_broker_refuses(path: str) -> Diagnosis | None:
    """Why this process may not connect to a broker's socket; None: it may."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if os.access(path, os.W_OK):
        return None
    if not status.st_mode & stat.S_IWGRP or status.st_gid == 0:
        return (
            f"{path} is for {'root' if status.st_uid == 0 else f'uid {status.st_uid}'} alone",
            f"make it the group's: SocketGroup={GROUP} and SocketMode=0660 in the socket's unit",
        )
    return why_not_joined(path, status.st_gid)


def _started_by_hand() -> int | None:
    """The pid of a broker that listens at the socket's place and is no service's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.connect(BROKER_SOCKET)
            found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            pid, uid, _ = _UCRED.unpack(found)
            command = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        except OSError:
            return None
    return int(pid) if uid == 0 and command == _COMMAND else None
