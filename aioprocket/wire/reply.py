"""What the helper answers: good, with a descriptor beside it, or the step that failed and why.

From the tables "Reply", "Stages" and "Reasons of policy" of ``helper/PROTOCOL.md``.
"""

import re
from dataclasses import dataclass
from enum import STRICT, IntEnum, IntFlag
from typing import Any, Final

from ..errors import WireError
from .message import INTERFACE_NAME, MAGIC, VERSION, Layout, Op, decode_name

__all__ = (
    "BY_FILE",
    "REPLY_SIZE",
    "Mode",
    "Reason",
    "Reply",
    "Stage",
    "State",
    "decode_reply",
    "encode_reply",
)


class Stage(IntEnum):
    """How far it came: the step that failed, or OK."""

    OK = 0
    DECODE = 1
    VERSION = 2
    IDENTITY = 3
    POLICY = 4
    NAMESPACE = 5
    SOCKET = 6
    INTERFACE = 7
    OPTION = 8
    BIND = 9
    LISTEN = 10
    FILTER = 11
    DEVICE = 12
    TUN = 13
    ADDRESS = 14
    VERIFY = 15
    INTERNAL = 16


class Reason(IntEnum):
    """Why policy refused: the low byte of `Reply.detail` where the stage is POLICY."""

    KIND = 1
    PROTOCOL = 2
    PORT = 3
    NAME = 4
    DEVICE = 5
    MARK = 6
    BUFFER = 7
    PRIORITY = 8
    NAMESPACE = 9
    EVERYBODY = 10
    FILE = 11
    ADDRESS = 12
    POLICY = 13
    INTERFACE = 14
    FILTER = 15
    LISTEN = 16
    LIMIT = 17


BY_FILE: Final = 1 << 8
"""Beside the reason: a policy file refused, not what is built in."""


class Mode(IntEnum):
    """How the helper got its rights."""

    PLAIN = 1
    SETUID = 2
    CAPABILITIES = 3
    SUDO = 4
    BROKER = 5


class State(IntFlag, boundary=STRICT):
    """What the helper found about its own start, and the sandbox that it is in."""

    NO_NEW_PRIVS = 1 << 0
    AT_SECURE = 1 << 1
    SECCOMP = 1 << 2
    LANDLOCK = 1 << 3


_NOTHING: Final = State(0)

_LAYOUT: Final = Layout(
    magic="I", version="H", size="H", op="H", stage="H", id="I", errno="I", detail="H", port="H",
    domain="H", type="H", protocol="H", reserved="2s", ifindex="I", name="16s", lowest="H",
    highest="H", mode="H", state="H", uid="I", capabilities="Q", reserved_end="24s",
)  # fmt: skip
REPLY_SIZE: Final = _LAYOUT.size
_NO_NAME: Final = re.compile("")
# The fields that are plain numbers: they stand in a Reply under the same names.
_NUMBERS: Final = (
    "id", "errno", "detail", "port", "domain", "type", "protocol", "ifindex", "lowest", "highest",
    "uid", "capabilities",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; what does not apply is zero or empty.

    ``errno`` is Linux's number. ``detail`` is a `Reason`, perhaps with `BY_FILE`, where the stage
    is POLICY, and the bit number of a `kinds.Flag` where it is OPTION. ``domain``, ``type`` and
    ``protocol`` are what the socket itself says (SO_DOMAIN…). ``lowest`` to ``uid`` are HELLO's:
    the versions that the helper speaks, how it was started, for whom. ``capabilities`` is its
    permitted set, one bit each.
    """

    op: Op
    stage: Stage = Stage.OK
    id: int = 0
    errno: int = 0
    detail: int = 0
    port: int = 0
    domain: int = 0
    type: int = 0
    protocol: int = 0
    ifindex: int = 0
    name: str = ""
    lowest: int = 0
    highest: int = 0
    mode: Mode | None = None
    state: State = _NOTHING
    uid: int = 0
    capabilities: int = 0


def encode_reply(reply: Reply) -> bytes:
    """The bytes of a reply; the client's side needs it only to play the helper in tests."""
    return _LAYOUT.pack(
        magic=MAGIC,
        version=VERSION,
        size=_LAYOUT.size,
        op=reply.op,
        stage=reply.stage,
        name=reply.name.encode("ascii"),
        mode=reply.mode or 0,
        state=reply.state,
        **{name: getattr(reply, name) for name in _NUMBERS},
    )


def decode_reply(data: bytes) -> Reply:
    """What the helper answered.

    Raises:
        WireError: This is not a reply of the protocol's version 1. A reply of stage VERSION is
            read whatever its own version: it exists to be understood by the others.
    """
    if len(data) != _LAYOUT.size:
        raise WireError(
            f"length: {len(data)} is not {_LAYOUT.size}", offset=min(len(data), _LAYOUT.size)
        )
    header = _LAYOUT.unpack(data)
    _LAYOUT.check_head(header, any_version=header["stage"] == Stage.VERSION)
    _LAYOUT.check_zero(header, ("reserved", "reserved_end"))
    stage: Stage = _decode_enum(Stage, header, "stage")
    if (stage is Stage.OK) != (header["errno"] == 0):
        raise _LAYOUT.fault("errno", f"{header['errno']} does not go with stage {stage.name}")
    return Reply(
        op=_decode_enum(Op, header, "op"),
        stage=stage,
        name=_decode_device_name(header),
        mode=_decode_enum(Mode, header, "mode") if header["mode"] else None,
        state=_decode_enum(State, header, "state"),
        **{name: header[name] for name in _NUMBERS},
    )


def _decode_enum(enum: Any, header: dict[str, Any], field: str) -> Any:
    try:
        return enum(header[field])
    except ValueError:
        raise _LAYOUT.fault(field, f"{header[field]} is unknown") from None


def _decode_device_name(header: dict[str, Any]) -> str:
    name = decode_name(header["name"], INTERFACE_NAME)
    if name is None:
        name = decode_name(header["name"], _NO_NAME)
    if name is None:
        raise _LAYOUT.fault("name", f"{header['name']!r} is not a name")
    return name
