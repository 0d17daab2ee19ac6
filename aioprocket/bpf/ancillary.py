"""What the kernel knows of a packet beside its bytes, and lets a filter ask for.

Source: linux/filter.h (SKF_AD_…), convert_bpf_extensions() in net/core/filter.c
"""

from enum import IntEnum
from typing import Any, Final, NamedTuple, Protocol

from .opcodes import EXTENSION_BASE

__all__ = ("Ancillary", "Extension", "Received")


class Extension(IntEnum):
    """The offsets at which a packet load asks the kernel, as `Program` has them in ``k``."""

    PROTOCOL = EXTENSION_BASE
    PKTTYPE = EXTENSION_BASE + 4
    IFINDEX = EXTENSION_BASE + 8
    NLATTR = EXTENSION_BASE + 12
    NLATTR_NEST = EXTENSION_BASE + 16
    MARK = EXTENSION_BASE + 20
    QUEUE = EXTENSION_BASE + 24
    HATYPE = EXTENSION_BASE + 28
    RXHASH = EXTENSION_BASE + 32
    CPU = EXTENSION_BASE + 36
    ALU_XOR_X = EXTENSION_BASE + 40
    VLAN_TAG = EXTENSION_BASE + 44
    VLAN_TAG_PRESENT = EXTENSION_BASE + 48
    PAY_OFFSET = EXTENSION_BASE + 52
    RANDOM = EXTENSION_BASE + 56
    VLAN_TPID = EXTENSION_BASE + 60


class Received(Protocol):
    """What `aioprocket.Packet` has, as far as a filter can ask for it."""

    @property
    def data(self) -> bytes:
        """The bytes."""

    @property
    def addr(self) -> Any:
        """Of a packet socket: (interface, protocol, …, hardware type, …)."""

    @property
    def wire_len(self) -> int:
        """Length on the wire."""

    @property
    def ifindex(self) -> int:
        """0: none."""

    @property
    def vlan_tci(self) -> int | None:
        """Of a tag that is not in the data."""

    @property
    def vlan_tpid(self) -> int | None:
        """Of the same."""

    @property
    def direction(self) -> str:
        """As ``"in"`` and ``"out"``."""


_PKTTYPES: Final = {"in": 0, "broadcast": 1, "multicast": 2, "otherhost": 3, "out": 4}


class Ancillary(NamedTuple):
    """The kernel's answers to the extensions of a filter.

    Attributes:
        protocol: Ethernet protocol, in host order.
        pkttype: PACKET_HOST (0), _BROADCAST, _MULTICAST, _OTHERHOST, _OUTGOING (4).
        ifindex: None: there is no interface, as on a UNIX socket; the program ends there.
        mark: SO_MARK, or the firewall's.
        queue: As recorded: the receive queue, counted from 1; 0: none.
        hatype: ARPHRD_…; None: as ``ifindex``.
        rxhash: Of the flow.
        cpu: The processor that runs the filter.
        vlan_tci: Of a tag that is not in the data.
        vlan_tpid: 0: there is no such tag.
        payload_offset: Where the payload of the transport starts, from the start of the data.
        random: What the kernel would draw.
    """

    protocol: int = 0
    pkttype: int = 0
    ifindex: int | None = None
    mark: int = 0
    queue: int = 0
    hatype: int | None = None
    rxhash: int = 0
    cpu: int = 0
    vlan_tci: int = 0
    vlan_tpid: int = 0
    payload_offset: int = 0
    random: int = 0

    @classmethod
    def of(cls, packet: Received) -> "Ancillary":
        """What a received packet tells: the rest is 0.

        The protocol and the hardware type are in the address of a packet socket only.
        """
        link = packet.addr if isinstance(packet.addr, tuple) and len(packet.addr) == 5 else None
        return cls(
            protocol=link[1] if link else 0,
            pkttype=_PKTTYPES[packet.direction],
            ifindex=packet.ifindex or None,
            hatype=link[3] if link else None,
            vlan_tci=packet.vlan_tci or 0,
            vlan_tpid=0 if packet.vlan_tci is None else packet.vlan_tpid or 0x8100,
        )
