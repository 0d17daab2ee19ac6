"""What each instruction of a program does, in words."""

from collections.abc import Iterable, Sequence
from typing import Final

from ..spec import Instruction
from .ancillary import Extension
from .mnemonics import ARITHMETIC, LOADS
from .opcodes import (
    ABS,
    ALU,
    CONDITIONAL_JUMPS,
    EXTENSION_BASE,
    IMM,
    IND,
    JEQ,
    JGE,
    JGT,
    JSET,
    JUMP,
    LD,
    LDX,
    LEN,
    LINK_BASE,
    MEM,
    MISC,
    MSH,
    NEG,
    NETWORK_BASE,
    RET,
    ST,
    STX,
    TAX,
    TXA,
    A,
    B,
    K,
    X,
)
from .program import Program

__all__ = ("explain",)

_KNOWN: Final[dict[int, str]] = {
    Extension.PROTOCOL: "the Ethernet protocol",
    Extension.PKTTYPE: "the packet's type: 0 to this machine, 4 from it",
    Extension.IFINDEX: "the interface's index",
    Extension.NLATTR: "where the netlink attribute X is",
    Extension.NLATTR_NEST: "where the nested netlink attribute X is",
    Extension.MARK: "the mark",
    Extension.QUEUE: "the queue",
    Extension.HATYPE: "the hardware type of the interface",
    Extension.RXHASH: "the hash of the flow",
    Extension.CPU: "the processor",
    Extension.ALU_XOR_X: "A xor X",
    Extension.VLAN_TAG: "the VLAN tag that the kernel took out",
    Extension.VLAN_TAG_PRESENT: "1 if the kernel took a VLAN tag out, else 0",
    Extension.PAY_OFFSET: "where the payload begins",
    Extension.RANDOM: "a random number",
    Extension.VLAN_TPID: "the protocol of the VLAN tag that the kernel took out",
}
_SIGNS: Final = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%", "or": "|", "and": "&",
    "lsh": "<<", "rsh": ">>", "xor": "^",
}  # fmt: skip
_TESTS: Final = {
    JEQ: "A is {}",
    JGT: "A is more than {}",
    JGE: "A is {} or more",
    JSET: "A has a bit of {}",
}
# Fields of Ethernet and what is mostly behind it.
_FIELDS: Final = {
    ("ldh", 12): "the Ethernet protocol",
    ("ldh", 16): "the protocol behind a VLAN tag, or the length of IPv4",
    ("ldb", 23): "the protocol in IPv4",
    ("ldb", 20): "the next header in IPv6",
    ("ldh", 20): "flags and fragment offset in IPv4",
    ("ld", 26): "the source in IPv4",
    ("ld", 30): "the destination in IPv4",
    ("ldh", 54): "the source port in IPv6",
    ("ldh", 56): "the destination port in IPv6",
}


def explain(program: Iterable[Sequence[int]], *, ethernet: bool = False) -> list[str]:
    """A line for each instruction.

    Args:
        program: Instructions.
        ethernet: Whether the data begins with an Ethernet header: well-known places are named.

    Raises:
        FilterError: It is no program.
    """
    return [
        _words(position, instruction, ethernet)
        for position, instruction in enumerate(Program.of(program))
    ]


def _words(position: int, instruction: Instruction, ethernet: bool) -> str:
    code, jt, jf, k = instruction
    after = position + 1
    if code in CONDITIONAL_JUMPS:
        what = "X" if code & X else f"{k} ({k:#x})" if k > 9 else str(k)
        test = _TESTS[code & 0xF0].format(what)
        return f"if {test}, {_go(after, jt)}; else {_go(after, jf)}"
    if code == JUMP:
        return f"go to {after + k}"
    if code in _ABSOLUTE:
        return f"A = {_place(_ABSOLUTE[code], k, ethernet)}"
    if code in _ARITHMETIC:
        name, by_x = _ARITHMETIC[code]
        return f"A = A {_SIGNS[name]} {'X' if by_x else f'{k:#x}' if name == 'and' else k}"
    if code == RET | K and k == 0:
        return "drop it"
    return _PLAIN[code].format(k=k, place=_offset(k))


def _go(after: int, offset: int) -> str:
    return f"go to {after + offset}" if offset else "go on"


def _place(name: str, k: int, ethernet: bool) -> str:
    if k >= EXTENSION_BASE:
        return _KNOWN[k]
    size = {"ld": "4 bytes", "ldh": "2 bytes", "ldb": "the byte"}[name]
    field = _FIELDS.get((name, k)) if ethernet else None
    return f"{size} at {_offset(k)}" + (f": {field}" if field else "")


def _offset(k: int) -> str:
    if k >= NETWORK_BASE:
        return f"{k - NETWORK_BASE} of the network header"
    if k >= LINK_BASE:
        return f"{k - LINK_BASE} of the link header"
    return str(k)


_ABSOLUTE: Final = {LD | ABS | size: name for name, size in LOADS.items()}
_ARITHMETIC: Final = {
    ALU | operator | operand: (name, operand == X)
    for name, operator in ARITHMETIC.items()
    for operand in (K, X)
}
_PLAIN: Final[dict[int, str]] = {
    **{
        LD | IND | size: f"A = {words} at X + {{place}}"
        for size, words in zip(LOADS.values(), ("4 bytes", "2 bytes", "the byte"), strict=True)
    },
    LD | IMM: "A = {k}",
    LDX | IMM: "X = {k}",
    LD | LEN: "A = the packet's length",
    LDX | LEN: "X = the packet's length",
    LD | MEM: "A = M[{k}]",
    LDX | MEM: "X = M[{k}]",
    LDX | MSH | B: "X = the length of the IPv4 header at {place}",
    ST: "M[{k}] = A",
    STX: "M[{k}] = X",
    ALU | NEG: "A = -A",
    MISC | TAX: "X = A",
    MISC | TXA: "A = X",
    RET | K: "keep {k} bytes at most",
    RET | A: "keep A bytes at most",
}
