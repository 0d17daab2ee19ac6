"""Networks that are the account's own, and what a helper leaves in them."""

import errno
import fcntl
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import BY_FILE, Kind, Reason, Session, Stage, open_request, session
from hostile.ways import CAPABILITIES, STRANGER, Way, as_account
from lab.brokers import wait_for
from lab.policies import run_as
from sandbox import kernel
from sandbox.namespaces import Namespace

TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI, IFF_MULTI_QUEUE = 0x0001, 0x1000, 0x0100
ALL: Final = (0x06, 0, 0, 0x40000)  # BPF_RET | BPF_K, linux/filter.h: the whole packet


@contextmanager
def own_network(
    by_account: Callable[[Callable[[], Any]], Any] = as_account,
) -> Iterator[Namespace]:
    """A network of a user namespace that the account has made, as ``unshare -Un`` would."""
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def make() -> None:
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
            with open("/proc/self/ns/net", "rb") as network:
                socket.send_fds(theirs, [b"n"], [network.fileno()])

        by_account(make)
        _, [fd], _, _ = socket.recv_fds(ours, 1, 1)
    try:
        yield Namespace(fd)
    finally:
        os.close(fd)


def _on_its_way(running: Session, child: int, network: Namespace) -> int:
    """The process that a broker's child has for a request in another network, still at it."""
    below = Path(f"/proc/{child}/task/{child}/children")
    # It waits for what other processors have in hand, some milliseconds.
    asked = open_request(Kind.RAW4, protocol=1, filter=[ALL], namespace=True)
    while True:
        running.send(asked, [network.fd])
        while not select.select([running.line], [], [], 0)[0]:
            if found := below.read_text().split():
                return int(found[0])
        running.receive()
        running.release()


@pytest.mark.hostile(110)
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "stopped without its parent"])
def test_nothing_that_a_client_stops_is_left_of_a_session(of_broker: Way, killed: bool) -> None:
    with own_network() as network, of_broker.session() as running:
        child = of_broker.running.only_child()
        there = _on_its_way(running, child, network)
        if killed:
            os.kill(child, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(there, signal.SIGSTOP)
        wait_for(lambda: not Path(f"/proc/{there}").exists())
        if not killed:
            reply = running.receive()
            # It may have been done just before.
            assert reply is not None
            assert reply.refusal in ((Stage.OK, 0), (Stage.INTERNAL, errno.EIO))
    of_broker.serves()


@pytest.mark.hostile(112)
@pytest.mark.parametrize("named", [True, False])
def test_a_new_device_in_an_own_network_is_nobody_elses(
    way: Way, tun_device: Path, named: bool
) -> None:
    fields = {"interface": "aio7"} if named else {}
    with own_network() as network, way.session() as running:
        if way.name == CAPABILITIES:  # which are those for sockets and devices
            refused = running.open(Kind.TUN, [network.fd], namespace=True)
            assert refused.refusal == (Stage.NAMESPACE, errno.EPERM)
            return
        made = running.granted(Kind.TUN, [network.fd], namespace=True, queues=True, **fields)

        def attach() -> int:
            flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE
            with open(tun_device, "rb+", buffering=0) as another:
                wanted = struct.pack("=16sH22x", made.name.encode(), flags)
                try:
                    fcntl.ioctl(another, TUNSETIFF, wanted)
                except OSError as error:
                    return error.errno or -1
                return 0

        with network.entered():
            assert run_as(attach, STRANGER, STRANGER) == errno.EPERM
        # Of its maker's own it takes as many as he asks for.
        running.granted(Kind.TUN, [network.fd], namespace=True, queues=True, interface=made.name)


def _as_stranger(function: Callable[[], Any]) -> Any:
    return run_as(function, STRANGER, STRANGER)


def _in_container(function: Callable[[Namespace], Any], helper: bytes) -> Any:
    """Call it as the account in a container that he has made, and that keeps his number.

    As ``podman run --userns=keep-id`` makes one: the user namespace is his, the network belongs to
    it. ``/helper`` is a setuid one there, whose policy grants packet sockets in networks of his
    own. The function is called with one that he made inside.
    """
    told, tells = os.pipe()
    waits, mapped = os.pipe()

    def give_numbers() -> None:
        pid = int(os.read(told, 16))
        for kind in ("uid_map", "gid_map"):
            numbers = f"0 100000 {STRANGER}\n{STRANGER} {STRANGER} 1\n"
            Path(f"/proc/{pid}/{kind}").write_text(numbers)
        os.write(mapped, b"x")

    def contained() -> Any:
        kernel.unshare(kernel.CLONE_NEWUSER)
        os.write(tells, str(os.getpid()).encode())
        os.read(waits, 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        with own_network(_as_stranger) as below:
            _change_root(helper)
            return _as_stranger(lambda: function(below))

    try:
        with ThreadPoolExecutor(1) as pool:
            numbers = pool.submit(give_numbers)
            answer = _as_stranger(contained)
            numbers.result()
            return answer
    finally:
        for fd in (told, tells, waits, mapped):
            os.close(fd)


def _change_root(helper: bytes) -> None:
    """To one whose folders are root's here; the machine's belong to numbers that are nobody's."""
    root = Path("/tmp")
    kernel.mount("tmpfs", str(root), "tmpfs", 0, "mode=0755")
    for name in ("proc", "dev", "usr", "lib", "lib64"):
        if Path("/", name).exists():
            (root / name).mkdir()
            kernel.mount(f"/{name}", str(root / name), None, kernel.MS_BIND | kernel.MS_REC)
    (root / "helper").write_bytes(helper)
    (root / "helper").chmod(0o4755)
    (root / "etc/aioprocket").mkdir(parents=True)
    policy = root / "etc/aioprocket/policy"
    policy.write_text(f"version 1\nallow uid={STRANGER} packet netns=own\n")
    policy.chmod(0o644)
    os.chroot(root)
    os.chdir("/")


@pytest.mark.netns
@pytest.mark.realroot
@pytest.mark.hostile(111, "setuid")
def test_the_network_of_a_container_is_not_its_makers_inside(helper_binary: Path) -> None:
    def ask(below: Namespace) -> list[tuple[Stage, int]]:
        with session(["/helper"]) as running, open("/proc/self/ns/net", "rb") as here:
            replies = [
                running.open(Kind.PACKET),
                running.open(Kind.PACKET, [here.fileno()], namespace=True),
                running.open(Kind.PACKET, [below.fd], namespace=True),
            ]
            return [(reply.stage, reply.detail) for reply in replies]

    assert _in_container(ask, helper_binary.read_bytes()) == [
        (Stage.POLICY, Reason.NAMESPACE | BY_FILE),
        (Stage.NAMESPACE, 0),
        (Stage.OK, 0),
    ]
