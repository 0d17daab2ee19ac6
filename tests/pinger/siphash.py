"""SipHash-2-4: a short, keyed hash that nobody without the key can predict.

Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
"""

from typing import Final

__all__ = ("siphash",)

_MASK: Final = (1 << 64) - 1


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


class _State:
    def __init__(self, key: bytes) -> None:
        low, high = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
        self.v = [
            low ^ 0x736F6D6570736575,
            high ^ 0x646F72616E646F6D,
            low ^ 0x6C7967656E657261,
            high ^ 0x7465646279746573,
        ]

    def rounds(self, count: int) -> None:
        a, b, c, d = self.v
        for _ in range(count):
            a = (a + b) & _MASK
            c = (c + d) & _MASK
            b = _rotated(b, 13) ^ a
            d = _rotated(d, 16) ^ c
            a = _rotated(a, 32)
            c = (c + b) & _MASK
            a = (a + d) & _MASK
            b = _rotated(b, 17) ^ c
            d = _rotated(d, 21) ^ a
            c = _rotated(c, 32)
        self.v = [a, b, c, d]


def siphash(key: bytes, data: bytes) -> int:
    """The 64-bit hash of ``data`` under a key of 16 bytes."""
    state = _State(key)
    tail = len(data) % 8
    last = data[len(data) - tail :].ljust(7, b"\0") + bytes([len(data) & 0xFF])
    words = [data[at : at + 8] for at in range(0, len(data) - tail, 8)] + [last]
    for word in words:
        block = int.from_bytes(word, "little")
        state.v[3] ^= block
        state.rounds(2)
        state.v[0] ^= block
    state.v[2] ^= 0xFF
    state.rounds(4)
    return state.v[0] ^ state.v[1] ^ state.v[2] ^ state.v[3]
