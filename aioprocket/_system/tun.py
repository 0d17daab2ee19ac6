"""What a descriptor of /dev/net/tun is asked by ioctl.

Source: Documentation/networking/tuntap.rst, linux/if_tun.h, drivers/net/tun.c.
"""

import fcntl
import os
import struct
from typing import Final

from .numbers import TunFlag, TunRequest

__all__ = (
    "CLONE_DEVICE",
    "TEMPLATE",
    "device_flags",
    "device_name",
    "make_device",
    "set_owner",
    "set_persistent",
)

CLONE_DEVICE: Final = "/dev/net/tun"
TEMPLATE: Final = "aio%d"  # the kernel puts the first free number in

_IFREQ: Final = struct.Struct("@16sH22x")  # struct ifreq, linux/if.h


def make_device(fd: int, name: str, flags: TunFlag) -> str:
    """Make a device, or attach to the one of that name; its real name.

    The device lives in the namespace in which the descriptor was opened. Without ``EXCL`` an
    existing device is attached to, if it belongs to the caller or the caller has CAP_NET_ADMIN.

    Raises:
        OSError: ``EPERM``: not the caller's, or a new one without CAP_NET_ADMIN; ``EBUSY``: it
            exists (with ``EXCL``), or all its queues are in use; ``EINVAL``: it exists and is of
            another kind; ``EEXIST``: the descriptor has a device already.
    """
    answer = fcntl.ioctl(fd, TunRequest.TUNSETIFF, _IFREQ.pack(os.fsencode(name), flags))
    return _name(answer)


def device_name(fd: int) -> str:
    """The present name of the descriptor's device.

    Raises:
        OSError: ``EBADFD``: it has none yet.
    """
    return _name(fcntl.ioctl(fd, TunRequest.TUNGETIFF, _IFREQ.pack(b"", 0)))


def device_flags(fd: int) -> TunFlag:
    """What the descriptor's device is: `TunFlag.TUN` or `TunFlag.TAP`, and how it was made.

    Raises:
        OSError: ``EBADFD``: it has none yet; ``ENOTTY``: the descriptor is nothing of the kind.
    """
    answer = fcntl.ioctl(fd, TunRequest.TUNGETIFF, _IFREQ.pack(b"", 0))
    return TunFlag(_IFREQ.unpack(answer)[1])


def _name(ifreq: bytes) -> str:
    name: bytes = _IFREQ.unpack(ifreq)[0]
    return os.fsdecode(name.split(b"\0", 1)[0])


def set_owner(fd: int, uid: int) -> None:
    """Who may attach to the device later, without privilege."""
    fcntl.ioctl(fd, TunRequest.TUNSETOWNER, uid)


def set_persistent(fd: int, persistent: bool) -> None:
    """Whether the device outlives its last descriptor."""
    fcntl.ioctl(fd, TunRequest.TUNSETPERSIST, int(persistent))
