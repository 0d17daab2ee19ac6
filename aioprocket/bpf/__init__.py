"""Classic BPF: programs that the kernel runs on each packet before a socket receives it.

The machine has an accumulator A, an index register X, 16 words of scratch memory and no loops. A
program ends with the number of bytes of the packet to keep: 0 drops it.
"""

from .ancillary import Ancillary, Extension
from .assembler import assemble
from .disassembler import disassemble
from .program import Program, ProgramLike, accept_all, drop_all

__all__ = (
    "Ancillary",
    "Extension",
    "Program",
    "ProgramLike",
    "accept_all",
    "assemble",
    "disassemble",
    "drop_all",
)
