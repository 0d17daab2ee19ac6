"""Runs a checked program on a packet, as the kernel does.

Where libpcap's interpreter and the kernel differ (a shift by 32 and more, which the kernel takes
modulo 32), this is the kernel.

Source: bpf_convert_filter(), bpf_skb_load_helper_32() and what it calls, net/core/filter.c
"""

import struct
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from ..spec import Instruction
from .ancillary import Ancillary, Extension
from .opcodes import (
    ABS,
    ADD,
    ALU,
    AND,
    DIV,
    EXTENSION_BASE,
    IMM,
    IND,
    JEQ,
    JGE,
    JGT,
    JMP,
    JSET,
    JUMP,
    LD,
    LDX,
    LEN,
    LINK_BASE,
    LSH,
    MEM,
    MEMORY_WORDS,
    MISC,
    MOD,
    MSH,
    MUL,
    NEG,
    NETWORK_BASE,
    OR,
    RET,
    RSH,
    ST,
    STX,
    SUB,
    TAX,
    TXA,
    XOR,
    A,
    B,
    H,
    K,
    W,
    X,
)

__all__ = ("Machine",)

_WORD: Final = 0xFFFFFFFF
_SIZES: Final = {W: 4, H: 2, B: 1}
_NLATTR: Final = struct.Struct("=HH")  # struct nlattr: length with this header, type
_NLA_TYPE: Final = 0x3FFF  # NLA_TYPE_MASK, linux/netlink.h


class _Ended(Exception):
    """The program is over before its ret: a load from outside, a division by zero."""


class Machine:
    """The registers, and the packet that they are about.

    Args:
        data: The packet, and what is known to stand in front of it.
        length: What the packet measures, on the wire, from ``start`` on.
        start: Where in ``data`` that begins which the filter sees.
        network: Where in ``data`` the network header begins.
        link: Where in ``data`` the link header begins; None: the packet has none.
        ancillary: What the kernel knows beside.
    """

    __slots__ = ("a", "ancillary", "data", "length", "link", "memory", "network", "start", "x")

    def __init__(
        self,
        data: bytes,
        *,
        length: int,
        start: int,
        network: int,
        link: int | None,
        ancillary: Ancillary,
    ) -> None:
        self.data = data
        self.length = length
        self.start = start
        self.network = network
        self.link = link
        self.ancillary = ancillary
        self.a = 0
        self.x = 0
        self.memory = [0] * MEMORY_WORDS

    def run(self, program: Sequence[Instruction]) -> int:
        """What the program returns: the number of bytes to keep."""
        position = 0
        try:
            while True:
                code, jt, jf, k = program[position]
                position += 1
                if (operation := _OPERATIONS.get(code)) is not None:
                    operation(self, k)
                elif (test := _TESTS.get(code)) is not None:
                    position += jt if test(self, k) else jf
                elif code == JUMP:
                    position += k
                else:
                    return self.a if code == RET | A else k
        except _Ended as end:
            return int(end.args[0])

    def load(self, offset: int, size: int) -> int:
        """Bytes of the packet, in the network's order. ``offset`` is a number of 32 bits."""
        if offset < 1 << 31:
            at = self.start + offset
        elif offset >= NETWORK_BASE:
            at = self.network + offset - NETWORK_BASE
        elif offset >= LINK_BASE and self.link is not None:
            at = self.link + offset - LINK_BASE
        else:
            self.end()
        if at + size > len(self.data):
            self.end()
        return int.from_bytes(self.data[at : at + size])

    def end(self, value: int = 0) -> NoReturn:
        """Stop here, with this result."""
        raise _Ended(value)

    def attribute(self, nested: bool) -> int:
        """Where the netlink attribute of type X is, from offset A on or in the attribute there."""
        data = self.data[self.start :]
        at, left = self.a, len(data) - self.a
        if left < _NLATTR.size:
            return 0
        if nested:
            length, _ = _NLATTR.unpack_from(data, at)
            if not _NLATTR.size <= length <= left:
                return 0
            at, left = at + _NLATTR.size, length - _NLATTR.size
        while left >= _NLATTR.size:
            length, kind = _NLATTR.unpack_from(data, at)
            if not _NLATTR.size <= length <= left:
                return 0
            if kind & _NLA_TYPE == self.x:
                return at
            at += (length + 3) & ~3
            left -= (length + 3) & ~3
        return 0

    def ask(self, extension: int) -> int:
        """The kernel's answer to an extension."""
        match extension:
            case Extension.NLATTR | Extension.NLATTR_NEST:
                return self.attribute(nested=extension == Extension.NLATTR_NEST)
            case Extension.ALU_XOR_X:
                return self.a ^ self.x
            case Extension.VLAN_TAG_PRESENT:
                return int(bool(self.ancillary.vlan_tpid or self.ancillary.vlan_tci))
        known = getattr(self.ancillary, _FIELDS[extension])
        if known is None:
            # No device: the kernel leaves the program with what A holds.
            self.end(self.a)
        return int(known) & _WORD


_FIELDS: Final[dict[int, str]] = {
    Extension.PROTOCOL: "protocol",
    Extension.PKTTYPE: "pkttype",
    Extension.IFINDEX: "ifindex",
    Extension.MARK: "mark",
    Extension.QUEUE: "queue",
    Extension.HATYPE: "hatype",
    Extension.RXHASH: "rxhash",
    Extension.CPU: "cpu",
    Extension.VLAN_TAG: "vlan_tci",
    Extension.PAY_OFFSET: "payload_offset",
    Extension.RANDOM: "random",
    Extension.VLAN_TPID: "vlan_tpid",
}

_Operation = Callable[[Machine, int], None]
_Test = Callable[[Machine, int], bool]


def _load_absolute(size: int) -> _Operation:
    def operation(machine: Machine, k: int) -> None:
        machine.a = machine.ask(k) if k >= EXTENSION_BASE else machine.load(k, size)

    return operation


def _load_indirect(size: int) -> _Operation:
    def operation(machine: Machine, k: int) -> None:
        machine.a = machine.load(machine.x + k & _WORD, size)

    return operation


def _set_a(value: Callable[[Machine, int], int]) -> _Operation:
    def operation(machine: Machine, k: int) -> None:
        machine.a = value(machine, k)

    return operation


def _set_x(value: Callable[[Machine, int], int]) -> _Operation:
    def operation(machine: Machine, k: int) -> None:
        machine.x = value(machine, k)

    return operation


def _store(register: str) -> _Operation:
    def operation(machine: Machine, k: int) -> None:
        machine.memory[k] = getattr(machine, register)

    return operation


def _divide(machine: Machine, by: int) -> int:
    return machine.a // by if by else machine.end()


def _remain(machine: Machine, by: int) -> int:
    return machine.a % by if by else machine.end()


_ARITHMETIC: Final[dict[int, Callable[[Machine, int], int]]] = {
    ADD: lambda machine, by: machine.a + by & _WORD,
    SUB: lambda machine, by: machine.a - by & _WORD,
    MUL: lambda machine, by: machine.a * by & _WORD,
    DIV: _divide,
    MOD: _remain,
    AND: lambda machine, by: machine.a & by,
    OR: lambda machine, by: machine.a | by,
    XOR: lambda machine, by: machine.a ^ by,
    LSH: lambda machine, by: machine.a << (by & 31) & _WORD,
    RSH: lambda machine, by: machine.a >> (by & 31),
}
_COMPARISONS: Final[dict[int, _Test]] = {
    JEQ: lambda machine, by: machine.a == by,
    JGT: lambda machine, by: machine.a > by,
    JGE: lambda machine, by: machine.a >= by,
    JSET: lambda machine, by: bool(machine.a & by),
}


def _by_x(call: Callable[[Machine, int], int]) -> Callable[[Machine, int], int]:
    return lambda machine, _: call(machine, machine.x)


def _tested_by_x(call: _Test) -> _Test:
    return lambda machine, _: call(machine, machine.x)


_OPERATIONS: Final[dict[int, _Operation]] = {
    **{LD | ABS | size: _load_absolute(width) for size, width in _SIZES.items()},
    **{LD | IND | size: _load_indirect(width) for size, width in _SIZES.items()},
    **{ALU | operator | K: _set_a(call) for operator, call in _ARITHMETIC.items()},
    **{ALU | operator | X: _set_a(_by_x(call)) for operator, call in _ARITHMETIC.items()},
    ALU | NEG: _set_a(lambda machine, _: -machine.a & _WORD),
    LD | IMM: _set_a(lambda _, k: k),
    LDX | IMM: _set_x(lambda _, k: k),
    LD | LEN: _set_a(lambda machine, _: machine.length),
    LDX | LEN: _set_x(lambda machine, _: machine.length),
    LD | MEM: _set_a(lambda machine, k: machine.memory[k]),
    LDX | MEM: _set_x(lambda machine, k: machine.memory[k]),
    LDX | B | MSH: _set_x(lambda machine, k: 4 * (machine.load(k, 1) & 0xF)),
    ST: _store("a"),
    STX: _store("x"),
    MISC | TAX: _set_x(lambda machine, _: machine.a),
    MISC | TXA: _set_a(lambda machine, _: machine.x),
}
_TESTS: Final[dict[int, _Test]] = {
    **{JMP | test | K: call for test, call in _COMPARISONS.items()},
    **{JMP | test | X: _tested_by_x(call) for test, call in _COMPARISONS.items()},
}
