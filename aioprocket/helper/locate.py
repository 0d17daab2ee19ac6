"""Where a helper is, and why one that is there has no privilege.

The installed helper and the broker's socket have fixed places: a place from the environment, or
below a folder that an ordinary user can write, would make a setuid program of whatever lies there.
The bundled helper came with the package and has no privilege; it is what gets installed.
"""

import errno
import grp
import os
import pwd
import stat
from importlib import resources
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from ..errors import HelperNotFoundError

__all__ = (
    "BROKER_SOCKET",
    "DEFAULT_VARIABLE",
    "INSTALLED",
    "helper_path",
    "how_to_get_permission",
    "how_to_install",
    "how_to_sudo",
    "installed_helper",
    "why_not_executable",
    "why_unprivileged",
)

INSTALLED: Final = ("/usr/local/libexec/aioprocket-helper", "/usr/libexec/aioprocket-helper")
BROKER_SOCKET: Final = "/run/aioprocket/broker.sock"
DEFAULT_VARIABLE: Final = "AIOPROCKET_HELPER"

_NAME: Final = "aioprocket-helper"
_BUNDLED: Final = ("aioprocket", "_libexec", _NAME)
_CAPABILITIES: Final = "cap_net_raw,cap_net_admin,cap_net_bind_service=p"


def helper_path() -> Path:
    """The helper that came with this package, without any privilege.

    Raises:
        HelperNotFoundError: The package was not built: it is run from its sources.
    """
    packaged = resources.files("aioprocket").joinpath(*_BUNDLED[1:])
    candidates = [Path(str(packaged)), *_recorded()]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise HelperNotFoundError(
        "the helper that comes with the package is not there",
        hint="install the package (pip install .), which builds it",
    )


def _recorded() -> list[Path]:
    """Where the installer says it is: an editable install keeps it apart from the sources."""
    try:
        files = distribution("aioprocket").files or ()
    except PackageNotFoundError:
        return []
    return [Path(str(file.locate())) for file in files if file.parts[-3:] == _BUNDLED]


def installed_helper() -> str | None:
    """The first installed helper, whether or not this process may execute it."""
    return next((path for path in INSTALLED if os.path.lexists(path)), None)


def why_not_executable(path: str) -> tuple[str, str] | None:
    """Why this process cannot execute an installed helper, and what to do; None: it can."""
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{path}: {os.strerror(error.errno or errno.EIO)}", ""
    if os.access(path, os.X_OK):
        return None
    if not status.st_mode & (stat.S_IXGRP | stat.S_IXOTH):
        return f"{path} is executable by its owner only", f"sudo chmod g+x {path}"
    group = _group_name(status.st_gid)
    return (
        f"{path} is for the group {group}, which you are not in",
        f"sudo usermod -aG {group} {_user_name()}, and log in again",
    )


def why_unprivileged(path: str) -> tuple[str, str] | None:
    """Why a helper that runs has no privilege, and the command that changes it; None: it has."""
    try:
        status = os.stat(path)
        mount = os.statvfs(path)
    except OSError:
        return None
    if not (status.st_mode & stat.S_ISUID and status.st_uid == 0) and not _has_capabilities(path):
        return (
            f"{path} has neither root's setuid bit nor file capabilities",
            f"sudo chown root {path} && sudo chmod 4750 {path}, "
            f"or sudo setcap {_CAPABILITIES} {path}",
        )
    if mount.f_flag & os.ST_NOSUID:
        return (
            f"{path} lies on a file system that is mounted nosuid",
            "install it on one that is not, or mount -o remount,suid",
        )
    if _no_new_privileges():
        return (
            "this process has no_new_privs set, and no program that it starts can gain privilege",
            "take NoNewPrivileges= out of the service, or --security-opt=no-new-privileges from "
            "the container; or use the broker's socket",
        )
    return None


def how_to_install() -> str:
    """The command that installs the bundled helper for the caller's own group."""
    try:
        source = str(helper_path())
    except HelperNotFoundError:
        source = _NAME
    group = _group_name(os.getgid())
    return f"sudo install -D -o root -g {group} -m 4750 {source} {INSTALLED[0]}"


def how_to_get_permission() -> str:
    """The three ways to a privileged helper, as commands."""
    return (
        f"install the helper for your group: {how_to_install()}; or with file capabilities: "
        f"the same with -m 0750, then sudo setcap {_CAPABILITIES} {INSTALLED[0]}; "
        "or, where sudo may run it without a password: helper='sudo'"
    )


def how_to_sudo(path: str) -> str:
    """The sudo rule that lets the caller, and nobody else, run one helper."""
    return (
        f"sudo visudo -f /etc/sudoers.d/aioprocket: "
        f'{_user_name()} ALL=(root) NOPASSWD:NOSETENV: {path} ""'
    )


def _has_capabilities(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def _no_new_privileges() -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        return any(line.split() == ["NoNewPrivs:", "1"] for line in lines)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user_name() -> str:
    # Not getpass.getuser(): the environment may say anything.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
