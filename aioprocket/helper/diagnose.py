"""Why a helper that is there cannot be executed, or has no privilege; and what changes it."""

import errno
import grp
import os
import stat
import struct
from typing import Final, TypeAlias

from .install import CAPABILITIES, how_to_grant_in_place, how_to_join, is_roots_alone

__all__ = (
    "NEEDED_CAPABILITIES",
    "Diagnosis",
    "has_own_capabilities",
    "why_none_can_help",
    "why_not_executable",
    "why_partial",
    "why_unprivileged",
)

# The reason, and what to do about it.
Diagnosis: TypeAlias = tuple[str, str]

_CAPABILITY_NAMES: Final = {10: "cap_net_bind_service", 12: "cap_net_admin", 13: "cap_net_raw"}
NEEDED_CAPABILITIES: Final = sum(1 << bit for bit in _CAPABILITY_NAMES)  # linux/capability.h
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
    group = _group_name(status.st_gid)
    reason = f"{path} is for the group {group}, which you are not in"
    if status.st_gid == 0 or not is_roots_alone(path):
        # Never into root's group: much else is open to it.
        return reason, how_to_grant_in_place(path)
    return reason, how_to_join(group)


def why_unprivileged(path: str) -> Diagnosis | None:
    """Why a helper that runs has no privilege; None: it should have."""
    found = why_none_can_help()
    if found is not None:
        return found
    try:
        status = os.stat(path)
        mount = os.statvfs(path)
    except OSError:
        return None
    if not (status.st_mode & stat.S_ISUID and status.st_uid == 0) and not _permitted(path):
        return (
            f"{path} has neither root's setuid bit nor file capabilities",
            how_to_grant_in_place(path),
        )
    if mount.f_flag & os.ST_NOSUID:
        return (
            f"{path} lies on a file system that is mounted nosuid",
            "install it on one that is not, or mount -o remount,suid",
        )
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
    return None


def why_partial(path: str, capabilities: int) -> Diagnosis | None:
    """Which capabilities a helper lacks that has some; None: it has what it needs."""
    missing = [name for bit, name in _CAPABILITY_NAMES.items() if not capabilities >> bit & 1]
    if not missing:
        return None
    if not is_roots_alone(path):
        return f"{path} has no {', '.join(missing)}", how_to_grant_in_place(path)
    return f"{path} has no {', '.join(missing)}", f"sudo setcap {CAPABILITIES} {path}"


def has_own_capabilities() -> bool:
    """Whether a program without privilege, started by this process, will have capabilities."""
    # execve(2) gives root its permitted set again; anybody else keeps the ambient one alone.
    field = "CapEff" if os.geteuid() == 0 else "CapAmb"
    return bool(int(_status_field(field) or "0", 16) & NEEDED_CAPABILITIES)


def _permitted(path: str) -> bool:
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
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith(f"{name}:"):
                return line.partition(":")[2].strip()
    return ""


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
