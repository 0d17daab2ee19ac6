"""The helper as tools build and run it that see what it does with memory.

They make system calls of their own, so it is built without its filter of system calls; nothing
else of it changes.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

import golden
from helper_c.builds import SANITIZERS, compile_c, sources
from helper_client import Kind, Session, Stage, open_request, session
from hostile.test_sandbox import REQUESTS
from lab.must import require
from sandbox.namespaces import Namespace

# Compilers and valgrind are slow beside other tests.
pytestmark = [pytest.mark.netns, pytest.mark.once, pytest.mark.timeout(180)]

WITHOUT_FILTER: Final = "-DAIOPROCKET_WITHOUT_SECCOMP"
FOUND: Final = 99  # the status by which a tool tells that it found something
# There is no heap that could leak, and the search for leaks is by ptrace, which is forbidden here.
OPTIONS: Final = {
    "ASAN_OPTIONS": f"exitcode={FOUND}:detect_leaks=0:abort_on_error=0",
    "UBSAN_OPTIONS": f"exitcode={FOUND}:print_stacktrace=1",
}


@pytest.fixture(scope="module", params=["gcc", "clang"])
def sanitized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sanitized") / "aioprocket-helper"
    return compile_c(require(request.param), sources(), out, *SANITIZERS, WITHOUT_FILTER)


@pytest.mark.hostile(20)
@pytest.mark.hostile(106)
def test_the_sanitizers_find_nothing_in_any_request(
    sanitized: Path, namespace: Namespace, tun_device: Path, ping_sockets: None
) -> None:
    with session(sanitized, environment=OPTIONS) as helper:
        _serve_all(helper, namespace)
        assert helper.close() == 0


@pytest.mark.hostile(20)
def test_the_sanitizers_find_nothing_in_any_fault(sanitized: Path) -> None:
    chance = random.Random(5)
    for message in _faults(chance):
        with session(sanitized, environment=OPTIONS) as helper:
            helper.send(message)
            reply = helper.receive()
            assert reply is None or reply.stage in (Stage.DECODE, Stage.VERSION)
            assert helper.close() == 1


def test_the_sanitizers_are_there(tmp_path: Path) -> None:
    # Else the two tests above could not fail.
    source = tmp_path / "wrong.c"
    source.write_text(
        "#include <stdlib.h>\nint main(int argc, char **argv)\n"
        "{ int room[2] = { 0 }; (void)argv; return room[argc + 1]; }\n"
    )
    program = compile_c(require("gcc"), [source], tmp_path / "wrong", *SANITIZERS)
    with session(program, greet=False, environment=OPTIONS) as helper:
        assert helper.receive() is None
        assert helper.close() == FOUND


@pytest.mark.hostile(106)
def test_valgrind_finds_nothing(
    tmp_path: Path, namespace: Namespace, tun_device: Path, ping_sockets: None
) -> None:
    valgrind = require("valgrind")
    helper_binary = compile_c(
        require("gcc"), sources(), tmp_path / "helper", "-g", "-O1", WITHOUT_FILTER
    )
    (tmp_path / "known").write_text(KNOWN)
    command = [
        valgrind, "-q", f"--error-exitcode={FOUND}", f"--suppressions={tmp_path / 'known'}",
        str(helper_binary),
    ]  # fmt: skip
    with said_by() as (preexec, said):
        with session(command, preexec=preexec) as helper:
            _serve_all(helper, namespace)
            assert helper.open(Kind.DEVICE, device="mem").stage is Stage.POLICY
            assert helper.close() == 0, said()
        with session(command, preexec=preexec) as helper:
            helper.send(golden.faulty("request")[0].data)
            while helper.receive() is not None:
                pass
            assert helper.close() == 1, said()


# That this ioctl writes to where it is told to, valgrind does not know.
KNOWN: Final = "{\n   NS_GET_OWNER_UID\n   Memcheck:Cond\n   fun:is_own\n   ...\n}\n"


@contextmanager
def said_by() -> Iterator[tuple[Callable[[], object], Callable[[], str]]]:
    """A pipe as standard error: to a file, the helper is not allowed to write a byte."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    try:
        yield lambda: os.dup2(writing, 2), lambda: os.read(reading, 1 << 16).decode()
    finally:
        os.close(reading)
        os.close(writing)


def _serve_all(helper: Session, namespace: Namespace) -> None:
    assert {kind for kind, _ in REQUESTS} == set(Kind)
    for kind, fields in REQUESTS:
        helper.granted(kind, **fields)
        helper.release()
    for kind, fields in REQUESTS[:-1]:
        helper.granted(kind, [namespace.fd], namespace=True, **fields)
        helper.release()
    assert helper.open(Kind.PACKET, interface="nosuch0").stage is Stage.INTERFACE
    assert helper.open(Kind.PACKET, filter=[(0, 0, 0, 0)]).stage is Stage.FILTER
    assert helper.open(Kind.TCP4, port=80, address=bytes([10, 9, 9, 9])).stage is Stage.BIND


def _faults(chance: random.Random) -> Iterator[bytes]:
    yield from (message.data for message in golden.faulty("request"))
    yield from (chance.randbytes(size) for size in (1, 199, 200, 32_968))
    longest = open_request(Kind.PACKET, filter=[(6, 0, 0, 1)] * 4096)
    yield longest + b"\0"
    yield longest[:-1]
