"""Programs made of programs: one or the other, or the same one for data that begins elsewhere."""

from collections.abc import Iterable, Sequence

from ..errors import FilterError
from ..spec import Instruction
from .ancillary import Extension
from .opcodes import (
    ABS,
    EXTENSION_BASE,
    IND,
    JEQ,
    JMP,
    JUMP,
    LD,
    LDX,
    LEN,
    LINK_BASE,
    MSH,
    NETWORK_BASE,
    PACKET_LOADS,
    B,
    H,
    K,
    W,
)
from .program import Program

__all__ = ("asks_the_kernel", "behind_network_header", "either", "moved", "uncooked")

_INDIRECT = frozenset(LD | IND | size for size in (W, H, B))
_LOADS = PACKET_LOADS | _INDIRECT | {LDX | MSH | B}
_LENGTHS = frozenset({LD | LEN, LDX | LEN})

# struct sockaddr_ll's packet type and protocol in the header of LINKTYPE_LINUX_SLL.
_SLL_PKTTYPE, _SLL_PROTOCOL, _SLL_LENGTH = 0, 14, 16


def either(
    extension: Extension,
    values: Sequence[int],
    matching: Sequence[Instruction],
    otherwise: Sequence[Instruction],
) -> Program:
    """The one program where the kernel's answer is one of ``values``, else the other."""
    count = len(values)
    tests = [(JMP | JEQ | K, count - at, 0, value) for at, value in enumerate(values)]
    over = (JUMP, 0, 0, len(matching))
    return Program([(LD | ABS | W, 0, 0, extension), *tests, over, *matching, *otherwise])


def asks_the_kernel(program: Iterable[Instruction]) -> bool:
    """Whether it asks for what is not in a packet's bytes."""
    return any(code in PACKET_LOADS and k >= LINK_BASE for code, _, _, k in program)


def behind_network_header(program: Program, text: str, *, lengths: bool = True) -> Program:
    """A program for packets that begin with an IP header, for data that begins elsewhere.

    Args:
        program: As for LINKTYPE_IPV4, _IPV6 or _RAW.
        text: What it was made of, for the error.
        lengths: The length of what the filter sees is the packet's.

    Raises:
        FilterError: The program needs the packet's length.
    """
    if not lengths and any(code in _LENGTHS for code, _, _, _ in program):
        raise FilterError(
            f"filter {text!r}: this socket's filter cannot tell the length of the packet",
            text=text,
        )
    return moved(program, NETWORK_BASE)


def moved(program: Program, by: int) -> Program:
    """The same program, for data that begins ``by`` bytes later."""
    return Program(_moved(one, by) for one in program)


def uncooked(program: Program, text: str, network: int) -> Program:
    """A program for LINKTYPE_LINUX_SLL, for live packets whose network header is at ``network``.

    The header of that link type is libpcap's invention, of what the kernel knows.

    Raises:
        FilterError: The program reads the sender's link-layer address.
    """
    return Program(_uncooked(one, text, network) for one in program)


def _uncooked(instruction: Instruction, text: str, network: int) -> Instruction:
    code, _, _, k = instruction
    if code not in PACKET_LOADS or k >= _SLL_LENGTH:
        return _moved(instruction, network - _SLL_LENGTH)
    if k == _SLL_PKTTYPE:
        return code, 0, 0, Extension.PKTTYPE
    if k == _SLL_PROTOCOL:
        return code, 0, 0, Extension.PROTOCOL
    raise FilterError(
        f"filter {text!r}: link-layer addresses are not in what this socket's filter sees",
        text=text,
    )


def _moved(instruction: Instruction, by: int) -> Instruction:
    code, jt, jf, k = instruction
    if code not in _LOADS or (code in PACKET_LOADS and k >= EXTENSION_BASE):
        return instruction
    return code, jt, jf, k + by & 0xFFFFFFFF
