import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioprocket import bpf
from aioprocket.bpf.opcodes import CONDITIONAL_JUMPS, JUMP, OPCODES, RETURNS
from aioprocket.errors import FilterError
from golden import filters

Instruction = tuple[int, int, int, int]

PROGRAMS = filters.programs()

# Opcodes without an operand, of which k means nothing: ld and ldx #len, neg, tax, txa, ret a.
BARE = {0x80, 0x81, 0x84, 0x07, 0x87, 0x16}
WITH_X = {code for code in OPCODES if code & 0x07 in (0x04, 0x05) and code & 0x08}


def constant(code: int, k: int) -> int:
    """A ``k`` that means something to this opcode, and that the kernel takes."""
    if code in BARE | WITH_X:
        return 0
    if code in (0x02, 0x03, 0x60, 0x61):
        return k % 16
    if code in (0x64, 0x74):
        return k % 32
    if code in (0x34, 0x94):
        return k or 1
    if code in (0x20, 0x28, 0x30) and k >= 0xFFFFF000:
        return 0xFFFFF000 + k % 16 * 4
    return k


def complete(body: list[Instruction]) -> bpf.Program:
    written: list[Instruction] = [(0x02, 0, 0, cell) for cell in range(16)]
    middle = []
    for at, (code, jt, jf, k) in enumerate(body):
        left = len(body) - at - 1
        jumps = (min(jt, left), min(jf, left)) if code in CONDITIONAL_JUMPS else (0, 0)
        middle.append((code, *jumps, min(k, left) if code == JUMP else constant(code, k)))
    return bpf.Program([*written, *middle, (0x06, 0, 0, 0xFFFFFFFF)])


programs = st.builds(
    complete,
    st.lists(
        st.tuples(
            st.sampled_from(sorted(OPCODES)),
            st.integers(0, 255),
            st.integers(0, 255),
            st.integers(0, 0xFFFFFFFF) | st.integers(0, 64) | st.integers(0xFFFFF000, 0xFFFFF03F),
        ),
        max_size=40,
    ),
)


@settings(max_examples=300, deadline=None)
@given(programs, st.sampled_from(["tcpdump", "bpf_asm"]))
def test_text_of_a_program_makes_the_same_program(program: bpf.Program, syntax: str) -> None:
    text = bpf.disassemble(program, syntax)  # type: ignore[arg-type]

    assert bpf.assemble(text) == program
    assert bpf.assemble(text.upper().replace("0X", "0x")) == program


@pytest.mark.parametrize("golden", PROGRAMS, ids=lambda it: f"{it.linktype} {it.expression}")
def test_text_is_what_tcpdump_prints(golden: filters.Compiled) -> None:
    assert bpf.disassemble(bpf.assemble(golden.text)) == golden.text


# From the kernel's Documentation/networking/filter.rst, with what bpf_asm prints for them there.
ARP = """
ldh [12]
jne #0x806, drop
ret #-1
drop: ret #0
"""
SECCOMP = """
ld [4]                  /* offsetof(struct seccomp_data, arch) */
jne #0xc000003e, bad    /* AUDIT_ARCH_X86_64 */
ld [0]                  ; offsetof(struct seccomp_data, nr)
# rt_sigreturn and exit_group
jeq #15, good
jeq #231, good
bad: ret #0             /* SECCOMP_RET_KILL_THREAD */
good: ret #0x7fff0000   /* SECCOMP_RET_ALLOW */
"""


def test_example_of_the_kernels_documentation_is_read() -> None:
    assert bpf.assemble(ARP) == (
        (40, 0, 0, 12), (21, 0, 1, 2054), (6, 0, 0, 4294967295), (6, 0, 0, 0)
    )  # fmt: skip
    assert bpf.assemble(SECCOMP) == (
        (0x20, 0, 0, 4), (0x15, 0, 3, 0xC000003E), (0x20, 0, 0, 0), (0x15, 2, 0, 15),
        (0x15, 1, 0, 231), (6, 0, 0, 0), (6, 0, 0, 0x7FFF0000),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("ld vlan_tci", (0x20, 0, 0, 0xFFFFF02C)),
        ("ld #vlan_tci", (0x20, 0, 0, 0xFFFFF02C)),
        ("ldb [vlanp]", (0x30, 0, 0, 0xFFFFF030)),
        ("ld vlan_pr", (0x20, 0, 0, 0xFFFFF030)),
        ("ld rand", (0x20, 0, 0, 0xFFFFF038)),
        ("ld #len", (0x80, 0, 0, 0)),
        ("ld #pktlen", (0x80, 0, 0, 0)),
        ("ldx len", (0x81, 0, 0, 0)),
        ("ld #0x10", (0x00, 0, 0, 16)),
        ("ldi 0b101", (0x00, 0, 0, 5)),
        ("ldxi #010", (0x01, 0, 0, 8)),
        ("ldh [%x + 14]", (0x48, 0, 0, 14)),
        ("ldb [x+-1]", (0x50, 0, 0, 0xFFFFFFFF)),
        ("ldx 4*([14]&0xf)", (0xB1, 0, 0, 14)),
        ("ldxb 4 * ( [14] & 15 )", (0xB1, 0, 0, 14)),
        ("and %x", (0x5C, 0, 0, 0)),
        ("sub #-1", (0x14, 0, 0, 0xFFFFFFFF)),
        ("neg", (0x84, 0, 0, 0)),
        ("jmp next\nnext:", (0x05, 0, 0, 0)),
        ("jlt #5, 1, 2", (0x35, 1, 0, 5)),
        ("jle x, 2", (0x2D, 0, 1, 0)),
        ("jset #1 jt 2 jf 1", (0x45, 1, 0, 1)),
        ("(000) jeq      #0x800           jt 1\tjf 2", (0x15, 0, 1, 0x800)),
    ],
)
def test_every_way_to_write_an_instruction_is_read(text: str, instruction: Instruction) -> None:
    assert bpf.assemble(f"{text}\n ret a\n ret %a")[0] == instruction


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", None, "1 to 4096 instructions, not 0"),
        ("ret #0\nnop", 1, "line 2: there is no instruction 'nop'"),
        ("ld\nret a", 0, "ld cannot load ''"),
        ("ldxb [4]\nret a", 0, "ldxb cannot load"),
        ("ldx [x+4]\nret a", 0, "ldx cannot load"),
        ("tax #1\nret a", 0, "takes no operand"),
        ("ld [0x1ffffffff]\nret a", 0, "no number of 32 bits"),
        ("ld [08]\nret a", 0, "no number"),
        (f"ld #{'9' * 6000}\nret a", 0, "no number"),
        ("st 4\nret a", 0, "is not M[…]"),
        ("st M[16]\nret a", 0, "words 0 to 15"),
        ("jeq #1\nret a", 0, "one or two targets"),
        ("jeq #1, a, b, c\nret a", 0, "one or two targets"),
        ("jeq #1, gone\nret a", 0, "no label 'gone'"),
        ("back: tax\nja back\nret a", 1, "forwards only"),
        ("ja 0\nret a", 0, "forwards only"),
        ("ja 9\nret a", 0, "behind the end"),
        ("a: tax\na: ret a", 1, "there twice"),
        ("ret #x", 0, "no number"),
        ("ret x", 0, "not #… or a"),
        ("div #0\nret a", 0, "division by zero"),
        ("[12]", 0, "no instruction begins with '['"),
        ("jeq #1, far\n" + "tax\n" * 300 + "far: ret a", 0, "255 at most"),
        ("tax", 0, "ends with ret"),
    ],
)
def test_fault_is_named_with_its_line(text: str, position: int | None, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        bpf.assemble(text)

    assert words in str(caught.value)
    assert caught.value.position == position


def test_hostile_text_is_refused_or_read() -> None:
    choice = random.Random(5)
    pieces = [*filters.programs()[9].text.split(), *ARP.split(), "0x", "(", "*/", "/*", "\n", "é"]
    for _ in range(3000):
        text = "".join(choice.choice(pieces) + choice.choice(" \n") for _ in range(12))
        try:
            bpf.assemble(text)
        except FilterError:
            continue


def test_unknown_syntax_is_refused() -> None:
    with pytest.raises(ValueError, match="none of tcpdump, bpf_asm"):
        bpf.disassemble(bpf.drop_all, "intel")  # type: ignore[arg-type]


def test_every_return_is_written() -> None:
    assert {bpf.assemble(text)[0][0] for text in ("ret a", "ret #1")} == RETURNS
