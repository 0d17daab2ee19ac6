"""The smallest client of the helper, for tests of the helper itself.

It packs its requests by hand from the tables of helper/PROTOCOL.md, so that it can also send what
the package never would, and knows nothing of the package.
"""

import os
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, Final, TypeAlias

__all__ = (
    "BY_FILE",
    "DROP",
    "Flag",
    "Kind",
    "Mode",
    "Reason",
    "Reply",
    "Session",
    "Stage",
    "hello",
    "open_request",
    "refused",
    "run_helper",
    "session",
)

MAGIC: Final = 0x314B5041
SESSION_TIMEOUT: Final = 20.0
DROP: Final = (0x06, 0, 0, 0)  # BPF_RET | BPF_K, linux/filter.h: of the packet, nothing

Command: TypeAlias = Path | Sequence[str | Path]

_REQUEST = struct.Struct("<IHHHHIIHH16s16s32sIIIIHHHH80s8s")
_REPLY = struct.Struct("<IHHHHIIHHHHHHI16sHHHHIQ24s")
_REPLY_FIELDS = (
    "magic", "version", "size", "op", "stage", "id", "errno", "detail", "port", "domain", "type",
    "protocol", "reserved", "ifindex", "name", "lowest", "highest", "mode", "state", "uid",
    "capabilities", "reserved_end",
)  # fmt: skip
_CONTROL_SIZE = socket.CMSG_LEN(4)


class Kind(IntEnum):
    PACKET = 1
    PACKET_DGRAM = 2
    RAW4 = 3
    RAW6 = 4
    PING4 = 5
    PING6 = 6
    TCP4 = 7
    TCP6 = 8
    UDP4 = 9
    UDP6 = 10
    TUN = 11
    TAP = 12
    DEVICE = 13
    ROUTE = 14


class Flag(IntFlag):
    ADDRESS = 1 << 0
    PORT = 1 << 1
    INTERFACE = 1 << 2
    DEVICE = 1 << 3
    MARK = 1 << 4
    PRIORITY = 1 << 5
    RECEIVE_BUFFER = 1 << 6
    SEND_BUFFER = 1 << 7
    BACKLOG = 1 << 8
    MTU = 1 << 9
    FILTER = 1 << 10
    LOCK = 1 << 11
    REUSE_PORT = 1 << 12
    NAMESPACE = 1 << 13
    ADDRESSES = 1 << 14
    UP = 1 << 15
    PERSIST = 1 << 16
    QUEUES = 1 << 17
    OFFLOAD = 1 << 18


class Stage(IntEnum):
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


class Mode(IntEnum):
    PLAIN = 1
    SETUID = 2
    CAPABILITIES = 3
    SUDO = 4


class Reason(IntEnum):
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


BY_FILE: Final = 1 << 8  # beside the reason: a file decided, not what is built in


@dataclass(frozen=True)
class Reply:
    """A reply; ``fd`` is -1 or belongs to whoever asked."""

    op: int
    stage: Stage
    id: int
    errno: int
    detail: int
    port: int
    domain: int
    type: int
    protocol: int
    ifindex: int
    name: str
    lowest: int
    highest: int
    mode: int
    state: int
    uid: int
    capabilities: int
    fd: int

    @property
    def refusal(self) -> tuple[Stage, int]:
        """The stage and the errno; ``(Stage.OK, 0)`` if it is none."""
        return self.stage, self.errno


def hello(id: int = 1, *, version: int = 1) -> bytes:
    """A HELLO."""
    return _pack(version=version, op=1, id=id)


def open_request(kind: int, *, id: int = 2, **fields: Any) -> bytes:
    """An OPEN. ``fields`` are those of the request's table; a flag without field is ``up=True``.

    ``filter`` is a sequence of instructions, ``addresses`` of ``(version, prefix, packed)``.
    """
    flags = Flag(0)
    values: dict[str, Any] = {}
    program: Sequence[tuple[int, int, int, int]] = fields.pop("filter", ())
    protocol = fields.pop("protocol", 0)
    for name, value in fields.items():
        flags |= Flag[name.upper()]
        values[name] = value
    if "addresses" in values:
        items = values.pop("addresses")
        values["address_count"] = len(items)
        values["addresses"] = b"".join(struct.pack("<BBxx16s", *item) for item in items)
    if program:
        flags |= Flag.FILTER
        values["filter_count"] = len(program)
    for name in ("lock", "reuse_port", "namespace", "up", "persist", "queues", "offload"):
        values.pop(name, None)
    header = _pack(op=2, kind=kind, id=id, flags=flags, protocol=protocol, **values)
    return header + b"".join(struct.pack("<HBBI", *one) for one in program)


def _pack(**values: Any) -> bytes:
    fields: dict[str, Any] = {
        "magic": MAGIC, "version": 1, "size": 200, "op": 0, "kind": 0, "id": 0, "flags": 0,
        "protocol": 0, "port": 0, "address": b"", "interface": b"", "device": b"", "mark": 0,
        "priority": 0, "receive_buffer": 0, "send_buffer": 0, "backlog": 0, "mtu": 0,
        "filter_count": 0, "address_count": 0, "addresses": b"", "reserved": b"",
    }  # fmt: skip
    assert set(values) <= set(fields), set(values) - set(fields)
    fields |= values
    for name in ("interface", "device"):
        if isinstance(fields[name], str):
            fields[name] = fields[name].encode()
    return _REQUEST.pack(*fields.values())


@dataclass
class Session:
    """One helper process and the socket to it."""

    line: socket.socket
    process: "subprocess.Popen[bytes]"
    _fds: list[int] = field(default_factory=list)

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send a message, with copies of these descriptors."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"={len(fds)}i", *fds))]
        self.line.sendmsg([message], rights if fds else [])

    def receive(self) -> Reply | None:
        """The next reply; None where the helper has ended the session."""
        try:
            data, ancillary, flags, _ = self.line.recvmsg(
                _REPLY.size + 1, _CONTROL_SIZE, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:  # it left without having read all that we sent
            return None
        fds = [struct.unpack_from("=i", value)[0] for _, _, value in ancillary]
        self._fds += fds
        if not data:
            return None
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        assert len(data) == _REPLY.size
        return _unpack(data, fds)

    def ask(self, message: bytes, fds: Sequence[int] = ()) -> Reply:
        """Send a message and wait for its reply, which must come."""
        self.send(message, fds)
        reply = self.receive()
        assert reply is not None, f"no answer; the helper ended with {self.process.poll()}"
        return reply

    def open(self, kind: int, fds: Sequence[int] = (), **fields: Any) -> Reply:
        """Ask for a descriptor."""
        return self.ask(open_request(kind, **fields), fds)

    def granted(self, kind: int, fds: Sequence[int] = (), **fields: Any) -> Reply:
        """Ask for a descriptor, which must come. It is closed with the session."""
        reply = self.open(kind, fds, **fields)
        assert reply.refusal == (Stage.OK, 0), reply
        return reply

    def granted_socket(self, kind: int, fds: Sequence[int] = (), **fields: Any) -> socket.socket:
        """Ask for a socket, which must come and is the test's to close."""
        return self.socket_of(self.granted(kind, fds, **fields))

    def greeted(self) -> Reply:
        """Say HELLO, which must be welcome."""
        reply = self.ask(hello())
        assert reply.refusal == (Stage.OK, 0), reply
        return reply

    def socket_of(self, reply: Reply) -> socket.socket:
        """The socket that came with a reply, which from now on is the test's to close."""
        self._fds.remove(reply.fd)
        return socket.socket(fileno=reply.fd)

    def forget(self) -> None:
        """Leave the descriptors that came so far to the test, which has closed them."""
        self._fds.clear()

    def release(self) -> None:
        """Close the descriptors that came so far."""
        while self._fds:
            os.close(self._fds.pop())

    def close(self) -> int:
        """End the session; the helper's status."""
        self.line.close()
        self.release()
        return self.process.wait(SESSION_TIMEOUT)


def _unpack(data: bytes, fds: list[int]) -> Reply:
    fields = dict(zip(_REPLY_FIELDS, _REPLY.unpack(data), strict=True))
    assert (fields["magic"], fields["version"], fields["size"]) == (MAGIC, 1, _REPLY.size)
    assert fields["reserved"] == 0
    assert not any(fields["reserved_end"])
    assert (fields["stage"] == 0) == (fields["errno"] == 0)
    # Exactly one descriptor rides on a good reply to OPEN, none on any other.
    assert len(fds) == (fields["op"] == 2 and fields["stage"] == 0), (fields, fds)
    known = {name: value for name, value in fields.items() if name in Reply.__dataclass_fields__}
    known["stage"] = Stage(fields["stage"])
    known["name"] = fields["name"].rstrip(b"\x00").decode()
    return Reply(**known, fd=fds[0] if fds else -1)


@contextmanager
def session(
    command: Command,
    *,
    greet: bool = True,
    environment: Mapping[str, str] | None = None,
    preexec: Callable[[], object] | None = None,
    pass_fds: Sequence[int] = (),
    pair: tuple[socket.socket, socket.socket] | None = None,
) -> Iterator[Session]:
    """A session with a helper that is started for it, greeted unless told otherwise.

    ``pair`` is the session's socket and the helper's, where the test makes them by itself.
    """
    ours, theirs = pair or socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(SESSION_TIMEOUT)
    with theirs:
        process = subprocess.Popen(
            _line(command),
            stdin=theirs.fileno(),
            env=environment or least_environment(_line(command)),
            preexec_fn=preexec,
            pass_fds=pass_fds,
        )
    running = Session(ours, process)
    try:
        if greet:
            running.greeted()
        yield running
    finally:
        try:
            running.close()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def refused(
    command: Command, kind: int = Kind.PACKET, **fields: Any
) -> tuple[tuple[Stage, int], int]:
    """What a session's only request is answered: stage and errno, and the detail."""
    with session(command) as helper:
        reply = helper.open(kind, **fields)
        return reply.refusal, reply.detail


def run_helper(command: Command, **options: Any) -> int:
    """Start the helper with `subprocess` options and wait; its status, without a session."""
    finished = subprocess.run(_line(command), timeout=SESSION_TIMEOUT, **options)
    return int(finished.returncode)


def least_environment(line: Sequence[str | Path]) -> Mapping[str, str]:
    """What `aioprocket` starts a command with; sudo 1.9.17 crashes with nothing."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} if len(line) > 1 else {}


def _line(command: Command) -> list[str | Path]:
    return [command] if isinstance(command, Path) else list(command)
