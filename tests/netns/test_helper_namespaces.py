"""Descriptors from another network, whose namespace travels with the request."""

import os
import pty
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from helper_client import Kind, Session, Stage, open_request, session
from lab.must import require
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.netns

EPERM: Final = 1
SO_NETNS_COOKIE: Final = 71  # asm-generic/socket.h


@pytest.fixture
def helper(helper_binary: Path) -> Iterator[Session]:
    with session(helper_binary) as running:
        yield running


def network_of(opened: socket.socket) -> bytes:
    return opened.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)


def network_here() -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as local:
        return network_of(local)


@pytest.mark.parametrize("kind", [Kind.PACKET, Kind.TCP4, Kind.UDP6])
def test_a_socket_is_opened_in_the_namespace_that_was_sent(
    helper: Session, namespace: Namespace, kind: Kind
) -> None:
    with namespace.entered():
        there = network_here()
    with helper.granted_socket(kind, [namespace.fd], namespace=True) as opened:
        assert network_of(opened) == there != network_here()


def test_the_helper_itself_stays_where_it_is(helper: Session, namespace: Namespace) -> None:
    helper.granted(Kind.TCP4, [namespace.fd], namespace=True, port=80)
    with helper.granted_socket(Kind.TCP4, port=80) as opened:
        assert network_of(opened) == network_here()


def test_interfaces_are_those_of_the_namespace(
    helper: Session, namespace: Namespace, veth: tuple[str, str]
) -> None:
    reply = helper.open(Kind.PACKET, [namespace.fd], namespace=True, interface=veth[0])
    assert reply.stage is Stage.INTERFACE
    assert helper.granted(Kind.PACKET, [namespace.fd], namespace=True, interface="lo").ifindex


def test_replies_keep_their_order(helper: Session, namespace: Namespace) -> None:
    for number in range(16):
        far = number % 2 == 0
        message = open_request(Kind.PACKET, id=number, **({"namespace": True} if far else {}))
        helper.send(message, [namespace.fd] if far else [])
    replies = [helper.receive() for _ in range(16)]
    assert [reply and reply.id for reply in replies] == list(range(16))


def test_nothing_but_a_namespace_is_ever_asked_by_ioctl(
    helper_binary: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    traced = [require("strace"), "-f", "-o", str(trace), "-e", "trace=ioctl", str(helper_binary)]
    ours, theirs = pty.openpty()
    try:
        with session(traced) as helper:
            reply = helper.open(Kind.PACKET, [theirs], namespace=True)
            assert reply.refusal == (Stage.NAMESPACE, EPERM)
    finally:
        os.close(ours)
        os.close(theirs)
    assert "exited with 0" in trace.read_text()
    assert "ioctl(" not in trace.read_text()


def _opened(stack: ExitStack, path: str, flags: int = os.O_RDONLY) -> int:
    fd = os.open(path, flags)
    stack.callback(os.close, fd)
    return fd


def _fifo(stack: ExitStack, folder: Path) -> int:
    os.mkfifo(folder / "fifo")
    return _opened(stack, str(folder / "fifo"), os.O_RDWR)


def _memory(stack: ExitStack) -> int:
    fd = os.memfd_create("aioprocket-test")
    stack.callback(os.close, fd)
    return fd


WRONG: dict[str, Callable[[ExitStack, Session, Path], int]] = {
    "file": lambda stack, helper, folder: _opened(stack, "/etc/passwd"),
    "folder": lambda stack, helper, folder: _opened(stack, "/"),
    "null": lambda stack, helper, folder: _opened(stack, "/dev/null"),
    "fifo": lambda stack, helper, folder: _fifo(stack, folder),
    "memory": lambda stack, helper, folder: _memory(stack),
    "mount namespace": lambda stack, helper, folder: _opened(stack, "/proc/self/ns/mnt"),
    "user namespace": lambda stack, helper, folder: _opened(stack, "/proc/self/ns/user"),
    "pid namespace": lambda stack, helper, folder: _opened(stack, "/proc/self/ns/pid"),
    "path alone": lambda stack, helper, folder: _opened(stack, "/proc/self/ns/net", os.O_PATH),
    "the session itself": lambda stack, helper, folder: helper.line.fileno(),
}


@pytest.mark.parametrize("name", WRONG)
def test_all_else_is_refused_with_one_error(helper: Session, tmp_path: Path, name: str) -> None:
    with ExitStack() as stack:
        fd = WRONG[name](stack, helper, tmp_path)
        reply = helper.open(Kind.PACKET, [fd], namespace=True)
        assert reply.refusal == (Stage.NAMESPACE, EPERM)
        helper.granted(Kind.PACKET)
