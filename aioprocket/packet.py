"""What a channel receives.

A `Packet` is made in C by what read it (``native/``), one per frame, packet or datagram. It keeps
what the kernel wrote beside the bytes, and turns it into Python only when it is asked: a sender's
address costs more than the packet it came with. It is immutable, so it can be shared, and it stays
valid for ever: its bytes are its own, or lie in a ring and are copied out when the ring needs the
room.

A `Batch` is many of them at once, made as they are asked for, and columns of what they have in
common.
"""

from collections.abc import Sequence

from ._system._native import Batch, Packet

__all__ = ("Batch", "Packet")

Sequence.register(Batch)
