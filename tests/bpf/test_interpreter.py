"""`Program.run` is the kernel: the same programs on the same packets, in both."""

import ctypes
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import aioprocket
from aioprocket import bpf
from aioprocket.bpf.opcodes import CONDITIONAL_JUMPS, JUMP, OPCODES, RETURNS
from lab.traffic import frame
from sandbox import links

SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
Instruction = tuple[int, int, int, int]

# What a UNIX socket's packet has: no device, no link, nothing set.
EXTENSIONS: Final = [
    int(extension)
    for extension in bpf.Extension
    if extension.name not in ("RXHASH", "CPU", "RANDOM", "PAY_OFFSET")
]
# Folds all of A into 1 to 256, which is what the kernel then keeps of a packet: it can be seen.
FOLD: Final = bpf.assemble(
    "tax\n rsh #16\n xor x\n tax\n rsh #8\n xor x\n and #0xff\n add #1\n ret a"
)
LONG: Final = 300


def attach(sock: socket.socket, program: bpf.Program) -> None:
    packed = program.pack()
    memory = ctypes.create_string_buffer(packed, len(packed))
    fprog = struct.pack("@HP", len(program), ctypes.addressof(memory))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    # Kernels do not take it well when very many filters are freed at once.
    time.sleep(0.002)


class Kernel:
    """One pair of sockets, and the filter of its receiving end."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.near.setblocking(False)

    def kept(self, data: bytes) -> int | None:
        """How many bytes arrive; None: none at all."""
        with suppress(PermissionError):  # the filter drops it
            self.far.send(data)
        try:
            return len(self.near.recv(1 << 16))
        except BlockingIOError:
            return None


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    with made.near, made.far:
        yield made


def kept(program: bpf.Program, data: bytes) -> int | None:
    """What `Kernel.kept` has to be by `Program.run`."""
    result = program.run(data, link=None)
    return None if result == 0 else min(len(data), result)


words = st.integers(0, 0xFFFFFFFF) | st.sampled_from(
    [0, 1, 31, 32, 33, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, 0xFFDFFFFF]
)
constants: dict[int, st.SearchStrategy[int]] = {}
near = st.integers(0, LONG + 4)
for code in OPCODES:
    constants[code] = words | near
for code in (0x20, 0x28, 0x30):  # ld, ldh, ldb [k]
    constants[code] = near | near | near | st.sampled_from(EXTENSIONS) | st.just(0x80000000)
for code in (0x02, 0x03, 0x60, 0x61):  # st, stx, ld M[], ldx M[]
    constants[code] = st.integers(0, 15)
for code in (0x40, 0x48, 0x50):  # [x + k]: k below zero, too
    constants[code] = near | st.integers(0xFFFFFF00, 0xFFFFFFFF)
for code in (0x34, 0x94):  # div, mod
    constants[code] = (words | near).filter(bool)
for code in (0x64, 0x74):  # lsh, rsh
    constants[code] = st.integers(0, 31)
constants[0xB1] = near

CODES: Final = sorted(OPCODES - RETURNS)
instructions = st.sampled_from(CODES).flatmap(
    lambda code: st.tuples(st.just(code), st.integers(0, 2), st.integers(0, 2), constants[code])
)


def complete(body: list[Instruction], seeds: list[int]) -> bpf.Program:
    """All of the scratch memory written at first; A folded at last, wherever a jump leads."""
    begin: list[Instruction] = []
    for cell in range(16):
        begin += [(0x00, 0, 0, seeds[cell % len(seeds)]), (0x02, 0, 0, cell)]
    begin += [(0x00, 0, 0, seeds[0]), (0x01, 0, 0, seeds[-1] % 64)]
    middle = []
    for at, (code, jt, jf, k) in enumerate(body):
        left = len(body) - at - 1
        if code == JUMP:
            k = min(k % 3, left)
        if code not in CONDITIONAL_JUMPS:
            jt = jf = 0
        middle.append((code, min(jt, left), min(jf, left), k))
    return bpf.Program([*begin, *middle, *FOLD])


programs = st.builds(
    complete, st.lists(instructions, max_size=14), st.lists(words, min_size=1, max_size=4)
)
packets = st.binary(min_size=LONG, max_size=LONG) | st.binary(max_size=80)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(programs, st.lists(packets, min_size=1, max_size=8))
@example(bpf.Program([(0x01, 0, 0, 0), (0x3C, 0, 0, 0), *FOLD]), [bytes(LONG)])  # div x, X = 0
@example(bpf.Program([(0x01, 0, 0, 0), (0x9C, 0, 0, 0), *FOLD]), [bytes(LONG)])  # mod x, X = 0
@example(bpf.Program([(0x00, 0, 0, 7), (0x01, 0, 0, 35), (0x6C, 0, 0, 0), *FOLD]), [bytes(LONG)])
@example(bpf.Program([(0x00, 0, 0, 99), (0x01, 0, 0, 33), (0x7C, 0, 0, 0), *FOLD]), [bytes(LONG)])
@example(bpf.Program([(0x00, 0, 0, 9), (0x20, 0, 0, bpf.Extension.IFINDEX), *FOLD]), [bytes(LONG)])
@example(bpf.Program([(0x01, 0, 0, 4), (0x50, 0, 0, 0xFFFFFFFF), *FOLD]), [bytes(range(200)) * 2])
def test_program_does_what_the_kernel_does(
    kernel: Kernel, program: bpf.Program, packets: list[bytes]
) -> None:
    attach(kernel.near, program)

    for data in packets:
        assert kept(program, data) == kernel.kept(data), bpf.disassemble(program)


ATTRIBUTES: Final = struct.pack("=HH4sHH4sHHHH", 8, 1, b"aaaa", 8, 2, b"bbbb", 8, 0x8003, 4, 5)


@pytest.mark.parametrize("word", ["nla", "nlan"])
@pytest.mark.parametrize("start", [0, 8, 16, 20, 21, 24, 300])
def test_netlink_attributes_are_found_as_in_the_kernel(
    kernel: Kernel, word: str, start: int
) -> None:
    data = ATTRIBUTES + bytes(LONG)
    for wanted in (2, 3, 5, 9):
        program = bpf.assemble(f"ldx #{wanted}\n ld #{start}\n ld #{word}\n add #1\n ret a")
        attach(kernel.near, program)

        assert kept(program, data) == kernel.kept(data)


ASKED: Final = (
    "proto", "type", "ifidx", "mark", "queue", "hatype", "vlan_tci", "vlan_avail", "vlan_tpid",
    "len",
)  # fmt: skip


@contextmanager
def listening(ifname: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((ifname, 3))
        sock.settimeout(10)
        yield sock


@pytest.mark.netns
@pytest.mark.parametrize("tag", [None, (0x8100, 0x6005), (0x88A8, 7)])
def test_what_the_kernel_knows_beside_is_in_the_packet(
    veth: tuple[str, str], tag: tuple[int, int] | None
) -> None:
    sent = frame(7) + bytes(600)
    if tag is not None:
        sent = sent[:12] + struct.pack("!HH", *tag) + sent[12:]
    channel = aioprocket.Channel.from_fd(_receiver(veth[1]))
    with listening(veth[1]) as filtered, listening(veth[0]) as far:
        try:
            for word in ASKED:
                for shift in (0, 8):
                    program = bpf.assemble(
                        f"ld #{word}\n rsh #{shift}\n and #0xff\n add #1\n ret a"
                    )
                    attach(filtered, program)
                    far.send(sent)
                    packet = channel.receive_nowait()
                    length = len(filtered.recv(2000))

                    assert length == program.run(packet), (word, shift)
        finally:
            channel.close()


def _receiver(ifname: str) -> int:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
    sock.bind((ifname, 3))
    return sock.detach()


NEGATIVE: Final = (
    "ld [-1048576]", "ldb [-1048567]", "ldh [-2097152]", "ldb [-2097152]", "ldh [-1048572]",
    "ldxb 4*([-1048576]&0xf)\n txa", "ldh [2]", "ldx #12\n ld [x + -1048576]", "ld [-1048577]",
    "ld [-2147483648]",
)  # fmt: skip


@pytest.mark.netns
def test_offsets_from_the_network_and_the_link_header_are_the_kernels() -> None:
    links.set_up("lo")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(10)
        wire.bind(("lo", 0x0800))
        wire.settimeout(10)
        for text in NEGATIVE:
            program = bpf.assemble(f"{text}\n and #0xff\n add #1\n ret a")
            attach(udp, program)
            udp.sendto(bytes(LONG), udp.getsockname())
            data = _whole(wire)
            # Behind the IP header; never less than the UDP header remains.
            expected = program.run(data, start=34, network=14)
            if expected:
                assert len(udp.recv(1000)) == max(8, expected) - 8, text
            else:
                udp.setblocking(False)
                with pytest.raises(BlockingIOError):
                    udp.recv(1000)
                udp.settimeout(10)


def _whole(wire: socket.socket) -> bytes:
    while True:
        data, address = wire.recvfrom(2000)
        if address[2] != 4:  # not the same packet on its way out
            return data


@pytest.mark.parametrize(
    ("text", "packet", "result"),
    [
        ("ret #5", b"", 5),
        ("ret a", b"", 0),
        ("ld #len\n ret a", bytes(9), 9),
        ("ldh [8]\n ret #1", bytes(9), 0),
        ("ldh [7]\n ret #1", bytes(9), 1),
        ("ld #0xffffffff\n add #2\n ret a", b"", 1),
        ("ld #1\n neg\n ret a", b"", 0xFFFFFFFF),
        ("ldb vlan_avail\n ret a", b"", 0),
    ],
)
def test_result_is_the_number_of_bytes_to_keep(text: str, packet: bytes, result: int) -> None:
    assert bpf.assemble(text).run(packet) == result


def test_length_is_that_on_the_wire() -> None:
    program = bpf.assemble("ld #len\n ret a")

    assert program.run(bytes(60), wire_len=1500) == 1500
    assert program.run(aioprocket.Packet(bytes(60), wire_len=1500)) == 1500
    assert program.run(memoryview(bytes(60)), start=14) == 46
