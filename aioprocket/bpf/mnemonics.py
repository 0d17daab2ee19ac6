"""The words of assembly: those of tcpdump, and those of the kernel's bpf_asm.

Source: bpf_image.c of libpcap; Documentation/networking/filter.rst of the kernel
"""

from typing import Final

from .ancillary import Extension
from .opcodes import (
    ADD,
    ALU,
    AND,
    DIV,
    JEQ,
    JGE,
    JGT,
    JSET,
    LSH,
    MISC,
    MOD,
    MUL,
    NEG,
    OR,
    RSH,
    ST,
    STX,
    SUB,
    TAX,
    TXA,
    XOR,
    B,
    H,
    W,
)

__all__ = (
    "ARITHMETIC",
    "ASM_EXTENSIONS",
    "BARE",
    "COMPARISONS",
    "EXTENSION_WORDS",
    "LENGTHS",
    "LOADS",
    "NEGATED",
    "STORES",
    "TCPDUMP_EXTENSIONS",
)

LOADS: Final = {"ld": W, "ldh": H, "ldb": B}
STORES: Final = {"st": ST, "stx": STX}
ARITHMETIC: Final = {
    "add": ADD, "sub": SUB, "mul": MUL, "div": DIV, "mod": MOD, "or": OR, "and": AND,
    "lsh": LSH, "rsh": RSH, "xor": XOR,
}  # fmt: skip
BARE: Final = {"neg": ALU | NEG, "tax": MISC | TAX, "txa": MISC | TXA}
COMPARISONS: Final = {"jeq": JEQ, "jgt": JGT, "jge": JGE, "jset": JSET}
# The machine has no such test, but the opposite.
NEGATED: Final = {"jne": JEQ, "jneq": JEQ, "jlt": JGE, "jle": JGT}
LENGTHS: Final = frozenset({"len", "pktlen"})

TCPDUMP_EXTENSIONS: Final[dict[int, str]] = {
    Extension.PROTOCOL: "proto",
    Extension.PKTTYPE: "type",
    Extension.IFINDEX: "ifidx",
    Extension.NLATTR: "nla",
    Extension.NLATTR_NEST: "nlan",
    Extension.MARK: "mark",
    Extension.QUEUE: "queue",
    Extension.HATYPE: "hatype",
    Extension.RXHASH: "rxhash",
    Extension.CPU: "cpu",
    Extension.ALU_XOR_X: "xor_x",
    Extension.VLAN_TAG: "vlan_tci",
    Extension.VLAN_TAG_PRESENT: "vlanp",
    Extension.PAY_OFFSET: "poff",
    Extension.RANDOM: "random",
    Extension.VLAN_TPID: "vlan_tpid",
}
# bpf_asm has no word for XOR_X: it is written as a number.
ASM_EXTENSIONS: Final = {
    place: {"vlanp": "vlan_avail", "random": "rand"}.get(name, name)
    for place, name in TCPDUMP_EXTENSIONS.items()
    if name != "xor_x"
}
EXTENSION_WORDS: Final = {
    **{name: place for place, name in TCPDUMP_EXTENSIONS.items()},
    **{name: place for place, name in ASM_EXTENSIONS.items()},
    "vlan_pr": int(Extension.VLAN_TAG_PRESENT),
}
