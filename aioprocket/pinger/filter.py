"""The kernel's filter of a raw socket: replies to our requests and errors about them, no others'.

It spares the wakeup and the copy for everybody else's pings; what it lets through is judged all the
same (`engine`).
"""

from typing import Final, Literal

from ..bpf import Program
from ..spec import Instruction

__all__ = ("echo_filter",)

# linux/filter.h, linux/bpf_common.h: class, size, mode; operation, source.
_LOAD_BYTE: Final = 0x30  # BPF_LD | BPF_B | BPF_ABS
_LOAD_HALF: Final = 0x28  # BPF_LD | BPF_H | BPF_ABS
_LOAD_BYTE_X: Final = 0x50  # BPF_LD | BPF_B | BPF_IND
_LOAD_HALF_X: Final = 0x48  # BPF_LD | BPF_H | BPF_IND
_X_HEADER: Final = 0xB1  # BPF_LDX | BPF_B | BPF_MSH: X = 4 * (packet[k] & 15)
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_SHIFT_LEFT: Final = 0x64  # BPF_ALU | BPF_LSH | BPF_K
_ADD_X: Final = 0x0C  # BPF_ALU | BPF_ADD | BPF_X
_X_FROM_A: Final = 0x07  # BPF_MISC | BPF_TAX
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_GREATER: Final = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_WHOLE: Final = 0xFFFF
_QUOTED: Final = 8  # where an error's quotation starts, from its own ICMP header on


def echo_filter(version: Literal[4, 6], identifier: int) -> Program:
    """What a raw socket needs that sends echo requests with this identifier."""
    return Program(_version4(identifier) if version == 4 else _version6(identifier))


def _version4(identifier: int) -> tuple[Instruction, ...]:
    """The packet starts with its IP header: raw(7). Jumps count from the next instruction."""
    return (
        (_X_HEADER, 0, 0, 0),
        (_LOAD_BYTE_X, 0, 0, 0),
        (_EQUAL, 0, 2, 0),  # an echo reply
        (_LOAD_HALF_X, 0, 0, 4),
        (_EQUAL, 12, 13, identifier),
        (_EQUAL, 2, 0, 3),  # unreachable
        (_EQUAL, 1, 0, 11),  # time exceeded
        (_EQUAL, 0, 10, 12),  # a parameter problem
        (_LOAD_BYTE_X, 0, 0, _QUOTED + 9),
        (_EQUAL, 0, 8, 1),  # about a packet of ICMP
        (_LOAD_BYTE_X, 0, 0, _QUOTED),
        (_AND, 0, 0, 0x0F),
        (_SHIFT_LEFT, 0, 0, 2),
        (_ADD_X, 0, 0, 0),
        (_X_FROM_A, 0, 0, 0),
        (_LOAD_HALF_X, 0, 0, _QUOTED + 4),
        (_EQUAL, 0, 1, identifier),
        (_RETURN, 0, 0, _WHOLE),
        (_RETURN, 0, 0, 0),
    )


def _version6(identifier: int) -> tuple[Instruction, ...]:
    """The packet starts with its ICMPv6 header: RFC 3542, section 3."""
    return (
        (_LOAD_BYTE, 0, 0, 0),
        (_EQUAL, 0, 2, 129),  # an echo reply
        (_LOAD_HALF, 0, 0, 4),
        (_EQUAL, 6, 7, identifier),
        (_EQUAL, 6, 0, 0),  # reserved
        (_GREATER, 5, 0, 4),  # no error of ours
        (_LOAD_BYTE, 0, 0, _QUOTED + 6),
        (_EQUAL, 0, 3, 58),  # about a packet of ICMPv6
        (_LOAD_HALF, 0, 0, _QUOTED + 40 + 4),
        (_EQUAL, 0, 1, identifier),
        (_RETURN, 0, 0, _WHOLE),
        (_RETURN, 0, 0, 0),
    )
