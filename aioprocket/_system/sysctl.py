"""Settings of the network that the calling thread is in, by files of ``/proc/sys``.

Source: Documentation/networking/ip-sysctl.rst; net_ctl_permissions() in net/sysctl_net.c.
"""

import errno
import os
from contextlib import suppress
from typing import Final

__all__ = ("ignore_routers",)

_NETWORK: Final = "/proc/sys/net"
_NO_DEVICES: Final = ("all", "default")  # folders beside those of devices


def ignore_routers(ifname: str) -> None:
    """Let what comes in by an interface change no route of IPv6: no advertisement, no redirect.

    Nothing where the interface has no IPv6, or where /proc/sys is read-only, as in many containers:
    who calls this could open the device without it.

    Raises:
        OSError: ``EACCES``: CAP_NET_ADMIN is missing.
    """
    if ifname in _NO_DEVICES:
        return  # the kernel gives no IPv6 to devices of these names
    # By a descriptor, so that a /proc that is not there is told from IPv6 that is not.
    network = os.open(_NETWORK, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for setting in ("accept_ra", "accept_redirects"):
            with suppress(FileNotFoundError):
                _write(network, f"ipv6/conf/{ifname}/{setting}", b"0")
    finally:
        os.close(network)


def _write(folder: int, path: str, value: bytes) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.EROFS:
            return
        raise
    try:
        os.write(fd, value)
    finally:
        os.close(fd)
