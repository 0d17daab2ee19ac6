"""The opcodes of classic BPF, and what else the kernel's checker knows about single instructions.

Source: linux/bpf_common.h, linux/filter.h; the combinations that exist: chk_code_allowed() in
net/core/filter.c
"""

from typing import Final

__all__ = (
    "CONDITIONAL_JUMPS",
    "DIVISIONS",
    "EXTENSIONS",
    "EXTENSION_BASE",
    "JUMP",
    "MEMORY_LOADS",
    "MEMORY_STORES",
    "MEMORY_WORDS",
    "OPCODES",
    "PACKET_LOADS",
    "RETURNS",
    "SHIFTS",
)

# Classes.
_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
# Sizes and modes of loads.
_W, _H, _B = 0x00, 0x08, 0x10
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
# Operators.
_ADD, _SUB, _MUL, _DIV, _OR, _AND, _LSH, _RSH, _NEG, _MOD, _XOR = range(0x00, 0xB0, 0x10)
_JA, _JEQ, _JGT, _JGE, _JSET = range(0x00, 0x50, 0x10)
# Operands: the constant k, X, or (of RET) A.
_K, _X, _A = 0x00, 0x08, 0x10
_TAX, _TXA = 0x00, 0x80

MEMORY_WORDS: Final = 16  # BPF_MEMWORDS
MEMORY_LOADS: Final = frozenset({_LD | _MEM, _LDX | _MEM})
MEMORY_STORES: Final = frozenset({_ST, _STX})
PACKET_LOADS: Final = frozenset(_LD | _ABS | size for size in (_W, _H, _B))

DIVISIONS: Final = frozenset({_ALU | _DIV | _K, _ALU | _MOD | _K})
SHIFTS: Final = frozenset({_ALU | _LSH | _K, _ALU | _RSH | _K})

JUMP: Final = _JMP | _JA
CONDITIONAL_JUMPS: Final = frozenset(
    _JMP | test | operand for test in (_JEQ, _JGT, _JGE, _JSET) for operand in (_K, _X)
)
RETURNS: Final = frozenset({_RET | _K, _RET | _A})

OPCODES: Final = (
    PACKET_LOADS
    | {_LD | _IND | size for size in (_W, _H, _B)}
    | {_LD | _IMM, _LD | _W | _LEN, _LDX | _IMM, _LDX | _W | _LEN, _LDX | _B | _MSH}
    | MEMORY_LOADS
    | MEMORY_STORES
    | {
        _ALU | operator | operand
        for operator in (_ADD, _SUB, _MUL, _DIV, _OR, _AND, _LSH, _RSH, _MOD, _XOR)
        for operand in (_K, _X)
    }
    | {_ALU | _NEG, JUMP, _MISC | _TAX, _MISC | _TXA}
    | CONDITIONAL_JUMPS
    | RETURNS
)

# A packet load from here on does not read the packet but asks the kernel about it: SKF_AD_OFF.
EXTENSION_BASE: Final = 0xFFFFF000
# SKF_AD_PROTOCOL to SKF_AD_VLAN_TPID; 0x0C is SKF_AD_NLATTR, every fourth number is taken.
EXTENSIONS: Final = frozenset(EXTENSION_BASE + offset for offset in range(0, 64, 4))
