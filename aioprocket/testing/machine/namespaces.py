"""Namespaces: a private machine for this process, and further networks beside it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import kernel, links

__all__ = ("Forbidden", "Namespace", "Privilege", "enter_private", "new_network")

Privilege = Literal["root", "userns"]

_HOW_TO_ALLOW = {
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    "/proc/sys/kernel/unprivileged_userns_clone": (
        "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    "/proc/sys/user/max_user_namespaces": (
        "0", "sysctl -w user.max_user_namespaces=1000"),
}  # fmt: skip


class Forbidden(Exception):
    """This machine does not let us have namespaces of our own.

    Attributes:
        errno: Why not.
        reason: What was tried, and the system's word.
        advice: What would mend it.
    """

    def __init__(self, errno: int, reason: str, advice: str) -> None:
        super().__init__(f"{reason}; {advice}")
        self.errno = errno
        self.reason = reason
        self.advice = advice


def enter_private() -> Privilege:
    """Give this process a network and a mount table of its own; ``lo`` is up in the new network.

    Real root stays real root. Anybody else gets a user namespace too and is root in it, over the
    new network and nothing more. Call it before the first thread is started.

    Raises:
        Forbidden: The kernel said no.
    """
    privilege: Privilege = "root" if _is_real_root() else "userns"
    try:
        if os.geteuid() == 0:
            kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
        else:
            _become_namespace_root()
        # Or what we mount would appear on the whole machine (mount_namespaces(7)).
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        links.set_up("lo")
    except OSError as error:
        raise _forbidden(error) from error
    return privilege


def _forbidden(error: OSError) -> Forbidden:
    reason = f"{error.filename}: {error.strerror}"
    return Forbidden(error.errno or errno.EPERM, reason, _advice(error))


def _is_real_root() -> bool:
    # In a user namespace uid 0 is somebody else outside, and has few other ids to change to.
    inside, outside, count = Path("/proc/self/uid_map").read_text().split()[:3]
    return os.geteuid() == 0 and inside == outside == "0" and int(count) > 65534


def _become_namespace_root() -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
    # The kernel takes a gid_map from an ordinary user only after setgroups is given up.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _advice(error: OSError) -> str:
    if error.errno == errno.EINVAL:
        return "a thread was already running"
    for path, (closed, command) in _HOW_TO_ALLOW.items():
        with suppress(OSError):
            if Path(path).read_text().strip() == closed:
                return f"as root: {command}"
    if error.errno == errno.ENOSPC:  # unshare(2): a limit was reached
        limits = " and ".join(f"user.max_{kind}_namespaces" for kind in ("user", "net", "mnt"))
        return f"as root, by sysctl: larger limits {limits}"
    return (
        "run it as root; in a container give it --privileged, or"
        " --cap-add=SYS_ADMIN --cap-add=NET_ADMIN --security-opt seccomp=unconfined"
        " --security-opt apparmor=unconfined"
    )


@dataclass(frozen=True)
class Namespace:
    """A network namespace, alive while its descriptor is open. ``with`` enters it."""

    fd: int

    @property
    def path(self) -> str:
        """A path by which this and other processes of the same user can open it."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it with this thread; what is opened meanwhile stays in it for ever."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.setns(self.fd, kernel.CLONE_NEWNET)
            try:
                yield
            finally:
                kernel.setns(outside, kernel.CLONE_NEWNET)
        finally:
            os.close(outside)


@contextmanager
def new_network() -> Iterator[Namespace]:
    """Another network beside the one this thread is in, with ``lo`` up, empty otherwise.

    Raises:
        Forbidden: The kernel said no.
    """
    outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
        except OSError as error:
            raise _forbidden(error) from error
        try:
            links.set_up("lo")
            inside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            kernel.setns(outside, kernel.CLONE_NEWNET)
    finally:
        os.close(outside)
    try:
        yield Namespace(inside)
    finally:
        os.close(inside)
