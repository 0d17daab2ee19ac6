from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden
from aioprocket.errors import WireError
from aioprocket.wire.message import Op
from aioprocket.wire.reply import (
    REPLY_SIZE,
    Mode,
    Reply,
    Stage,
    State,
    decode_reply,
    encode_reply,
)
from golden import Golden

OFFSETS = {
    "magic": 0, "version": 4, "size": 6, "op": 8, "stage": 10, "errno": 16, "reserved": 30,
    "name": 36, "mode": 56, "state": 58, "reserved_end": 72,
}  # fmt: skip
# In the order of golden/README.md.
KEYS = (
    "errno", "detail", "port", "domain", "type", "protocol", "ifindex", "name", "lowest",
    "highest", "mode", "state", "uid", "capabilities",
)  # fmt: skip

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    stage = draw(st.sampled_from(Stage))
    return Reply(
        op=draw(st.sampled_from(Op)),
        stage=stage,
        id=draw(u32),
        errno=0 if stage is Stage.OK else draw(st.integers(1, 0xFFFFFFFF)),
        detail=draw(u16),
        port=draw(u16),
        domain=draw(u16),
        type=draw(u16),
        protocol=draw(u16),
        ifindex=draw(u32),
        name=draw(st.just("") | st.from_regex(r"aio[A-Za-z0-9._-]{0,12}", fullmatch=True)),
        lowest=draw(u16),
        highest=draw(u16),
        mode=draw(st.none() | st.sampled_from(Mode)),
        state=draw(st.integers(0, 15).map(State)),
        uid=draw(u32),
        capabilities=draw(st.integers(0, 2**64 - 1)),
    )


def written(reply: Reply) -> list[tuple[str, str]]:
    """The meaning in the form of golden/README.md."""
    found = [
        ("op", reply.op.name.lower()),
        ("stage", reply.stage.name.lower()),
        ("id", str(reply.id)),
    ]
    for key in KEYS:
        value = getattr(reply, key)
        if value:
            found.append((key, written_field(key, value)))
    return found


def written_field(key: str, value: Any) -> str:
    if key == "mode":
        return str(value.name).lower()
    return f"{value:#x}" if key == "capabilities" else f"{value}"


@pytest.mark.parametrize("message", golden.good("reply"), ids=golden.name_of)
def test_golden_reply_is_read(message: Golden) -> None:
    assert written(decode_reply(message.data)) == list(message.meaning)


@pytest.mark.parametrize(
    "message",
    [message for message in golden.good("reply") if message.data[4:6] == b"\x01\x00"],
    ids=golden.name_of,
)
def test_golden_reply_of_our_version_is_written(message: Golden) -> None:
    assert encode_reply(decode_reply(message.data)) == message.data


@pytest.mark.parametrize("message", golden.faulty("reply"), ids=golden.name_of)
def test_golden_fault_is_found_at_its_field(message: Golden) -> None:
    offset = OFFSETS.get(message["fault"], min(len(message.data), REPLY_SIZE))

    with pytest.raises(WireError) as caught:
        decode_reply(message.data)

    assert str(caught.value).startswith(f"{message['fault']}: ")
    assert caught.value.offset == offset


def test_every_stage_and_every_mode_has_a_golden_file() -> None:
    seen = [decode_reply(message.data) for message in golden.good("reply")]

    assert {reply.stage for reply in seen} == set(Stage)
    assert {reply.mode for reply in seen} == {None, *Mode}


@given(replies())
def test_any_reply_survives_the_way_there_and_back(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


@given(st.binary(max_size=120))
def test_random_bytes_raise_nothing_but_wire_errors(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_reply(data)


@given(replies(), st.integers(0, REPLY_SIZE - 1), st.integers(0, 255))
def test_changed_byte_makes_another_reply_or_a_wire_error(
    reply: Reply, position: int, value: int
) -> None:
    message = bytearray(encode_reply(reply))
    message[position] = value
    try:
        decoded = decode_reply(bytes(message))
    except WireError:
        return
    of_another_version = decoded.stage is Stage.VERSION and position in (4, 5)
    # What is read means all the bytes: none is ignored.
    assert of_another_version or encode_reply(decoded) == message
