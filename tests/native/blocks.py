"""Blocks of a TPACKET_V3 ring as the kernel writes them: linux/if_packet.h."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ("Frame", "block")

VLAN_VALID = 1 << 4  # TP_STATUS_VLAN_VALID
VLAN_TPID_VALID = 1 << 6  # TP_STATUS_VLAN_TPID_VALID
BLOCK_HEADER = struct.Struct("=IIIIIIQIIII")  # struct tpacket_block_desc
PACKET_HEADER = struct.Struct("=IIIIIIHHIIHH8x")  # struct tpacket3_hdr
SENDER = struct.Struct("=HHiHBB8s")  # struct sockaddr_ll
BYTES_AT = 96  # of a packet, after its headers


@dataclass
class Frame:
    """One packet, and what the kernel says of it."""

    data: bytes
    wire_len: int | None = None
    timestamp_ns: int = 1_500_000_000_123_456_789
    vlan_tci: int | None = None
    vlan_tpid: int = 0x8100
    ifindex: int = 7
    kind: int = 0

    def pack(self, last: bool) -> bytes:
        seconds, nanoseconds = divmod(self.timestamp_ns, 1_000_000_000)
        tagged = self.vlan_tci is not None
        length = BYTES_AT + len(self.data)
        room = -(-length // 8) * 8
        return (
            PACKET_HEADER.pack(
                0 if last else room,
                seconds,
                nanoseconds,
                len(self.data),
                len(self.data) if self.wire_len is None else self.wire_len,
                VLAN_VALID | VLAN_TPID_VALID if tagged else 0,
                BYTES_AT,
                BYTES_AT + 14,
                0,
                self.vlan_tci or 0,
                self.vlan_tpid,
                0,
            )
            + SENDER.pack(17, 0x0008, self.ifindex, 1, self.kind, 6, b"abcdef\0\0")
        ).ljust(BYTES_AT, b"\0") + self.data.ljust(room - BYTES_AT, b"\0")


def block(frames: Iterable[Frame]) -> bytes:
    """A block that is handed over with some packets in it."""
    frames = list(frames)
    packed = b"".join(
        frame.pack(index == len(frames)) for index, frame in enumerate(frames, start=1)
    )
    header = BLOCK_HEADER.pack(
        1, 0, 1, len(frames), BLOCK_HEADER.size, BLOCK_HEADER.size + len(packed), 1, 0, 0, 0, 0
    )
    return header + packed
