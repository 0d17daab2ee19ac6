"""TUN devices for a caller without privilege, in every way of starting the helper."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import Kind, Stage, refused, session
from lab.accounts import Unprivileged
from sandbox import kernel, links
from sandbox.accounts import NOBODY

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

EPERM: Final = 1


def test_a_device_is_made_for_the_caller(
    installed: list[str], as_nobody: Unprivileged, stage: Path
) -> None:
    def ask() -> Any:
        with session(installed) as helper:
            made = helper.open(
                Kind.TUN,
                interface="aio9",
                addresses=[(4, 24, bytes([198, 18, 98, 1]))],
                up=True,
                persist=True,
                queues=True,
            )
            again = helper.open(Kind.TUN, interface="aio9", queues=True)
            return made.refusal, again.refusal

    with _tun_for_all(stage):
        assert as_nobody(ask) == ((Stage.OK, 0), (Stage.OK, 0))
    with _sysfs(stage) as folder:
        assert (folder / "class/net/aio9/owner").read_text() == f"{NOBODY}\n"
    links.delete_link("aio9")


def test_a_device_file_that_is_not_the_callers_to_open_stays_closed(
    setuid_helper: Path, as_nobody: Unprivileged, stage: Path
) -> None:
    with _tun_for_all(stage, mode=0o600):
        answer = as_nobody(lambda: refused(setuid_helper, Kind.TUN))
    assert answer == ((Stage.DEVICE, errno.EACCES), 0)


def test_a_device_that_would_believe_routers_is_not_granted(
    installed: list[str], as_nobody: Unprivileged, stage: Path
) -> None:
    read_only = kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY
    kernel.mount("/proc/sys", "/proc/sys", None, kernel.MS_BIND)
    try:
        kernel.mount(None, "/proc/sys", None, read_only)
        with _tun_for_all(stage):
            refusal = as_nobody(lambda: refused(installed, Kind.TUN, up=True))[0]
    finally:
        kernel.unmount("/proc/sys")

    assert refusal == (Stage.ADDRESS, errno.EROFS)


def test_a_device_too_small_for_ipv6_is_not_granted(
    installed: list[str], as_nobody: Unprivileged, stage: Path
) -> None:
    # With a larger MTU, whoever sets it, it would have IPv6 anew, and believe routers.
    with _tun_for_all(stage):
        small, large = (
            as_nobody(partial(refused, installed, Kind.TUN, mtu=mtu))[0] for mtu in (1279, 1280)
        )

    assert (small, large) == ((Stage.ADDRESS, EPERM), (Stage.OK, 0))


def test_a_holder_does_not_give_ipv6_back_to_a_device(
    setuid_helper: Path, as_nobody: Unprivileged, stage: Path
) -> None:
    settings = Path("/proc/sys/net/ipv6/conf/aio9")
    ask = partial(refused, setuid_helper, Kind.TUN, interface="aio9", queues=True)
    with _tun_for_all(stage):
        assert as_nobody(partial(ask, persist=True, up=True))[0] == (Stage.OK, 0)
        try:
            links.set_mtu("aio9", 1000)
            assert as_nobody(partial(ask, mtu=1500))[0] == (Stage.ADDRESS, EPERM)
            assert not settings.exists()

            links.set_mtu("aio9", 1500)
            assert (settings / "accept_ra").read_text() == "1\n"
            assert as_nobody(partial(ask, mtu=1400))[0] == (Stage.OK, 0)
            assert (settings / "accept_ra").read_text() == "0\n"
        finally:
            links.delete_link("aio9")


@contextmanager
def _tun_for_all(stage: Path, mode: int = 0o666) -> Iterator[None]:
    """/dev/net/tun with another mode, in this mount namespace alone."""
    node = stage / "tun"
    os.mknod(node, 0o020000 | mode, os.makedev(10, 200))
    node.chmod(mode)
    kernel.mount(str(node), "/dev/net/tun", None, kernel.MS_BIND)
    try:
        yield
    finally:
        kernel.unmount("/dev/net/tun")
        node.unlink()


@contextmanager
def _sysfs(stage: Path) -> Iterator[Path]:
    """The sysfs of this network; the one on /sys is of the machine's."""
    folder = stage / "sys"
    folder.mkdir()
    kernel.mount("sysfs", str(folder), "sysfs", 0)
    try:
        yield folder
    finally:
        kernel.unmount(str(folder))
        folder.rmdir()
