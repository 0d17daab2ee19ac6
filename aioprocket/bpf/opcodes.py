"""The opcodes of classic BPF, and what else the kernel's checker knows about single instructions.

Source: linux/bpf_common.h, linux/filter.h; the combinations that exist: chk_code_allowed() in
net/core/filter.c
"""

from typing import Final

# fmt: off
__all__ = (
    "ABS",
    "ADD",
    "ALU",
    "AND",
    "CONDITIONAL_JUMPS",
    "DIV",
    "DIVISIONS",
    "EXTENSIONS",
    "EXTENSION_BASE",
    "IMM",
    "IND",
    "JA",
    "JEQ",
    "JGE",
    "JGT",
    "JMP",
    "JSET",
    "JUMP",
    "LD",
    "LDX",
    "LEN",
    "LINK_BASE",
    "LSH",
    "MEM",
    "MEMORY_LOADS",
    "MEMORY_STORES",
    "MEMORY_WORDS",
    "MISC",
    "MOD",
    "MSH",
    "MUL",
    "NEG",
    "NETWORK_BASE",
    "OPCODES",
    "OR",
    "PACKET_LOADS",
    "RET",
    "RETURNS",
    "RSH",
    "SHIFTS",
    "ST",
    "STX",
    "SUB",
    "TAX",
    "TXA",
    "XOR",
    "A",
    "B",
    "H",
    "K",
    "W",
    "X",
)
# fmt: on

# Classes.
LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
# Sizes and modes of loads.
W, H, B = 0x00, 0x08, 0x10
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
# Operators.
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR = range(0x00, 0xB0, 0x10)
JA, JEQ, JGT, JGE, JSET = range(0x00, 0x50, 0x10)
# Operands: the constant k, X, or (of RET) A.
K, X, A = 0x00, 0x08, 0x10
TAX, TXA = 0x00, 0x80

MEMORY_WORDS: Final = 16  # BPF_MEMWORDS
MEMORY_LOADS: Final = frozenset({LD | MEM, LDX | MEM})
MEMORY_STORES: Final = frozenset({ST, STX})
PACKET_LOADS: Final = frozenset(LD | ABS | size for size in (W, H, B))

DIVISIONS: Final = frozenset({ALU | DIV | K, ALU | MOD | K})
SHIFTS: Final = frozenset({ALU | LSH | K, ALU | RSH | K})

JUMP: Final = JMP | JA
CONDITIONAL_JUMPS: Final = frozenset(
    JMP | test | operand for test in (JEQ, JGT, JGE, JSET) for operand in (K, X)
)
RETURNS: Final = frozenset({RET | K, RET | A})

OPCODES: Final = (
    PACKET_LOADS
    | {LD | IND | size for size in (W, H, B)}
    | {LD | IMM, LD | W | LEN, LDX | IMM, LDX | W | LEN, LDX | B | MSH}
    | MEMORY_LOADS
    | MEMORY_STORES
    | {
        ALU | operator | operand
        for operator in (ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, MOD, XOR)
        for operand in (K, X)
    }
    | {ALU | NEG, JUMP, MISC | TAX, MISC | TXA}
    | CONDITIONAL_JUMPS
    | RETURNS
)

# A packet load from here on does not read the packet but asks the kernel about it: SKF_AD_OFF.
EXTENSION_BASE: Final = 0xFFFFF000
# SKF_AD_PROTOCOL to SKF_AD_VLAN_TPID; 0x0C is SKF_AD_NLATTR, every fourth number is taken.
EXTENSIONS: Final = frozenset(EXTENSION_BASE + offset for offset in range(0, 64, 4))

# Offsets from here on count from the network header, and from the link header: SKF_NET_OFF,
# SKF_LL_OFF. What a socket's filter sees need not begin with either.
NETWORK_BASE: Final = 0xFFF00000
LINK_BASE: Final = 0xFFE00000
