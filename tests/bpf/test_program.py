import copy
import ctypes
import pickle
import socket
import struct
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aioprocket import bpf
from aioprocket.bpf.opcodes import OPCODES
from aioprocket.bpf.program import Program
from aioprocket.errors import FilterError
from aioprocket.spec import PacketSpec

SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h

Instruction = tuple[int, int, int, int]

# linux/bpf_common.h
RET_K, RET_A, RET_X = 0x06, 0x16, 0x0E
LD_IMM, LD_ABS_W, LD_ABS_B, LD_IND_H, LD_MEM, LD_LEN = 0x00, 0x20, 0x30, 0x48, 0x60, 0x80
LDX_IMM, LDX_MEM, LDX_MSH = 0x01, 0x61, 0xB1
ST, STX = 0x02, 0x03
ADD_K, DIV_K, DIV_X, MOD_K, LSH_K, LSH_X, RSH_K, NEG = (
    0x04,
    0x34,
    0x3C,
    0x94,
    0x64,
    0x6C,
    0x74,
    0x84,
)
JA, JEQ_K, JGT_K, JGE_X, JSET_K = 0x05, 0x15, 0x25, 0x3D, 0x45
TAX, TXA = 0x07, 0x87

DROP: Instruction = (RET_K, 0, 0, 0)


def kernel_takes(instructions: list[Instruction]) -> bool:
    """Whether the kernel attaches this, asked on a socket that needs no privilege."""
    array = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    )
    program = struct.pack("@HP", len(instructions), ctypes.addressof(array))
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        try:
            near.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        except OSError:
            return False
    return True


def package_takes(instructions: list[Instruction]) -> bool:
    try:
        Program(instructions)
    except FilterError:
        return False
    return True


# Mostly what means something, so that long programs have a chance: targets that are near, words of
# memory that exist; and the edges of what means nothing.
codes = st.sampled_from(sorted(OPCODES)) | st.integers(0, 0x1FF) | st.integers(0, 0xFFFF)
offsets = st.integers(0, 3) | st.integers(0, 255)
constants = (
    st.integers(0, 3)
    | st.sampled_from([15, 16, 31, 32, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
    | st.integers(0xFFFFEFFC, 0xFFFFF044)
    | st.integers(0, 0xFFFFFFFF)
)
likely = st.tuples(
    st.sampled_from(sorted(OPCODES)), st.integers(0, 2), st.integers(0, 2), constants
)
memory = st.tuples(
    st.sampled_from([ST, STX, LD_MEM, LDX_MEM, JA, JEQ_K]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 2),
)
anything = st.tuples(codes, offsets, offsets, constants)
bodies = (
    st.lists(memory, max_size=10) | st.lists(likely, max_size=8) | st.lists(anything, max_size=4)
)
programs = st.builds(
    lambda body, end: [*body, *end],
    bodies,
    st.just([DROP]) | st.just([DROP, DROP, DROP]) | st.lists(anything, min_size=1, max_size=1),
)


@settings(max_examples=600, deadline=None)
@given(programs)
@example([(LD_ABS_W, 0, 0, 0xFFFFFFFF), DROP])
@example([(JA, 0, 0, 0xFFFFFFFF), DROP])
def test_program_is_taken_exactly_when_the_kernel_takes_it(program: list[Instruction]) -> None:
    assert package_takes(program) == kernel_takes(program)


def test_opcodes_are_those_that_the_kernel_knows() -> None:
    known = {
        code for code in range(0x200) if kernel_takes([(ST, 0, 0, 1), (code, 0, 0, 1), DROP, DROP])
    }

    assert known == OPCODES


def test_extensions_are_those_that_the_kernel_knows() -> None:
    places = range(0xFFFFF000 - 4, 0xFFFFF000 + 72)
    known = {place for place in places if kernel_takes([(LD_ABS_W, 0, 0, place), DROP])}

    assert {place for place in places if package_takes([(LD_ABS_W, 0, 0, place), DROP])} == known


@pytest.mark.parametrize("count", [1, 4096])
def test_shortest_and_longest_program_is_taken(count: int) -> None:
    assert package_takes([DROP] * count)
    assert kernel_takes([DROP] * count)


@pytest.mark.parametrize("count", [0, 4097])
def test_program_of_another_length_is_refused(count: int) -> None:
    with pytest.raises(FilterError, match=f"1 to 4096 instructions, not {count}"):
        Program([DROP] * count)
    assert not kernel_takes([DROP] * count)


FAULTS: dict[str, tuple[list[Instruction], int, str]] = {
    "opcode": ([(LD_IMM, 0, 0, 0), (RET_X, 0, 0, 0), DROP], 1, "opcode 0x0e does not exist"),
    "division": ([(DIV_K, 0, 0, 0), DROP], 0, "division by zero"),
    "remainder": ([(MOD_K, 0, 0, 0), DROP], 0, "division by zero"),
    "left shift": ([(LSH_K, 0, 0, 32), DROP], 0, "a shift by 32"),
    "right shift": ([(RSH_K, 0, 0, 33), DROP], 0, "a shift by 33"),
    "store": ([(ST, 0, 0, 16), DROP], 0, "words 0 to 15, not 16"),
    "load": ([(LDX_MEM, 0, 0, 16), DROP], 0, "words 0 to 15, not 16"),
    "extension": ([(LD_ABS_B, 0, 0, 0xFFFFF001), DROP], 0, "no extension of the kernel"),
    "jump": ([(JA, 0, 0, 1), DROP], 0, "a jump to 2, behind the end at 2"),
    "backward jump": ([(JA, 0, 0, 0xFFFFFFFF), DROP], 0, "a jump to 4294967296"),
    "jump if true": ([DROP, (JEQ_K, 1, 0, 0), DROP], 1, "a jump to 3, behind the end at 3"),
    "jump if false": ([(JGE_X, 0, 255, 0), DROP], 0, "a jump to 256, behind the end at 2"),
    "no end": ([DROP, (TAX, 0, 0, 0)], 1, "ends with ret"),
    "memory never written": ([(LD_MEM, 0, 0, 3), DROP], 0, "word 3 is read before"),
    "memory written on one way only": (
        [(JSET_K, 0, 1, 1), (ST, 0, 0, 2), (LD_MEM, 0, 0, 2), DROP],
        2,
        "word 2 is read before",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_fault_is_named_with_its_place(case: str) -> None:
    program, position, words = FAULTS[case]

    with pytest.raises(FilterError) as caught:
        Program(program)

    assert words in str(caught.value)
    assert caught.value.position == position
    assert caught.value.text == repr(program[position])
    assert not kernel_takes(program)


def test_memory_written_on_both_ways_can_be_read() -> None:
    program = [(JGT_K, 0, 2, 1), (ST, 0, 0, 2), (JA, 0, 0, 1), (STX, 0, 0, 2), (LD_MEM, 0, 0, 2)]

    assert package_takes([*program, (RET_A, 0, 0, 0)])
    assert kernel_takes([*program, (RET_A, 0, 0, 0)])


@pytest.mark.parametrize(
    "program",
    [
        [(LSH_K, 0, 0, 31), DROP],
        [(LSH_X, 0, 0, 99), DROP],
        [(DIV_X, 0, 0, 0), DROP],
        [(LD_ABS_W, 0, 0, 0xFFF00000), DROP],
        [(LD_IND_H, 0, 0, 0xFFFFFFFF), DROP],
        [(LDX_MSH, 0, 0, 0), (LDX_IMM, 0, 0, 1), (LD_LEN, 0, 0, 0), (NEG, 0, 0, 0), DROP],
        [(ADD_K, 0, 0, 0), (TXA, 9, 9, 9), DROP],
    ],
)
def test_what_looks_wrong_and_is_not_is_taken(program: list[Instruction]) -> None:
    assert package_takes(program)
    assert kernel_takes(program)


@pytest.mark.parametrize(
    ("instructions", "position"),
    [
        ("ip", None),
        (5, None),
        ([DROP, (6, 0, 0)], 1),
        ([6], 0),
        ([(0x10000, 0, 0, 0)], 0),
        ([(6, 256, 0, 0)], 0),
        ([(6, 0, -1, 0)], 0),
        ([(6, 0, 0, 1 << 32)], 0),
        ([(6, 0, 0, "0")], 0),
    ],
    ids=["text", "number", "three", "no sequence", "code", "jt", "jf", "k", "no number"],
)
def test_what_is_no_instruction_is_refused(instructions: Any, position: int | None) -> None:
    with pytest.raises(FilterError) as caught:
        Program(instructions)

    assert caught.value.position == position


def test_program_is_a_tuple_of_its_instructions() -> None:
    program = Program(iter([[LD_LEN, 0, 0, 0], (RET_A, 0, 0, 0)]))

    assert program == ((LD_LEN, 0, 0, 0), (RET_A, 0, 0, 0))
    assert hash(program) == hash(tuple(program))
    assert len(program) == 2
    assert program[1] == (RET_A, 0, 0, 0)
    assert repr(program) == "Program(((128, 0, 0, 0), (22, 0, 0, 0)))"


def test_program_of_a_program_is_itself() -> None:
    program = Program.of([DROP])

    assert Program.of(program) is program
    assert program == Program([DROP])


def test_program_survives_pickle_and_copy() -> None:
    program = Program([DROP])

    for copied in (pickle.loads(pickle.dumps(program)), copy.deepcopy(program)):
        assert isinstance(copied, Program)
        assert copied == program


def test_spec_takes_a_program_as_its_filter() -> None:
    assert PacketSpec(filter=Program([DROP])).filter == (DROP,)


def test_packed_program_is_what_the_kernel_reads() -> None:
    program = Program([(JEQ_K, 1, 0, 0x0806), DROP, (RET_K, 0, 0, 0xFFFF)])

    assert struct.unpack("=HBBIHBBIHBBI", program.pack()) == (
        JEQ_K, 1, 0, 0x0806,
        RET_K, 0, 0, 0,
        RET_K, 0, 0, 0xFFFF,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("program", "received"),
    [(bpf.drop_all, None), (bpf.accept_all, b"x" * 9000)],
    ids=["drop_all", "accept_all"],
)
def test_constant_does_what_its_name_says(program: Program, received: bytes | None) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        array = ctypes.create_string_buffer(program.pack())
        near.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("@HP", len(program), ctypes.addressof(array)),
        )
        near.setblocking(False)
        far.send(b"x" * 9000)

        assert receive_now(near) == received


def receive_now(sock: socket.socket) -> bytes | None:
    try:
        return sock.recv(65535)
    except BlockingIOError:
        return None
