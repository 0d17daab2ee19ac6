"""A program that the kernel takes: its instructions, checked as the kernel checks them."""

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn, Self, TypeAlias

from ..errors import FilterError
from ..spec import Instruction, filter_instructions
from .ancillary import Ancillary, Received
from .interpreter import Machine
from .opcodes import (
    CONDITIONAL_JUMPS,
    DIVISIONS,
    EXTENSION_BASE,
    EXTENSIONS,
    JUMP,
    MEMORY_LOADS,
    MEMORY_STORES,
    MEMORY_WORDS,
    OPCODES,
    PACKET_LOADS,
    RETURNS,
    SHIFTS,
)

__all__ = ("Program", "ProgramLike", "accept_all", "drop_all")

_SOCK_FILTER: Final = struct.Struct("=HBBI")  # linux/filter.h
_ETHERNET: Final = 14  # ETH_HLEN, linux/if_ether.h
_ALL_CELLS: Final = (1 << MEMORY_WORDS) - 1

# What every `filter=` takes: a Program, which is such a sequence itself, or bare instructions.
ProgramLike: TypeAlias = Iterable[Sequence[int]]


class Program(tuple[Instruction, ...]):
    """The instructions ``(code, jt, jf, k)`` of a filter: a tuple that has been checked.

    What is a `Program`, ``SO_ATTACH_FILTER`` accepts, but for its limits on memory: a program of
    thousands of instructions can exceed ``net.core.optmem_max``, or the reach of a jump once it is
    translated to the kernel's own instructions.

    Raises:
        FilterError: The kernel would refuse it; ``position`` is the instruction at fault.

    Source: bpf_check_classic(), net/core/filter.c
    """

    __slots__ = ()

    def __new__(cls, instructions: Iterable[Sequence[int]]) -> Self:
        """Check ``instructions`` and keep them."""
        program = super().__new__(cls, filter_instructions(instructions))
        for position, instruction in enumerate(program):
            _check_instruction(position, instruction, len(program))
        if program[-1][0] not in RETURNS:
            _refuse(len(program) - 1, program[-1], "a program ends with ret")
        _check_memory(program)
        return program

    def __repr__(self) -> str:
        return f"Program({super().__repr__()})"

    @classmethod
    def of(cls, filter: Iterable[Sequence[int]]) -> "Program":
        """The program that ``filter`` is, or that its instructions make."""
        return filter if isinstance(filter, Program) else cls(filter)

    def pack(self) -> bytes:
        """An array of ``struct sock_filter``, in this machine's order of bytes."""
        return b"".join(_SOCK_FILTER.pack(*instruction) for instruction in self)

    def run(
        self,
        packet: bytes | bytearray | memoryview | Received,
        *,
        wire_len: int | None = None,
        start: int = 0,
        network: int | None = None,
        link: int | None = 0,
        ancillary: Ancillary | None = None,
    ) -> int:
        """What the kernel would make of a packet: how many bytes it would keep; 0: dropped.

        Args:
            packet: Bytes, or an `aioprocket.Packet`, which brings its ``wire_len`` and what it
                knows of ``ancillary``.
            wire_len: The length of a packet of which ``packet`` is only the beginning.
            start: Where in ``packet`` that begins which the filter sees: behind the IP header on a
                socket of UDP.
            network: Where in ``packet`` the network header begins; None: behind 14 bytes of
                Ethernet. ``start``, ``network`` and ``link`` matter to a program that counts from
                them (SKF_NET_OFF, SKF_LL_OFF).
            link: Where the link header begins; None: there is none.
            ancillary: What the kernel knows beside the bytes.
        """
        if isinstance(packet, bytes | bytearray | memoryview):
            data = bytes(packet)
        else:
            data = packet.data
            wire_len = packet.wire_len if wire_len is None else wire_len
            ancillary = Ancillary.of(packet) if ancillary is None else ancillary
        machine = Machine(
            data,
            length=(len(data) if wire_len is None else wire_len) - start,
            start=start,
            network=_ETHERNET if network is None else network,
            link=link,
            ancillary=Ancillary() if ancillary is None else ancillary,
        )
        return machine.run(self)


def _refuse(position: int, instruction: Instruction, why: str, hint: str = "") -> NoReturn:
    raise FilterError(
        f"instruction {position}: {why}", text=repr(instruction), position=position, hint=hint
    )


def _check_instruction(position: int, instruction: Instruction, count: int) -> None:
    code, jt, jf, k = instruction
    if code not in OPCODES:
        _refuse(position, instruction, f"opcode 0x{code:02x} does not exist")
    elif code in DIVISIONS and k == 0:
        _refuse(position, instruction, "division by zero")
    elif code in SHIFTS and k >= 32:
        _refuse(position, instruction, f"a shift by {k}, of 32 bits")
    elif code in MEMORY_LOADS | MEMORY_STORES and k >= MEMORY_WORDS:
        _refuse(position, instruction, f"memory has words 0 to {MEMORY_WORDS - 1}, not {k}")
    elif code in PACKET_LOADS and k >= EXTENSION_BASE and k not in EXTENSIONS:
        _refuse(position, instruction, f"no extension of the kernel is at 0x{k:08x}")
    # Offsets are unsigned: a jump can only lead forwards, and only its end needs a check.
    elif code == JUMP:
        _check_target(position, instruction, k, count)
    elif code in CONDITIONAL_JUMPS:
        _check_target(position, instruction, max(jt, jf), count)


def _check_target(position: int, instruction: Instruction, offset: int, count: int) -> None:
    if position + 1 + offset >= count:
        _refuse(
            position,
            instruction,
            f"a jump to {position + 1 + offset}, behind the end at {count}",
            hint="offsets count from the instruction that follows",
        )


def _check_memory(program: Program) -> None:
    # The kernel does not clear the scratch memory, so on every path to a load there must be a
    # store. Jumps lead forwards only: one pass in order sees each instruction after all that
    # lead to it. written[i] holds the cells that are written on every way to i, as bits.
    written = [_ALL_CELLS] * len(program)
    here = 0
    for position, instruction in enumerate(program):
        code, jt, jf, k = instruction
        here &= written[position]
        if code in MEMORY_STORES:
            here |= 1 << k
        elif code in MEMORY_LOADS and not here >> k & 1:
            _refuse(position, instruction, f"memory word {k} is read before it is written")
        elif code == JUMP or code in CONDITIONAL_JUMPS:
            for offset in (k,) if code == JUMP else (jt, jf):
                written[position + 1 + offset] &= here
            # What follows a jump is reached by jumps only.
            here = _ALL_CELLS


drop_all: Final = Program([(0x06, 0, 0, 0)])
accept_all: Final = Program([(0x06, 0, 0, 0x40000)])  # more bytes than any packet has
