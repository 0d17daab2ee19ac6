"""Netlink: messages to and from the kernel. Source: netlink(7)."""

from .channel import Channel

__all__ = ("NetlinkChannel",)


class NetlinkChannel(Channel):
    """One datagram of netlink messages per packet. An overrun (ENOBUFS) counts as an error."""

    _kind = "netlink"
