"""Types of ICMPv6 for a socket that receives nothing else: also as the option ICMP6_FILTER.

Source: RFC 3542, section 3.2; linux/icmpv6.h, where a set bit blocks
"""

import struct
from typing import Final

from ..errors import FilterError
from .opcodes import ABS, JEQ, JMP, LD, RET, B, K
from .program import Program

__all__ = ("Icmp6Filter", "icmp6_types")

_TYPES: Final = 256
_OPTION: Final = struct.Struct("=8I")  # struct icmp6_filter
_WHOLE: Final = 0x40000


class Icmp6Filter(Program):
    """A program for what begins with an ICMPv6 header: a channel of ``open_icmp(6)``.

    Such a channel sets ICMP6_FILTER as well, where its socket is raw, which spares the kernel the
    copy of what nobody gets. The program is what the helper attaches and locks.
    """

    __slots__ = ()

    @property
    def types(self) -> frozenset[int]:
        """The types that pass."""
        return frozenset(number for number in range(_TYPES) if self.run(bytes([number])))

    @property
    def option(self) -> bytes:
        """The value of ICMP6_FILTER: a ``struct icmp6_filter``."""
        words = [0xFFFFFFFF] * 8
        for number in self.types:
            words[number // 32] &= ~(1 << number % 32)
        return _OPTION.pack(*words)


def icmp6_types(*numbers: int) -> Icmp6Filter:
    """A filter that lets these types of ICMPv6 pass, for ``open_icmp(6)``.

    Raises:
        FilterError: One of them is no type: 0 to 255.
    """
    wanted = sorted(set(numbers))
    for number in wanted:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < _TYPES:
            raise FilterError(f"ICMPv6 type {number!r} is not a number from 0 to 255")
    if len(wanted) in (0, _TYPES):
        return Icmp6Filter([(RET | K, 0, 0, _WHOLE if wanted else 0)])
    # Every test that fails goes on to the next; those that hold go to the last instruction.
    tests = [(JMP | JEQ | K, len(wanted) - at, 0, number) for at, number in enumerate(wanted)]
    ends = [(RET | K, 0, 0, 0), (RET | K, 0, 0, _WHOLE)]
    return Icmp6Filter([(LD | ABS | B, 0, 0, 0), *tests, *ends])
