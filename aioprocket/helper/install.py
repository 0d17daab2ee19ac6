"""The commands that give a helper its privilege, for hints.

A program that somebody else than root can replace must never be made privileged. So a hint names a
file in place only where root alone could have put it there; everywhere else it says how to install
the bundled helper. And the group is one made for the purpose: a user's own primary group, or
root's, may have any members.
"""

import os
import pwd
import shlex
import stat
from pathlib import Path
from typing import Final

from ..errors import HelperNotFoundError
from .locate import INSTALLED, helper_path

__all__ = (
    "CAPABILITIES",
    "how_to_grant_in_place",
    "how_to_install",
    "how_to_install_for_sudo",
    "how_to_join",
    "how_to_permit_sudo",
    "is_roots_alone",
)

CAPABILITIES: Final = "cap_net_raw,cap_net_admin,cap_net_bind_service=p"

_GROUP: Final = "aioprocket"
_MAKE_GROUP: Final = f"sudo groupadd --system --force {_GROUP}"
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def how_to_install() -> str:
    """Install the bundled helper setuid, for a group of its own that the caller joins."""
    return _lines(
        "install the helper:",
        _MAKE_GROUP,
        _install(_GROUP, "4750"),
        how_to_join(_GROUP),
    )


def how_to_install_for_sudo() -> str:
    """Install the bundled helper without privilege, and a rule that is the permission."""
    return _lines(
        "install the helper for sudo:", _install("root", "0755"), how_to_permit_sudo(INSTALLED[0])
    )


def how_to_permit_sudo(path: str) -> str:
    """The sudo rule that lets the caller, and nobody else, run one helper."""
    return (
        f"sudo visudo -f /etc/sudoers.d/aioprocket: "
        f'{_user_name()} ALL=(root) NOPASSWD:NOSETENV: {path} ""'
    )


def how_to_join(group: str) -> str:
    """Make the caller a member of a group."""
    return f"sudo usermod -aG {group} {_user_name()}, and log in again"


def how_to_grant_in_place(path: str) -> str:
    """Give an installed helper its privilege where it is, if it is safe there."""
    if not is_roots_alone(path):
        return how_to_install()
    place = shlex.quote(path)
    status = os.stat(path)
    if status.st_gid != 0:
        return f"sudo chmod 4750 {place}"
    # chmod comes after chgrp, which takes the setuid bit away (chown(2)).
    commands = _lines(
        "give it to a group:",
        _MAKE_GROUP,
        f"sudo chgrp {_GROUP} {place} && sudo chmod 4750 {place}",
        how_to_join(_GROUP),
    )
    if stat.S_IMODE(status.st_mode) == 0o755:
        # Installed for sudo, as it seems: then it is meant to have no privilege of its own.
        return f'helper="sudo", where a rule of sudo permits it; or {commands}'
    return commands


def is_roots_alone(path: str) -> bool:
    """Whether only root can have put this file there, and only root can replace it."""
    try:
        real = Path(path).resolve(strict=True)
        if real == helper_path().resolve():
            return False
    except HelperNotFoundError:
        pass
    except OSError:
        return False
    return all(_is_roots(place) for place in (real, *real.parents))


def _is_roots(place: Path) -> bool:
    status = place.stat()
    # In a sticky folder, as /tmp, nobody can replace what is root's.
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return status.st_uid == 0 and (bool(sticky) or not status.st_mode & _WRITABLE_BY_OTHERS)


def _install(group: str, mode: str) -> str:
    try:
        source = shlex.quote(str(helper_path()))
    except HelperNotFoundError:
        source = '"$(python -m aioprocket.helper)"'
    return f"sudo install -D -o root -g {group} -m {mode} {source} {INSTALLED[0]}"


def _lines(first: str, *commands: str) -> str:
    return "\n  ".join((first, *commands))


def _user_name() -> str:
    # Not getpass.getuser(): the environment may say anything.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
