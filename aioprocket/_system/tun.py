"""What a descriptor of /dev/net/tun is asked by ioctl.

Source: Documentation/networking/tuntap.rst, linux/if_tun.h, drivers/net/tun.c.
"""

import errno
import fcntl
import os
import struct
from typing import Final

from .descriptor import Descriptor
from .numbers import TunFlag, TunOffload, TunRequest

__all__ = (
    "CLONE_DEVICE",
    "HEADER_SIZE",
    "TEMPLATE",
    "device_flags",
    "device_name",
    "device_network",
    "header_size",
    "make_device",
    "set_header_size",
    "set_offload",
    "set_owner",
    "set_persistent",
)

CLONE_DEVICE: Final = "/dev/net/tun"
TEMPLATE: Final = "aio%d"  # the kernel puts the first free number in

HEADER_SIZE: Final = 10  # struct virtio_net_hdr without num_buffers: linux/virtio_net.h
_TCP: Final = TunOffload.CSUM | TunOffload.TSO4 | TunOffload.TSO6 | TunOffload.TSO_ECN
_ALL: Final = _TCP | TunOffload.USO4 | TunOffload.USO6

_INT: Final = struct.Struct("@i")
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


def device_network(fd: int) -> tuple[int, int] | None:
    """The network namespace that the device is in now: device and inode of its file.

    None where it is not told: that takes CAP_NET_ADMIN over the one it was made in, and Linux 5.10.
    """
    try:
        namespace = Descriptor(fcntl.ioctl(fd, TunRequest.TUNGETDEVNETNS))
    except OSError:
        return None
    try:
        found = os.fstat(namespace.fileno())
    finally:
        namespace.close()
    return found.st_dev, found.st_ino


def _name(ifreq: bytes) -> str:
    name: bytes = _IFREQ.unpack(ifreq)[0]
    return os.fsdecode(name.split(b"\0", 1)[0])


def set_owner(fd: int, uid: int) -> None:
    """Who may attach to the device later, without privilege."""
    fcntl.ioctl(fd, TunRequest.TUNSETOWNER, uid)


def set_persistent(fd: int, persistent: bool) -> None:
    """Whether the device outlives its last descriptor."""
    fcntl.ioctl(fd, TunRequest.TUNSETPERSIST, int(persistent))


def header_size(fd: int) -> int:
    """Bytes of struct virtio_net_hdr and padding before each packet; of a device with VNET_HDR."""
    size: int = _INT.unpack(fcntl.ioctl(fd, TunRequest.TUNGETVNETHDRSZ, _INT.pack(0)))[0]
    return size


def set_header_size(fd: int, size: int) -> None:
    """As `header_size`, for all queues of the device; needs no privilege."""
    fcntl.ioctl(fd, TunRequest.TUNSETVNETHDRSZ, _INT.pack(size))


def set_offload(fd: int, *, everything: bool) -> TunOffload:
    """Which packets the kernel hands over before it makes them wire-size; needs no privilege.

    It is the device's, and outlives its descriptors where the device does.

    Args:
        fd: Of a device.
        everything: All that this kernel knows, else none.

    Returns:
        What holds now.
    """
    wanted = _ALL if everything else TunOffload(0)
    try:
        fcntl.ioctl(fd, TunRequest.TUNSETOFFLOAD, wanted)
    except OSError as error:
        if error.errno != errno.EINVAL or not everything:
            raise
        wanted = _TCP  # before Linux 6.2
        fcntl.ioctl(fd, TunRequest.TUNSETOFFLOAD, wanted)
    return wanted
