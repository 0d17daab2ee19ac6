"""Messages as no client of ours sends them: how they are refused, and that no more happens."""

import random
import socket
import struct
from collections.abc import Iterator

import pytest

import golden
from helper_client import Kind, Stage, hello, open_request
from hostile.ways import (
    BROKER,
    ENDED_BY_CLIENT,
    ENDED_BY_HELPER,
    Way,
    descriptors,
    resident,
)
from lab.brokers import wait_for

SIZE = 200  # helper/PROTOCOL.md
LONGEST = SIZE + 8 * 4096
AT_VERSION, AT_SIZE, AT_OP, AT_KIND, AT_FLAGS, AT_PROTOCOL, AT_COUNT = 4, 6, 8, 10, 16, 20, 108
EPROTO = 71
SYN = open_request(Kind.TCP4, port=80)
MEM = open_request(Kind.DEVICE, device="mem")


def altered(message: bytes, offset: int, form: str, value: int) -> bytes:
    data = bytearray(message)
    struct.pack_into(form, data, offset, value)
    return bytes(data)


@pytest.mark.hostile(1)
def test_an_empty_message_is_the_end(way: Way) -> None:
    with way.session() as running:
        running.send(b"")
        assert running.receive() is None
        way.ended(running, ENDED_BY_CLIENT)
    way.serves()


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(hello()[:1], marks=pytest.mark.hostile(2), id="one byte"),
        pytest.param(SYN[: SIZE - 1], marks=pytest.mark.hostile(3), id="one too few"),
        pytest.param(bytes(SIZE), marks=pytest.mark.hostile(4), id="zeros"),
        pytest.param(b"\xff" * SIZE, marks=pytest.mark.hostile(5), id="ones"),
        pytest.param(SYN[3::-1] + SYN[4:], marks=pytest.mark.hostile(23), id="magic swapped"),
        pytest.param(
            struct.pack(">100H", *struct.unpack("<100H", SYN)),
            marks=pytest.mark.hostile(23),
            id="all swapped",
        ),
    ],
)
@pytest.mark.parametrize("greet", [True, False], ids=["greeted", "first"])
def test_what_is_not_of_this_protocol_is_not_answered(
    way: Way, message: bytes, greet: bool
) -> None:
    with way.session(greet=greet) as running:
        running.send(message)
        assert running.receive() is None
        way.ended(running, ENDED_BY_HELPER)
    way.serves()


@pytest.mark.hostile(6)
@pytest.mark.parametrize("version", [0, 2, 65535])
def test_another_version_is_told_which_there_is(way: Way, version: int) -> None:
    with way.session(greet=False) as running:
        reply = running.ask(hello(version=version))
        assert reply.refusal == (Stage.VERSION, EPROTO)
        assert (reply.lowest, reply.highest) == (1, 1)
        assert running.receive() is None
        way.ended(running, ENDED_BY_HELPER)


def _faults() -> Iterator[tuple[int, str, bytes]]:
    for size in (0, 199, 201, 65535):
        yield 7, f"size {size}", altered(SYN, AT_SIZE, "<H", size)
    for op in (0, 3, 65535):
        yield 8, f"op {op}", altered(SYN, AT_OP, "<H", op)
    for kind in (0, 14, 256 + Kind.TCP4, 65535):
        yield 9, f"kind {kind}", altered(SYN, AT_KIND, "<H", kind)
    for offset in range(192, SIZE):
        yield 10, f"reserved {offset}", altered(SYN, offset, "<B", 1)
    for bit in range(32):
        if bit not in (0, 1, 4, 5, 8, 12):  # of those, 0 is a value; a port it has
            yield 11, f"flag {bit}", altered(SYN, AT_FLAGS, "<I", 1 << 1 | 1 << bit)
    for name, offset, form in (
        ("address", 24, "<I"), ("interface", 40, "<B"), ("device", 56, "<B"), ("mark", 88, "<I"),
        ("priority", 92, "<I"), ("receive_buffer", 96, "<I"), ("send_buffer", 100, "<I"),
        ("backlog", 104, "<H"), ("mtu", 106, "<H"), ("address_count", 110, "<H"),
        ("addresses", 112, "<B"), ("protocol", AT_PROTOCOL, "<H"),
    ):  # fmt: skip
        yield 12, f"{name} unset", altered(SYN, offset, form, ord("a"))
    filtered = open_request(Kind.PACKET, filter=[(6, 0, 0, 1)] * 2)
    yield 13, "filter missing", filtered[:SIZE]
    yield 13, "filter short", filtered[:-1]
    yield 13, "filter long", filtered + b"\0"
    yield 13, "filter unset", open_request(Kind.PACKET) + bytes(8)
    for count in (4097, 65535):
        longest = open_request(Kind.PACKET, filter=[(6, 0, 0, 1)] * 4096)
        yield 14, f"filter {count}", altered(longest, AT_COUNT, "<H", count)
    yield (
        15,
        "one byte more than the longest",
        open_request(Kind.PACKET, filter=[(6, 0, 0, 1)] * 4096) + b"\0",
    )
    yield 15, "200,000 bytes", SYN + bytes(200_000 - SIZE)
    yield 17, "a second hello", hello()


FAULTS: dict[int, dict[str, bytes]] = {}
for _number, _name, _message in _faults():
    FAULTS.setdefault(_number, {})[_name] = _message


@pytest.mark.parametrize(
    "number", [pytest.param(each, marks=pytest.mark.hostile(each)) for each in FAULTS]
)
def test_a_fault_of_form_ends_the_session(way: Way, number: int) -> None:
    for name, message in FAULTS[number].items():
        with way.session() as running:
            assert running.ask(message).refusal == (Stage.DECODE, EPROTO), name
            assert running.receive() is None, name
            way.ended(running, ENDED_BY_HELPER)
    way.serves()


@pytest.mark.hostile(16)
def test_nothing_is_opened_before_hello(way: Way) -> None:
    for message in golden.good("request"):
        if message["op"] == "hello":
            continue
        with way.session(greet=False) as running:
            assert running.ask(message.data).refusal == (Stage.DECODE, EPROTO), message.name
            assert running.receive() is None
            way.ended(running, ENDED_BY_HELPER)


@pytest.mark.hostile(18)
def test_ten_thousand_in_a_row_leave_nothing(way: Way) -> None:
    with way.session() as running:
        pid = way.worker(running)
        running.granted(Kind.TCP4, port=80)
        running.ask(MEM)  # by its reply, what came before is closed
        before, memory = descriptors(pid), resident(pid)
        for _ in range(10_000):
            running.granted(Kind.TCP4, port=80)
            running.release()
        running.ask(MEM)
        assert descriptors(pid) == before
        assert resident(pid) <= memory + (64 << 10)


@pytest.mark.hostile(18)
@pytest.mark.hostile(79)
def test_a_hundred_thousand_of_four_at_once_leave_nothing(of_broker: Way) -> None:
    way, broker = of_broker, of_broker.running.process.pid
    before = descriptors(broker), resident(broker)
    with (
        way.session() as one, way.session() as two, way.session() as three, way.session() as four
    ):  # fmt: skip
        memory = [resident(child) for child in way.running.children()]
        for _ in range(25_000 // 5):
            for running in (one, two, three, four):
                for _ in range(5):
                    running.send(MEM)
            for running in (one, two, three, four):
                for _ in range(5):
                    reply = running.receive()
                    assert reply is not None
                    assert reply.stage is Stage.POLICY
        for child, was in zip(way.running.children(), memory, strict=True):
            assert len(descriptors(child)) <= 5
            assert resident(child) <= was + (64 << 10)
        for running in (one, two, three, four):
            running.line.close()
        wait_for(lambda: way.running.children() == [])
    assert (descriptors(broker), resident(broker) <= before[1] + (64 << 10)) == (before[0], True)


@pytest.mark.hostile(19)
def test_an_id_that_comes_again_comes_back(way: Way) -> None:
    with way.session() as running:
        for number in (7, 7, 0, 0xFFFFFFFF, 7):
            assert running.granted(Kind.TCP4, port=80, id=number).id == number
            running.release()


@pytest.mark.hostile(20)
def test_bits_flipped_in_good_requests_are_judged_and_no_more(way: Way) -> None:
    # By the million they go through the decoder itself (tests/fuzz).
    chance = random.Random(1)
    seeds = [each.data for each in golden.good("request") if each["op"] == "open"]
    for _ in range(60):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(min(len(data), SIZE))] ^= 1 << chance.randrange(8)
        with way.session() as running:
            running.send(bytes(data))
            reply = running.receive()
            if reply is None or reply.stage in (Stage.DECODE, Stage.VERSION):
                way.ended(running, ENDED_BY_HELPER)
            else:
                assert reply.stage is not Stage.INTERNAL, (reply, bytes(data).hex())
                assert running.open(Kind.DEVICE, device="mem").stage is Stage.POLICY


@pytest.mark.hostile(20)
def test_noise_is_not_answered(way: Way) -> None:
    chance = random.Random(2)
    for size in (1, 16, 199, 200, 208, LONGEST):
        with way.session() as running:
            running.send(chance.randbytes(size))
            assert running.receive() is None
            way.ended(running, ENDED_BY_HELPER)
    way.serves()


@pytest.mark.hostile(21)
@pytest.mark.parametrize("type", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_session_is_of_no_other_type(way: Way, type: socket.SocketKind) -> None:
    if way.name == BROKER:
        assert way.broker is not None
        with (
            socket.socket(socket.AF_UNIX, type) as line,
            pytest.raises(OSError, match="wrong type"),
        ):
            line.connect(str(way.broker.path))
        return
    pair = socket.socketpair(socket.AF_UNIX, type)
    with pair[0], pair[1], way.session(greet=False, pair=pair) as running:
        assert running.process.wait(20) == 64
