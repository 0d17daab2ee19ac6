"""Character devices, and whatever else is no socket: read and written by packets."""

from .channel import Channel

__all__ = ("DeviceChannel",)


class DeviceChannel(Channel):
    """One packet per read(2) and per write(2). A device without poll(2) is always ready."""

    _kind = "device"
