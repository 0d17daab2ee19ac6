"""What a responder takes for a request, and what it cannot be told."""

import pytest

from aioprocket.errors import ClosedError, SpecError
from aioprocket.testing import EchoRequest, Responder


def test_responder_that_was_not_entered_has_no_device() -> None:
    with pytest.raises(ClosedError):
        _ = Responder().channel


@pytest.mark.parametrize(
    "told",
    [{"loss": 1.1}, {"duplicates": -1}, {"delay": -0.1}, {"delay": (0, float("nan"))}],
    ids=str,
)
def test_what_cannot_be_told(told: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=next(iter(told))):
        Responder(**told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        bytes(40),
        bytes.fromhex("45000020000000004011") + bytes(22),  # UDP
        bytes.fromhex("4500001c000020004001") + bytes(10) + b"\x08" + bytes(7),  # a first piece
        bytes.fromhex("4100001c000000004001") + bytes(10) + b"\x08" + bytes(7),  # a short header
        bytes.fromhex("4500001c000000004001") + bytes(10) + b"\x00" + bytes(7),  # a reply
        bytes.fromhex("60000000 0008 3a40") + bytes(32) + b"\x81" + bytes(7),
    ],
    ids=bytes.hex,
)
def test_packet_that_is_no_request(packet: bytes) -> None:
    assert EchoRequest.of(packet) is None
