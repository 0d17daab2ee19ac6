"""A device that is in another network than this process: nothing here is taken for it."""

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from aioprocket import Channel, TunChannel, channels
from aioprocket._system.descriptor import Descriptor, Opened
from aioprocket._system.numbers import TunFlag
from aioprocket._system.tun import CLONE_DEVICE, make_device
from aioprocket.spec import TunSpec
from channels.rig import frame, tap
from lab.must import unavailable
from sandbox import links
from sandbox.namespaces import Namespace

pytestmark = [pytest.mark.netns]

TUNSETIFINDEX = 0x400454DA  # linux/if_tun.h
SENT = 2000  # frames: twice what the queue of a tap device takes


@contextmanager
def elsewhere(namespace: Namespace, name: str, index: int) -> Iterator[Descriptor]:
    """A tap device in that network, by a name and an index that something here has."""
    with namespace.entered():
        try:
            descriptor = Descriptor(os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK))
        except OSError as reason:
            unavailable("tun", str(reason))
        fcntl.ioctl(descriptor.fileno(), TUNSETIFINDEX, struct.pack("@i", index))
        make_device(descriptor.fileno(), name, TunFlag.TAP | TunFlag.NO_PI)
    try:
        yield descriptor
    finally:
        descriptor.close()


def drop(ifname: str, size: int = 64) -> None:
    """Let an interface here drop what it should send."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((ifname, 0))
        for number in range(SENT):
            with suppress(OSError):  # ENOBUFS: it was dropped
                sock.send(frame(number, size))


@pytest.mark.parametrize("adopted", [False, True])
def test_a_device_of_the_same_name_and_index_here_is_another(
    namespace: Namespace, adopted: bool
) -> None:
    with tap() as here:
        name, index = here.channel.name, here.channel.ifindex
        with elsewhere(namespace, name, index) as descriptor:
            spec = TunSpec(name=name, mode="tap")
            channel: Channel = (
                Channel.from_fd(descriptor.detach())
                if adopted
                else channels.build(Opened(descriptor, spec, name, index))
            )
            drop(name)
            links.set_mtu(name, 1300)
            found = (channel.mtu, channel.hwaddr, channel.stats().rx_dropped)
            assert here.channel.stats().rx_dropped > 0
            channel.close()

            assert isinstance(channel, TunChannel)
            assert channel.name == name
            assert found == (None, None, 0)


def test_an_interface_that_has_the_index_here_is_another(
    namespace: Namespace, veth: tuple[str, str]
) -> None:
    index = socket.if_nametoindex(veth[0])
    with elsewhere(namespace, "far0", index) as descriptor:
        spec = TunSpec(name="far0", mode="tap", mtu=1300)
        channel = channels.build(Opened(descriptor, spec, "far0", index))
        links.set_mtu(veth[1], 500)
        drop(veth[0], 1000)  # for which the other end has no room
        found = (channel.mtu, channel.hwaddr, channel.stats().rx_dropped)
        channel.close()

        assert found == (1300, None, 0)


def test_a_device_here_is_known(veth: tuple[str, str]) -> None:
    with tap() as here:
        links.set_mtu("tap0", 1300)
        drop("tap0")

        assert here.channel.mtu == 1300
        assert here.channel.hwaddr
        assert here.channel.stats().rx_dropped > 0
