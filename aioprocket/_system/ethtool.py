"""What an interface's driver can do about timestamps.

Source: linux/ethtool.h, ETHTOOL_GET_TS_INFO, which needs no privilege.
"""

import ctypes
import fcntl
import os
import struct
from typing import Final, NamedTuple

from .numbers import InterfaceRequest, Timestamping

__all__ = ("DriverStamps", "driver_stamps")

_GET_TS_INFO: Final = 0x41
_TS_INFO: Final = struct.Struct("@IIiI12xI12x")  # struct ethtool_ts_info
_REQUEST: Final = struct.Struct("@16sP16x")  # struct ifreq with its ifr_data
_TX_ON: Final = 1 << 1  # HWTSTAMP_TX_ON, linux/net_tstamp.h


class DriverStamps(NamedTuple):
    """What a driver can.

    Attributes:
        flags: What it reports.
        switchable: Root can switch its hardware timestamps of sent packets on.
        phc: The device's clock is /dev/ptp with this number; -1: it has none.
    """

    flags: Timestamping
    switchable: bool
    phc: int


def driver_stamps(fd: int, ifname: str) -> DriverStamps:
    """Ask through any socket of the interface's namespace.

    Raises:
        OSError: ``ENODEV``; ``EOPNOTSUPP``.
    """
    info = ctypes.create_string_buffer(_TS_INFO.pack(_GET_TS_INFO, 0, 0, 0, 0), _TS_INFO.size)
    request = _REQUEST.pack(os.fsencode(ifname), ctypes.addressof(info))
    fcntl.ioctl(fd, InterfaceRequest.SIOCETHTOOL, request)
    _, flags, phc, tx_types, _ = _TS_INFO.unpack(info.raw)
    return DriverStamps(Timestamping(flags), bool(tx_types & _TX_ON), phc)
