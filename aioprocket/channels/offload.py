"""Input and output on a TUN or TAP device whose packets may be larger than those on the wire.

Before each packet there is a struct virtio_net_hdr (linux/virtio_net.h). The receiver takes it
off, and keeps it in the ancillary data of a packet that needs it; here it is put on again.
"""

import os
from typing import Final

from .._system._native import Receiver, Sender
from .._system.descriptor import Descriptor
from .._system.numbers import SOL_PACKET, PacketOption
from ..errors import SpecError
from ..packet import Packet
from .port import MAX_PACKET, Data, DevicePort

__all__ = ("OffloadPort",)

# The name of such a header in ancillary data.
_HEADER: Final = (SOL_PACKET, PacketOption.VNET_HDR)
_LINK_HEADERS: Final = 14 + 2 * 4  # Ethernet with two VLAN tags: linux/if_ether.h


class OffloadPort(DevicePort):
    """A device made with IFF_VNET_HDR. ``header``: bytes of that header, with padding."""

    def __init__(self, descriptor: Descriptor, *, header: int, tags: bool = False) -> None:
        super().__init__(descriptor, closes_slowly=True, tags=tags)
        self.counters = Receiver(
            descriptor.fileno(), size=MAX_PACKET + _LINK_HEADERS, socket=False, header=header
        )
        self.sender = Sender(descriptor.fileno(), socket=False, header=header, tags=tags)
        self.receive = self.counters.receive
        self.dispatch = self.counters.dispatch
        self.send = self._write_headed
        self._header = header
        # It says nothing: the packet is of wire size, and its checksum is there.
        self._empty = bytes(header)

    def _write_headed(self, data: Data) -> int:
        header = self._empty
        if type(data) is Packet and data.ancdata:
            header = self._header_of(data)
        return os.writev(self.fileno(), (header, data)) - self._header

    def _header_of(self, packet: Packet) -> bytes:
        for level, kind, header in packet.ancdata:
            if (level, kind) == _HEADER:
                return header.ljust(self._header, b"\0")[: self._header]
        return self._empty

    def read(self, size: int) -> bytes:
        """No: the bytes alone do not tell whether the checksum is there."""
        raise self._no_bytes()

    def read_into(self, room: memoryview) -> tuple[int, int]:
        """No, as `read`."""
        raise self._no_bytes()

    def _no_bytes(self) -> SpecError:
        return SpecError(
            "memory of the caller's has no place for what a packet of a device with offload says "
            "beside its bytes",
            hint="receive() has it",
        )
