"""The helper's decoder in C against the golden bytes, and against the one in Python."""

import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import golden
from aioprocket.errors import WireError
from aioprocket.wire.kinds import TAKES
from aioprocket.wire.request import decode_request, encode_hello
from golden import Golden
from helper_c.decoder import Decoder

HEADER_SIZE = 200
LONGEST = HEADER_SIZE + 4096 * 8
AT_FILTER_COUNT = 108
AT_FLAGS = 16

# The decoder is the same process for all examples, and keeps nothing from one to the next.
patient = settings(
    deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
good_messages = st.sampled_from([message.data for message in golden.good("request")])


@pytest.mark.parametrize("message", golden.good("request"), ids=golden.name_of)
def test_a_request_means_in_c_what_its_golden_file_says(decoder: Decoder, message: Golden) -> None:
    assert decoder.decode(message.data) == [f"{key}: {value}" for key, value in message.meaning]


@pytest.mark.parametrize("message", golden.faulty("request"), ids=golden.name_of)
def test_a_faulty_request_gets_the_answer_of_its_golden_file(
    decoder: Decoder, message: Golden
) -> None:
    assert decoder.decode(message.data) == [f"answer: {message['answer']}"]


@pytest.mark.parametrize(
    "message",
    # Ours speaks one version, and says so in its own.
    [reply for reply in golden.good("reply") if reply.name != "hello-version-of-version-2"],
    ids=golden.name_of,
)
def test_a_reply_has_in_c_the_bytes_of_its_golden_file(decoder: Decoder, message: Golden) -> None:
    assert decoder.encode_reply(message.meaning) == message.data


@pytest.mark.parametrize("reserved", range(192, HEADER_SIZE))
def test_each_reserved_byte_must_be_zero(decoder: Decoder, reserved: int) -> None:
    message = bytearray(golden.load("request", "packet").data)
    message[reserved] = 1
    assert decoder.decode(bytes(message)) == ["answer: decode"]


@pytest.mark.parametrize("bit", range(32))
@pytest.mark.parametrize("name", ["packet", "raw4-icmp", "tcp6-any", "udp4-any", "tun", "device"])
@pytest.mark.hostile(11)
def test_each_flag_alone_is_judged_as_in_python(decoder: Decoder, name: str, bit: int) -> None:
    message = bytearray(golden.load("request", name).data)
    flags = struct.unpack_from("<I", message, AT_FLAGS)[0]
    struct.pack_into("<I", message, AT_FLAGS, flags ^ 1 << bit)
    assert _is_good_in_c(decoder, bytes(message)) == _is_good_in_python(bytes(message))


@pytest.mark.hostile(11)
def test_every_kind_takes_exactly_the_flags_of_the_table(decoder: Decoder) -> None:
    for kind, taken in TAKES.items():
        for bit in range(18):
            message = bytearray(_filled(int(kind), 1 << bit))
            # What needs company, a lock or a device's name, is not this test's matter.
            if bit == 11 or kind == 13:
                continue
            assert _is_good_in_c(decoder, bytes(message)) == bool(taken & 1 << bit), (kind, bit)


@pytest.mark.parametrize("count", [1, 4095, 4096])
def test_a_filter_may_have_up_to_4096_instructions(decoder: Decoder, count: int) -> None:
    message = _with_filter(count) + bytes(8 * count)
    lines = decoder.decode(message)
    assert lines.count("filter: 0 0 0 0") == count


@pytest.mark.parametrize("count", [0, 4097, 65535])
def test_a_filter_of_another_length_is_a_fault(decoder: Decoder, count: int) -> None:
    message = (_with_filter(count) + bytes(8 * count))[: LONGEST + 1]
    assert decoder.decode(message) == ["answer: decode"]


@pytest.mark.parametrize("size", [0, 1, 15, 16, 128, 199])
def test_a_message_shorter_than_a_header_is_not_answered(decoder: Decoder, size: int) -> None:
    assert decoder.decode(encode_hello()[:size]) == ["answer: none"]


@pytest.mark.parametrize("data", [bytes(HEADER_SIZE), b"\xff" * HEADER_SIZE, b"\xff" * LONGEST])
def test_bytes_without_our_magic_are_not_answered(decoder: Decoder, data: bytes) -> None:
    assert decoder.decode(data) == ["answer: none"]


@patient
@given(
    message=good_messages,
    changes=st.lists(st.tuples(st.integers(0, HEADER_SIZE - 1), st.integers(0, 255)), max_size=3),
    cut=st.one_of(st.none(), st.integers(0, HEADER_SIZE + 16)),
)
@example(message=encode_hello(), changes=[], cut=None)
@pytest.mark.hostile(20)
def test_damaged_messages_are_judged_alike_in_c_and_python(
    decoder: Decoder, message: bytes, changes: list[tuple[int, int]], cut: int | None
) -> None:
    damaged = bytearray(message)
    for position, value in changes:
        damaged[position] = value
    data = bytes(damaged[:cut])
    assert _is_good_in_c(decoder, data) == _is_good_in_python(data)


@patient
@given(st.binary(max_size=LONGEST))
@pytest.mark.hostile(20)
def test_random_bytes_behind_our_magic_are_never_a_request(decoder: Decoder, noise: bytes) -> None:
    data = encode_hello()[:4] + noise
    assert _is_good_in_c(decoder, data) == _is_good_in_python(data)


def _is_good_in_c(decoder: Decoder, data: bytes) -> bool:
    return not decoder.decode(data)[0].startswith("answer: ")


def _is_good_in_python(data: bytes) -> bool:
    try:
        decode_request(data)
    except WireError:
        return False
    return True


def _with_filter(count: int) -> bytes:
    message = bytearray(golden.load("request", "packet").data)
    struct.pack_into("<I", message, AT_FLAGS, 1 << 10)
    struct.pack_into("<H", message, AT_FILTER_COUNT, count)
    return bytes(message)


def _filled(kind: int, flag: int) -> bytes:
    """An OPEN with one flag, and a value in this flag's field that any kind would take."""
    fields = {
        1 << 0: (24, b"\x7f\x00\x00\x01"),
        1 << 1: (22, b"\x35\x00"),
        1 << 2: (40, b"aio0"),
        1 << 3: (56, b"net/tun"),
        1 << 6: (96, b"\x01"),
        1 << 7: (100, b"\x01"),
        1 << 9: (106, b"\x00\x05"),
        1 << 10: (AT_FILTER_COUNT, b"\x01"),
        1 << 14: (110, b"\x01\x00\x04\x18\x00\x00\x0a"),
    }
    message = bytearray(golden.load("request", "packet").data)
    struct.pack_into("<H", message, 10, kind)
    struct.pack_into("<I", message, AT_FLAGS, flag)
    if flag in fields:
        offset, value = fields[flag]
        message[offset : offset + len(value)] = value
    return bytes(message) + (bytes(8) if flag == 1 << 10 else b"")
