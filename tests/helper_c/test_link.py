"""Whose a new device is, by the kernel's message: the helper's reading of it, and the library's."""

import random
import struct
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from aioprocket._system.rtnetlink import is_owners_alone
from helper_c.builds import HELPER, SANITIZERS, compile_c
from lab.must import require

IFINDEX: Final = 7
OWNER: Final = 1000

Judge = Callable[[Iterable[bytes]], list[bool]]


@pytest.fixture(scope="module", params=["gcc", "clang", "python"])
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Answers for each message whether it says that the device is its owner's alone."""
    if request.param == "python":
        return lambda messages: [is_owners_alone(each, IFINDEX, OWNER) for each in messages]
    files = [Path(__file__).with_name("link_main.c"), HELPER / "link.c"]
    out = tmp_path_factory.mktemp("link") / request.param
    program = compile_c(require(request.param), files, out, *SANITIZERS)

    def ask(messages: Iterable[bytes]) -> list[bool]:
        framed = b"".join(struct.pack("=I", len(each)) + each for each in messages)
        ran = subprocess.run(
            [program, str(IFINDEX), str(OWNER)], input=framed, capture_output=True, check=False
        )
        assert ran.returncode == 0, ran.stderr.decode()
        return [line == b"1" for line in ran.stdout.split()]

    return ask


def attribute(type: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), type) + value + bytes(-len(value) % 4)


def u32(number: int) -> bytes:
    return struct.pack("=I", number)


# linux/if_link.h: IFLA_TUN_…, in the kernel's order.
SAID: dict[str, tuple[int, bytes | None]] = {
    "type": (3, b"\2"),
    "owner": (1, u32(OWNER)),
    "group": (2, None),
    "pi": (4, b"\0"),
    "vnet_hdr": (5, b"\0"),
    "persist": (6, b"\0"),
    "multi_queue": (7, b"\1"),
    "queues": (8, u32(1)),
    "disabled": (9, u32(0)),
}


def message(
    *, kind: bytes = b"tun\0", ifindex: int = IFINDEX, type: int = 16, **changes: bytes | None
) -> bytes:
    """RTM_NEWLINK of a device that is its owner's alone, but for the changes; None: unsaid."""
    said = {name: (number, changes.get(name, value)) for name, (number, value) in SAID.items()}
    data = b"".join(attribute(*each) for each in said.values() if each[1] is not None)  # type: ignore[arg-type]
    info = attribute(1, kind) + attribute(2, data)
    links = attribute(3, b"aio7\0") + attribute(4, u32(1500)) + attribute(18, info)
    body = struct.pack("=BxHiII", 0, 1, ifindex, 0, 0) + links
    return struct.pack("=IHHII", 16 + len(body), type, 0, 1, 0) + body


def test_owners_device_is_known(judge: Judge) -> None:
    assert judge([message(), message() + b"more", message(type=16)]) == [True] * 3


def test_anything_else_is_refused(judge: Judge) -> None:
    wrong = {
        "a foreign queue": message(queues=u32(2)),
        "no queue": message(queues=u32(0)),
        "queues unsaid": message(queues=None),
        "queues of another size": message(queues=b"\1\0"),
        "a foreign queue that rests": message(disabled=u32(1)),
        "resting queues unsaid": message(disabled=None),
        "another owner": message(owner=u32(OWNER + 1)),
        "no owner": message(owner=None),
        "a group": message(group=u32(0)),
        "made to stay": message(persist=b"\1"),
        "whether it stays unsaid": message(persist=None),
        "of one queue": message(multi_queue=b"\0"),
        "of another kind": message(kind=b"tap\0"),
        "kind without its end": message(kind=b"tun"),
        "another device": message(ifindex=IFINDEX + 1),
        "another message": message(type=17),
        "an error": message(type=2),
    }
    assert dict(zip(wrong, judge(wrong.values()), strict=True)) == dict.fromkeys(wrong, False)


def test_a_message_that_is_cut_off_is_refused(judge: Judge) -> None:
    whole = message()
    cut = [whole[:size] for size in range(len(whole))]
    # Its own length cut as well, so that every attribute is left in the air once.
    cut += [struct.pack("=I", size) + whole[4:size] for size in range(4, len(whole))]
    assert not any(judge(cut))


def test_no_nonsense_is_read_beyond_its_end(judge: Judge) -> None:
    # The sanitizers look on.
    chance, whole, altered = random.Random(1), message(), []
    for _ in range(5000):
        each = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            each[chance.randrange(len(each))] = chance.choice((0, 1, 3, 4, 5, 127, 255))
        altered.append(bytes(each))
    assert judge(altered) == [is_owners_alone(each, IFINDEX, OWNER) for each in altered]
