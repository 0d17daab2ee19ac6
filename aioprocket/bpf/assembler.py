"""From text to a program: what ``tcpdump -d`` prints, and the language of the kernel's bpf_asm."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from ..errors import FilterError
from ..spec import MAX_FILTER
from .mnemonics import (
    ARITHMETIC,
    BARE,
    COMPARISONS,
    EXTENSION_WORDS,
    LENGTHS,
    LOADS,
    NEGATED,
    STORES,
)
from .opcodes import ABS, ALU, IMM, IND, JMP, JUMP, LD, LDX, LEN, MEM, MSH, RET, A, B, K, X
from .program import Program

__all__ = ("assemble",)

# A label; or, as tcpdump writes it, the number of an instruction.
_Target: TypeAlias = str | int

_COMMENT = re.compile(r"/\*.*?\*/|;[^\n]*|^[ \t]*#[^\n]*", re.DOTALL | re.MULTILINE)
_LABEL = re.compile(r"([A-Za-z_]\w*)\s*:\s*", re.ASCII)
_NUMBER_OF_LINE = re.compile(r"\(\d+\)\s*")
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NUMBERS: Final = (
    (re.compile(r"([-+]?)0x([0-9a-f]+)", re.IGNORECASE), 16),
    (re.compile(r"([-+]?)0b([01]+)", re.IGNORECASE), 2),
    (re.compile(r"([-+]?)(0[0-7]*)"), 8),
    (re.compile(r"([-+]?)([1-9][0-9]*)"), 10),
)
_IMMEDIATE = re.compile(r"#\s*(.+)")
_PLACE = re.compile(r"\[\s*([^\]\s]+)\s*\]")
_BEHIND_X = re.compile(r"\[\s*%?\s*x\s*\+\s*([^\]\s]+)\s*\]", re.IGNORECASE)
_CELL = re.compile(r"M\s*\[\s*([^\]\s]+)\s*\]", re.IGNORECASE)
_HEADER_LENGTH = re.compile(
    r"4\s*\*\s*\(\s*\[\s*([^\]\s]+)\s*\]\s*&\s*(?:0xf|15)\s*\)", re.IGNORECASE
)
_REGISTER_X = re.compile(r"%?\s*x", re.IGNORECASE)
_REGISTER_A = re.compile(r"%?\s*a", re.IGNORECASE)
_BRANCHES = re.compile(r"(.*?)\s+jt\s+(\d{1,10})\s+jf\s+(\d{1,10})", re.IGNORECASE | re.ASCII)
_MAX_BRANCH: Final = 255


@dataclass(frozen=True, slots=True)
class _Line:
    """One instruction, its jumps still open. ``jumps``: where if true, and if false."""

    number: int
    text: str
    code: int
    k: int = 0
    jumps: tuple[_Target | None, ...] = ()


class _Fault(Exception):
    """What is wrong with a line."""


def assemble(text: str) -> Program:
    """The program that ``text`` is in the language of ``tcpdump -d`` or of bpf_asm.

    One instruction per line. Jumps lead to labels (``drop: ret #0``) or to the numbers of
    instructions, from 0. Comments: ``/* … */``, ``; …``, and lines that begin with ``#``.

    Raises:
        FilterError: It is none; ``text`` is the line and ``position`` the instruction at fault.
    """
    if not isinstance(text, str):
        raise FilterError(f"assembly is a string, not {text!r:.60}", text=str(text))
    lines: list[_Line] = []
    labels: dict[str, int] = {}
    for number, label, instruction in _split(text):
        if label is not None:
            if label in labels:
                _refuse(number, len(lines), label, f"label {label!r} is there twice")
            labels[label] = len(lines)
        if instruction:
            try:
                lines.append(_parse(number, instruction))
            except _Fault as fault:
                _refuse(number, len(lines), instruction, str(fault))
    if not 1 <= len(lines) <= MAX_FILTER:
        raise FilterError(f"a filter has 1 to {MAX_FILTER} instructions, not {len(lines)}")
    return Program(_resolved(position, line, labels) for position, line in enumerate(lines))


def _refuse(number: int, position: int, text: str, why: str) -> NoReturn:
    raise FilterError(f"line {number}: {why}", text=text, position=position)


def _split(text: str) -> Iterator[tuple[int, str | None, str]]:
    """Lines with their numbers: label, instruction; without comments and what tcpdump numbers."""
    text = _COMMENT.sub(lambda found: " " + "\n" * found[0].count("\n"), text)
    for number, line in enumerate(text.split("\n"), 1):
        rest = line.strip()
        while found := _LABEL.match(rest):
            yield number, found[1], ""
            rest = rest[found.end() :]
        if found := _NUMBER_OF_LINE.match(rest):
            rest = rest[found.end() :]
        if rest:
            yield number, None, rest


def _parse(number: int, text: str) -> _Line:
    name, operand = _mnemonic(text)
    if name in COMPARISONS or name in NEGATED:
        code, k, jumps = _comparison(name, operand)
        return _Line(number, text, code, k, jumps)
    if name in ("ja", "jmp"):
        return _Line(number, text, JUMP, jumps=(_target(operand),))
    code, k = _plain(name, operand)
    return _Line(number, text, code, k)


def _mnemonic(text: str) -> tuple[str, str]:
    found = _WORD.match(text)
    if found is None:
        raise _Fault(f"no instruction begins with {text[0]!r}")
    return found[0].lower(), text[found.end() :].strip()


def _plain(name: str, operand: str) -> tuple[int, int]:
    if name in LOADS or name in ("ldi", "ldx", "ldxi", "ldxb"):
        return _load(name, operand)
    if name in STORES:
        return STORES[name], _number(_inside(_CELL, operand, "M[…]"))
    if name in ARITHMETIC:
        if _REGISTER_X.fullmatch(operand):
            return ALU | ARITHMETIC[name] | X, 0
        return ALU | ARITHMETIC[name] | K, _number(_inside(_IMMEDIATE, operand, "#… or x"))
    if name in BARE:
        if operand:
            raise _Fault(f"{name} takes no operand, not {operand!r}")
        return BARE[name], 0
    if name == "ret":
        if not operand or _REGISTER_A.fullmatch(operand):
            return RET | A, 0
        return RET | K, _number(_inside(_IMMEDIATE, operand, "#… or a"))
    raise _Fault(f"there is no instruction {name!r}")


def _load(name: str, operand: str) -> tuple[int, int]:
    register = LDX if name.startswith("ldx") else LD
    if name in ("ldi", "ldxi"):
        return register | IMM, _number(operand.removeprefix("#").strip())
    if name in ("ldx", "ldxb") and (found := _HEADER_LENGTH.fullmatch(operand)):
        return LDX | MSH | B, _number(found[1])
    if name in LOADS:
        if found := _BEHIND_X.fullmatch(operand):
            return LD | IND | LOADS[name], _number(found[1])
        if found := _PLACE.fullmatch(operand):
            return LD | ABS | LOADS[name], _place(found[1])
        if (word := operand.removeprefix("#").strip().lower()) in EXTENSION_WORDS:
            return LD | ABS | LOADS[name], EXTENSION_WORDS[word]
    if name in ("ld", "ldx"):
        if operand.removeprefix("#").strip().lower() in LENGTHS:
            return register | LEN, 0
        if found := _CELL.fullmatch(operand):
            return register | MEM, _number(found[1])
        if found := _IMMEDIATE.fullmatch(operand):
            return register | IMM, _number(found[1])
    raise _Fault(f"{name} cannot load {operand!r}")


def _comparison(name: str, operand: str) -> tuple[int, int, tuple[_Target | None, ...]]:
    if found := _BRANCHES.fullmatch(operand):
        what = found[1]
        jumps: list[_Target | None] = [int(found[2]), int(found[3])]
    else:
        what, *targets = (part.strip() for part in operand.split(","))
        if not 1 <= len(targets) <= 2:
            raise _Fault(f"{name} takes an operand and one or two targets, not {operand!r}")
        jumps = [_target(target) for target in targets]
        jumps += [None] * (2 - len(jumps))
    if name in NEGATED:
        jumps.reverse()
    test = JMP | (NEGATED | COMPARISONS)[name]
    if _REGISTER_X.fullmatch(what):
        return test | X, 0, tuple(jumps)
    return test | K, _number(_inside(_IMMEDIATE, what, "#… or x")), tuple(jumps)


def _target(text: str) -> _Target:
    if text.isdecimal() and text.isascii() and len(text) <= 10:
        return int(text)
    if not _WORD.fullmatch(text):
        raise _Fault(f"{text!r} is neither a label nor the number of an instruction")
    return text


def _inside(pattern: "re.Pattern[str]", operand: str, form: str) -> str:
    found = pattern.fullmatch(operand)
    if found is None:
        raise _Fault(f"operand {operand!r} is not {form}")
    return found[1]


def _place(text: str) -> int:
    word = text.lower()
    return EXTENSION_WORDS[word] if word in EXTENSION_WORDS else _number(text)


def _number(text: str) -> int:
    for pattern, base in _NUMBERS:
        # No number of 32 bits is longer, and int() is slow on what is.
        if (found := pattern.fullmatch(text)) and len(text) <= 40:
            value = int(found[1] + found[2], base)
            if not -(1 << 31) <= value < 1 << 32:
                break
            return value & 0xFFFFFFFF
    raise _Fault(f"{text!r:.50} is no number of 32 bits")


def _resolved(position: int, line: _Line, labels: dict[str, int]) -> tuple[int, int, int, int]:
    offsets = [_offset(position, line, target, labels) for target in line.jumps]
    if len(offsets) == 1:
        return line.code, 0, 0, offsets[0]
    for offset in offsets:
        if offset > _MAX_BRANCH:
            why = f"a conditional jump over {offset} instructions: {_MAX_BRANCH} at most"
            _refuse(line.number, position, line.text, why)
    jt, jf = offsets or (0, 0)
    return line.code, jt, jf, line.k


def _offset(position: int, line: _Line, target: _Target | None, labels: dict[str, int]) -> int:
    if target is None:
        return 0
    if isinstance(target, str):
        if target not in labels:
            _refuse(line.number, position, line.text, f"there is no label {target!r}")
        target = labels[target]
    if target <= position:
        _refuse(line.number, position, line.text, "jumps lead forwards only")
    return target - position - 1
