"""What a caller is told to do who may not open what it asked for."""

import asyncio
import ctypes
import os
import shutil
import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from aioprocket.errors import (
    HelperNotFoundError,
    NotPermittedError,
)
from aioprocket.helper import (
    Helper,
    ladder,
)
from aioprocket.spec import PacketSpec, SocketSpec, Spec, TunSpec
from lab.rungs import (
    LOW_PORT,
    PACKET,
    UDP,
    AsNobody,
    close_one,
)
from sandbox.accounts import NOBODY
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.usefixtures("nothing_installed")


def hint_for(spec: Spec, helper: ladder.HelperLike = None) -> str:
    with pytest.raises(NotPermittedError) as caught:
        close_one(spec, helper)
    return caught.value.hint


def raw(protocol: int) -> SocketSpec:
    return SocketSpec(family=socket.AF_INET, type=socket.SOCK_RAW, protocol=protocol)


PING = SocketSpec(family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_ICMP)


@pytest.mark.realroot
@pytest.mark.parametrize(
    ("spec", "advice"),
    [
        (PACKET, "sudo install -D -o root -g aioprocket -m 4750"),
        (LOW_PORT, "sudo groupadd --system --force aioprocket"),
        (PING, "net.ipv4.ping_group_range"),
        (PacketSpec(mark=7), "CAP_NET_ADMIN"),
        (replace(UDP, mark=7), "CAP_NET_ADMIN"),
        (replace(UDP, receive_buffer=1 << 28), "net.core.rmem_max"),
        (replace(UDP, send_buffer=1 << 28), "net.core.wmem_max"),
        (raw(socket.IPPROTO_GRE), "does not grant it"),
        (PacketSpec(namespace="/proc/1/ns/net"), "does not grant it"),
    ],
    ids=[
        "packet", "low port", "ping", "mark after refusal", "mark", "receive", "send", "gre",
        "namespace",
    ],
)  # fmt: skip
def test_advice_without_a_helper_is_what_would_do(
    spec: Spec, advice: str, as_nobody: AsNobody[str], namespace: Namespace
) -> None:
    with namespace.entered():  # a new one, where nobody may have ping sockets yet
        hint = as_nobody(lambda: hint_for(spec))

    assert advice in hint
    assert ("sudo install" in hint) == (spec in (PACKET, LOW_PORT))


@pytest.mark.realroot
def test_closed_tun_device_is_to_be_opened_to_all(
    tun_device: Path, setuid_helper: Path, as_nobody: AsNobody[str]
) -> None:
    tun_device.chmod(0o600)

    assert as_nobody(lambda: hint_for(TunSpec())) == "sudo chmod 0666 /dev/net/tun"
    named = as_nobody(lambda: hint_for(TunSpec(), str(setuid_helper)))
    assert named == "sudo chmod 0666 /dev/net/tun"


@pytest.mark.realroot
def test_port_that_needs_no_helper_is_told_to_who_named_one(
    setuid_helper: Path, as_nobody: AsNobody[str]
) -> None:
    hint = as_nobody(lambda: hint_for(replace(LOW_PORT, port=5353), str(setuid_helper)))

    assert "leave helper= out" in hint


@pytest.mark.realroot
def test_file_capabilities_do_not_enter_a_namespace(
    caps_helper: Path, as_nobody: AsNobody[str]
) -> None:
    spec = PacketSpec(namespace="/proc/self/ns/net")

    assert "setuid variant" in as_nobody(lambda: hint_for(spec, str(caps_helper)))


@pytest.mark.realroot
def test_user_namespace_without_accounts_has_no_use_for_a_setuid_helper(
    as_nobody: AsNobody[str],
) -> None:
    def inside() -> str:
        assert ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER, linux/sched.h
        return hint_for(LOW_PORT)

    assert "user namespace" in as_nobody(inside)


@pytest.mark.realroot
def test_helper_with_some_capabilities_is_told_from_one_with_all(
    caps_helper: Path, stage: Path, as_nobody: AsNobody[str]
) -> None:
    partial = stage / "partial"
    shutil.copy(caps_helper, partial)
    os.chown(partial, 0, NOBODY)
    partial.chmod(0o750)
    only_bind = struct.pack("<IIIII", 0x02000000, 1 << 10, 0, 0, 0)  # struct vfs_cap_data
    os.setxattr(partial, "security.capability", only_bind)

    assert f"=p {partial}" in as_nobody(lambda: hint_for(PACKET, str(partial)))


def test_sudo_without_an_installed_helper_says_what_to_install_for_it() -> None:
    with pytest.raises(HelperNotFoundError) as caught:
        close_one(UDP, "sudo")

    assert "-g root -m 0755" in caught.value.hint
    assert "NOPASSWD:NOSETENV:" in caught.value.hint


@pytest.mark.realroot
def test_no_helper_at_all_says_what_to_install(as_nobody: AsNobody[None]) -> None:
    async def run() -> None:
        async with Helper():
            pass

    with pytest.raises(HelperNotFoundError) as caught:
        as_nobody(lambda: asyncio.run(run()))

    assert "sudo install" in caught.value.hint
