"""What a channel receives.

A `Packet` is made in C by the receiver that read it (``native/``), one per frame, packet or
datagram. It keeps what the kernel wrote beside the bytes, and turns it into Python only when it
is asked: a sender's address costs more than the packet it came with. It owns its bytes, so it
stays valid for ever, and is immutable, so it can be shared.
"""

from ._system._native import Packet

__all__ = ("Packet",)
