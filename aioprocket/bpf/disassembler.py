"""From a program to text: as ``tcpdump -d`` prints it, or as the kernel's bpf_asm reads it."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias, get_args

from ..spec import Instruction
from .mnemonics import (
    ARITHMETIC,
    ASM_EXTENSIONS,
    BARE,
    COMPARISONS,
    LOADS,
    STORES,
    TCPDUMP_EXTENSIONS,
)
from .opcodes import (
    ABS,
    ALU,
    CONDITIONAL_JUMPS,
    IMM,
    IND,
    JMP,
    JUMP,
    LD,
    LDX,
    LEN,
    MEM,
    MSH,
    RET,
    A,
    B,
    K,
    X,
)
from .program import Program

__all__ = ("Syntax", "disassemble")

Syntax: TypeAlias = Literal["tcpdump", "bpf_asm"]

# Masks are read as hexadecimal, amounts as decimal; the rest are offsets.
_MASKS: Final = frozenset({"and", "or", "xor"})


def disassemble(program: Iterable[Sequence[int]], syntax: Syntax = "tcpdump") -> str:
    """The text that `assemble` makes the same program of, one instruction per line.

    Args:
        program: Instructions.
        syntax: ``"tcpdump"``, with numbered lines to jump to; ``"bpf_asm"``, with labels.

    Raises:
        FilterError: It is no program.
        ValueError: There is no such syntax.
    """
    if syntax not in get_args(Syntax):
        raise ValueError(f"syntax {syntax!r} is none of {', '.join(get_args(Syntax))}")
    instructions = Program.of(program)
    lines = _numbered(instructions) if syntax == "tcpdump" else _labelled(instructions)
    return "\n".join(line.rstrip() for line in lines)


def _numbered(program: Program) -> Iterable[str]:
    for position, instruction in enumerate(program):
        code, jt, jf, k = instruction
        name, operand = _words(instruction, TCPDUMP_EXTENSIONS, "#pktlen")
        after = position + 1
        if code == JUMP:
            operand = str(after + k)
        line = f"({position:03}) {name:<8} {operand}"
        if code in CONDITIONAL_JUMPS:
            line = f"{line:<31} jt {after + jt}\tjf {after + jf}"
        yield line


def _labelled(program: Program) -> Iterable[str]:
    targets = sorted({target for at, one in enumerate(program) for target in _targets(at, one)})
    for position, instruction in enumerate(program):
        code, jt, jf, k = instruction
        name, operand = _words(instruction, ASM_EXTENSIONS, "#len")
        after = position + 1
        if code == JUMP:
            name, operand = "jmp", f"L{after + k}"
        elif code in CONDITIONAL_JUMPS:
            operand = f"{operand}, L{after + jt}, L{after + jf}"
        elif code == RET | A:
            operand = "a"
        label = f"L{position}:" if position in targets else ""
        yield f"{label:<6} {name:<5} {operand}"


def _targets(position: int, instruction: Instruction) -> tuple[int, ...]:
    code, jt, jf, k = instruction
    if code == JUMP:
        return (position + 1 + k,)
    return (position + 1 + jt, position + 1 + jf) if code in CONDITIONAL_JUMPS else ()


def _words(instruction: Instruction, extensions: dict[int, str], length: str) -> tuple[str, str]:
    """The mnemonic, and its operand but for where it jumps to."""
    code, _, _, k = instruction
    if code in _FIXED:
        name, form = _FIXED[code]
        return name, form.format(k=k, signed=_signed(k))
    if code in (LD | LEN, LDX | LEN):
        return ("ld" if code == LD | LEN else "ldx"), length
    name = _ABSOLUTE[code]
    if k not in extensions:
        return name, f"[{_signed(k)}]"
    return name, f"[{extensions[k]}]" if extensions is TCPDUMP_EXTENSIONS else extensions[k]


def _signed(k: int) -> int:
    return k - (1 << 32) if k >= 1 << 31 else k


_ABSOLUTE: Final = {LD | ABS | size: name for name, size in LOADS.items()}
_FIXED: Final[dict[int, tuple[str, str]]] = {
    **{LD | IND | size: (name, "[x + {signed}]") for name, size in LOADS.items()},
    LD | IMM: ("ld", "#{k:#x}"),
    LDX | IMM: ("ldx", "#{k:#x}"),
    LD | MEM: ("ld", "M[{k}]"),
    LDX | MEM: ("ldx", "M[{k}]"),
    LDX | MSH | B: ("ldxb", "4*([{signed}]&0xf)"),
    **{code: (name, "M[{k}]") for name, code in STORES.items()},
    **{
        ALU | operator | K: (name, "#{k:#x}" if name in _MASKS else "#{signed}")
        for name, operator in ARITHMETIC.items()
    },
    **{ALU | operator | X: (name, "x") for name, operator in ARITHMETIC.items()},
    **{code: (name, "") for name, code in BARE.items()},
    JUMP: ("ja", ""),
    **{JMP | test | K: (name, "#{k:#x}") for name, test in COMPARISONS.items()},
    **{JMP | test | X: (name, "x") for name, test in COMPARISONS.items()},
    RET | K: ("ret", "#{signed}"),
    RET | A: ("ret", ""),
}
