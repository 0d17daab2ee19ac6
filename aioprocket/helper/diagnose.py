"""Why a helper that is there cannot be executed, or has no privilege; and what changes it."""

import errno
import grp
import os
import pwd
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from .install import CAPABILITIES, how_to_grant_in_place, how_to_join, is_for_root_alone
from .place import why_unfit

__all__ = (
    "LOAD_TUN",
    "NEEDED_CAPABILITIES",
    "OUT_OF",
    "WIDEN_PING_RANGE",
    "Diagnosis",
    "has_capability",
    "has_file_capabilities",
    "has_own_capabilities",
    "why_filtered",
    "why_no_sudo",
    "why_no_user_namespace",
    "why_none_can_help",
    "why_not_executable",
    "why_not_joined",
    "why_partial",
    "why_unprivileged",
)

# The reason, and what to do about it.
Diagnosis: TypeAlias = tuple[str, str]

_CAPABILITY_NAMES: Final = {10: "cap_net_bind_service", 12: "cap_net_admin", 13: "cap_net_raw"}
NEEDED_CAPABILITIES: Final = sum(1 << bit for bit in _CAPABILITY_NAMES)  # linux/capability.h
WIDEN_PING_RANGE: Final = 'sudo sysctl -w net.ipv4.ping_group_range="0 2147483647"'
LOAD_TUN: Final = "modprobe tun; in a container: --device /dev/net/tun"
# What this process, or the machine, has no more of.
OUT_OF: Final = {
    errno.EMFILE: "this process has as many descriptors as it may have: ulimit -n says how many",
    errno.ENFILE: "the machine has as many open files as it may have: sysctl fs.file-max",
}
# What forbids user namespaces, by which value; and one that does not.
_USER_NAMESPACES: Final = (
    ("user.max_user_namespaces", "0", "1000"),
    ("user.max_net_namespaces", "0", "1000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)
_WIDEN_BOUNDING_SET: Final = (
    "in a container: docker run --cap-add=NET_RAW --cap-add=NET_ADMIN; in a service: "
    "CapabilityBoundingSet= with CAP_NET_RAW CAP_NET_ADMIN CAP_NET_BIND_SERVICE"
)
# struct vfs_cap_data, linux/capability.h: magic, then permitted and inheritable, low and high.
_FILE_CAPABILITIES: Final = struct.Struct("<II")


def why_not_executable(path: str) -> Diagnosis | None:
    """Why this process cannot execute an installed helper; None: it can."""
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{path}: {os.strerror(error.errno or errno.EIO)}", ""
    if stat.S_ISDIR(status.st_mode):
        return f"{path} is a folder", ""
    if os.access(path, os.X_OK):
        return None
    if not status.st_mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
        return f"{path} is executable by nobody", how_to_grant_in_place(path)
    if not status.st_mode & (stat.S_IXGRP | stat.S_IXOTH):
        return f"{path} is executable by its owner only", how_to_grant_in_place(path)
    if status.st_gid == 0 or not is_for_root_alone(path):
        # Never into root's group: much else is open to it.
        return f"{path} is for the group {_group_name(status.st_gid)}, which you are not in", (
            how_to_grant_in_place(path)
        )
    return why_not_joined(path, status.st_gid)


def why_not_joined(path: str, gid: int) -> Diagnosis:
    """What keeps this process from what is a group's, which it is not in."""
    group = _group_name(gid)
    if _joined_since(gid):
        return (
            f"{path} is for the group {group}, which you joined after you logged in",
            f"log in again; or, in this terminal: newgrp {group}",
        )
    return f"{path} is for the group {group}, which you are not in", how_to_join(group)


def why_unprivileged(path: str) -> Diagnosis | None:
    """Why a helper that runs has no privilege; None: it should have."""
    found = why_none_can_help()
    if found is not None:
        return found
    try:
        status = os.stat(path)
        unfit = why_unfit(Path(path).resolve())
    except OSError:
        return None
    if not (status.st_mode & stat.S_ISUID and status.st_uid == 0) and not has_file_capabilities(
        path
    ):
        return (
            f"{path} has neither root's setuid bit nor file capabilities",
            how_to_grant_in_place(path),
        )
    if unfit is not None:
        return f"{path} has no effect below {unfit.path}: {unfit.words}", unfit.command
    return None


def why_none_can_help() -> Diagnosis | None:
    """Why no program on disk can gain privilege for this process; None: one could."""
    if _in_narrow_user_namespace():
        return (
            "this process is inside a user namespace that has no other account, and there a "
            "setuid helper gains nothing",
            "leave the user namespace; or make a network namespace in it (unshare -Urn), where "
            "its root needs no helper; or use the broker's socket",
        )
    if _status_field("NoNewPrivs") == "1":
        return (
            "this process has no_new_privs set, and no program that it starts can gain privilege",
            "take NoNewPrivileges= out of the service, or --security-opt=no-new-privileges from "
            "the container; or use the broker's socket",
        )
    if not _capabilities("CapBnd") & NEEDED_CAPABILITIES:
        return (
            "neither this process nor a program that it starts can have a capability of the "
            "network: the bounding set has none",
            _WIDEN_BOUNDING_SET,
        )
    return None


def why_filtered() -> Diagnosis | None:
    """Why a socket is refused to a process that has the capability; None: it has not."""
    if not has_capability("cap_net_raw"):
        return None
    if _status_field("Seccomp") == "2":
        return (
            "this process has cap_net_raw: a seccomp filter forbids the socket",
            "in a container: --security-opt seccomp=PROFILE with one that permits the socket; in "
            "a service: RestrictAddressFamilies= and SystemCallFilter= have to permit it",
        )
    return (
        "this process has cap_net_raw in a user namespace of its own, which does not count for "
        "the network outside",
        "make a network namespace in it: unshare -Urn",
    )


def why_no_sudo() -> Diagnosis:
    """What to do where there is no sudo."""
    return "there is no sudo on the PATH", "as root: apt install sudo (dnf, pacman, apk likewise)"


def why_no_user_namespace() -> Diagnosis | None:
    """Why this process may not make a user namespace; None: nothing is known to forbid it."""
    for setting, forbidding, permitting in _USER_NAMESPACES:
        try:
            value = Path("/proc/sys", *setting.split(".")).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value == forbidding:
            return f"{setting} is {value}", f"sudo sysctl -w {setting}={permitting}"
    if _status_field("Seccomp") == "2":
        return (
            "a seccomp filter forbids user namespaces, as containers' do",
            "in a container: --security-opt seccomp=PROFILE, and permit clone and unshare in it",
        )
    return None


def has_capability(name: str) -> bool:
    """Whether this process has a capability now."""
    bit = next(bit for bit, each in _CAPABILITY_NAMES.items() if each == name)
    return bool(_capabilities("CapEff") >> bit & 1)


def why_partial(path: str, capabilities: int) -> Diagnosis | None:
    """Which capabilities a helper lacks that has some; None: it has what it needs."""
    missing = [name for bit, name in _CAPABILITY_NAMES.items() if not capabilities >> bit & 1]
    if not missing:
        return None
    outside = [
        name
        for bit, name in _CAPABILITY_NAMES.items()
        if name in missing and not _capabilities("CapBnd") >> bit & 1
    ]
    if outside:
        return f"the bounding set has no {', '.join(outside)}", _WIDEN_BOUNDING_SET
    if not is_for_root_alone(path):
        return f"{path} has no {', '.join(missing)}", how_to_grant_in_place(path)
    return f"{path} has no {', '.join(missing)}", f"sudo setcap {CAPABILITIES} {path}"


def has_own_capabilities() -> bool:
    """Whether a program without privilege, started by this process, will have capabilities."""
    # execve(2) gives root its permitted set again; anybody else keeps the ambient one alone.
    field = "CapEff" if os.geteuid() == 0 else "CapAmb"
    return bool(_capabilities(field) & NEEDED_CAPABILITIES)


def _capabilities(field: str) -> int:
    """One of the sets of this process, proc_pid_status(5)."""
    return int(_status_field(field) or "0", 16)


def _joined_since(gid: int) -> bool:
    """Whether the caller is in a group by the accounts' files, but not this process."""
    try:
        account = pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return gid in os.getgrouplist(account.pw_name, account.pw_gid) and gid not in (
        os.getegid(),
        *os.getgroups(),
    )


def has_file_capabilities(path: str) -> bool:
    """Whether executing it can give any capability."""
    try:
        value = os.getxattr(path, "security.capability")
    except OSError:
        return False
    if len(value) < _FILE_CAPABILITIES.size:
        return False
    _, permitted = _FILE_CAPABILITIES.unpack_from(value)
    return bool(permitted)


def _in_narrow_user_namespace() -> bool:
    """Whether its root owns no other account's files: user_namespaces(7), uid_map.

    A container with many accounts has helpers of its own, which are root's in it.
    """
    with open("/proc/self/uid_map", encoding="ascii") as lines:
        ranges = [tuple(map(int, line.split())) for line in lines]
    return sum(count for _, _, count in ranges) <= 1 or all(first != 0 for first, _, _ in ranges)


def _status_field(name: str) -> str:
    wanted = f"{name}:".encode()
    # Not as text: its codec is a file, for which a full table of descriptors may have no room.
    with suppress(OSError), open("/proc/self/status", "rb") as lines:
        for line in lines:
            if line.startswith(wanted):
                return line.removeprefix(wanted).decode().strip()
    return ""


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
