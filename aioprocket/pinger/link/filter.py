"""The kernel's filter of a packet socket: replies and errors as `echo_filter` has them, neighbours.

A reply in fragments is not put together here, and not let through.
"""

from collections.abc import Iterable
from typing import Final, Literal

from ...bpf import Program
from ...spec import Instruction
from ..filter import echo_filter

__all__ = ("link_filter",)

# linux/filter.h, linux/bpf_common.h: as in `echo_filter`.
_LOAD_BYTE: Final = 0x30
_LOAD_HALF: Final = 0x28
_LOADS: Final = frozenset({_LOAD_BYTE, _LOAD_HALF, 0x50, 0x48, 0xB1})
_EQUAL: Final = 0x15
_HAS_BITS: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06
_TAKE: Final = (_RETURN, 0, 0, 0xFFFF)
_DROP: Final = (_RETURN, 0, 0, 0)

_LINK: Final = 14  # bytes of an Ethernet header
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_ARP_REPLY: Final = 2
_ADVERTISEMENT: Final = 136  # RFC 4861
_FRAGMENT: Final = 0x3FFF  # more of them, or where it belongs


def link_filter(version: Literal[4, 6], identifier: int) -> Program:
    """What a packet socket needs that sends echo requests with this identifier."""
    return Program(_version4(identifier) if version == 4 else _version6(identifier))


def _version4(identifier: int) -> tuple[Instruction, ...]:
    """Jumps count from the next instruction."""
    return (
        (_LOAD_HALF, 0, 0, 12),
        (_EQUAL, 0, 4, _ARP),
        (_LOAD_HALF, 0, 0, _LINK + 6),
        (_EQUAL, 0, 1, _ARP_REPLY),
        _TAKE,
        _DROP,
        (_EQUAL, 1, 0, _IPV4),
        _DROP,
        (_LOAD_BYTE, 0, 0, _LINK + 9),
        (_EQUAL, 1, 0, 1),  # ICMP
        _DROP,
        (_LOAD_HALF, 0, 0, _LINK + 6),
        (_HAS_BITS, 0, 1, _FRAGMENT),
        _DROP,
        *_from(_LINK, echo_filter(4, identifier)),
    )


def _version6(identifier: int) -> tuple[Instruction, ...]:
    return (
        (_LOAD_HALF, 0, 0, 12),
        (_EQUAL, 1, 0, _IPV6),
        _DROP,
        (_LOAD_BYTE, 0, 0, _LINK + 6),
        (_EQUAL, 1, 0, 58),  # ICMPv6
        _DROP,
        (_LOAD_BYTE, 0, 0, _LINK + 40),
        (_EQUAL, 0, 1, _ADVERTISEMENT),
        _TAKE,
        *_from(_LINK + 40, echo_filter(6, identifier)),
    )


def _from(start: int, program: Iterable[Instruction]) -> Iterable[Instruction]:
    """A program about what lies ``start`` bytes further on."""
    for code, jt, jf, k in program:
        yield code, jt, jf, k + start if code in _LOADS else k
