"""The commands that give a helper its privilege, for hints.

A program that somebody else than root can replace must never be made privileged. So a hint names a
file in place only where root alone could have put it there; everywhere else it says how to install
the bundled helper. And the group is one made for the purpose: a user's own primary group, or
root's, may have any members.
"""

import os
import pwd
import re
import shlex
import stat
from pathlib import Path
from typing import Final

from ..errors import HelperNotFoundError
from .locate import BROKER_SOCKET, INSTALLED, UNITS, helper_path
from .place import is_roots_alone

__all__ = (
    "CAPABILITIES",
    "GROUP",
    "SUDO_RULE",
    "how_to_grant_in_place",
    "how_to_install",
    "how_to_install_for_sudo",
    "how_to_join",
    "how_to_make_group",
    "how_to_permit_sudo",
    "how_to_start_broker",
    "is_for_root_alone",
)

CAPABILITIES: Final = "cap_net_raw,cap_net_admin,cap_net_bind_service=p"

GROUP: Final = "aioprocket"
# Of the rules that match, sudo takes the last: after one with a name that demands a password.
SUDO_RULE: Final = "/etc/sudoers.d/zz-aioprocket"
# What neither sudo's file nor a shell takes for anything else than a name.
_PLAIN_NAME: Final = re.compile(r"[a-z_][a-z0-9_-]*")


def how_to_install() -> str:
    """Install the bundled helper setuid, for a group of its own that the caller joins."""
    return _lines(
        "install the helper (aioprocket helper install does it, but for the group):",
        how_to_make_group(GROUP),
        _install(GROUP, "4750"),
        how_to_join(GROUP),
    )


def how_to_install_for_sudo() -> str:
    """Install the bundled helper without privilege, and a rule that is the permission."""
    return _lines(
        "install the helper for sudo:", _install("root", "0755"), _permit_sudo(INSTALLED[0])
    )


def how_to_permit_sudo(path: str) -> str:
    """The sudo rule that lets the caller, and nobody else, run one helper without arguments."""
    if not is_for_root_alone(path):
        return how_to_install_for_sudo()
    return _permit_sudo(path)


def _permit_sudo(path: str) -> str:
    rule = f'{_sudo_name()} ALL=(root) NOPASSWD:NOSETENV: {path} ""'
    return (
        f"echo {shlex.quote(rule)} | sudo install -o root -g root -m 0440 /dev/stdin {SUDO_RULE} "
        "&& sudo visudo -c"
    )


def how_to_start_broker() -> str:
    """Start a broker: the service, where there is one, or by hand."""
    if os.path.exists(f"{UNITS}/aioprocket.socket"):
        return "sudo systemctl restart aioprocket.socket"
    if os.path.isdir("/run/systemd/system"):
        return "aioprocket helper install --broker"
    return f"as root, and not by sudo: {INSTALLED[0]} --broker {BROKER_SOCKET}"


def how_to_make_group(group: str) -> str:
    """Make a group, unless it is there."""
    return f"sudo groupadd --system --force {shlex.quote(group)}"


def how_to_join(group: str) -> str:
    """Make the caller a member of a group; of those who log in later, that is."""
    # Root needs no group: somebody else is meant then.
    name = "USER" if os.getuid() == 0 else shlex.quote(_user_name())
    return f"sudo usermod -aG {shlex.quote(group)} {name}  # and log in again"


def how_to_grant_in_place(path: str) -> str:
    """Give an installed helper its privilege where it is, if it is safe there."""
    if not is_for_root_alone(path):
        return how_to_install()
    place = shlex.quote(path)
    status = os.stat(path)
    if status.st_gid != 0:
        return f"sudo chmod 4750 {place}"
    # chmod comes after chgrp, which takes the setuid bit away (chown(2)).
    commands = _lines(
        "give it to a group:",
        how_to_make_group(GROUP),
        f"sudo chgrp {GROUP} {place} && sudo chmod 4750 {place}",
        how_to_join(GROUP),
    )
    if stat.S_IMODE(status.st_mode) == 0o755:
        # Installed for sudo, as it seems: then it is meant to have no privilege of its own.
        return f'helper="sudo", where a rule of sudo permits it; or {commands}'
    return commands


def is_for_root_alone(path: str) -> bool:
    """Whether a helper is safe where it is: root's alone, and not the bundled one."""
    try:
        if Path(path).resolve() == helper_path().resolve():
            return False
    except HelperNotFoundError:
        pass
    return is_roots_alone(path)


def _install(group: str, mode: str) -> str:
    try:
        source = shlex.quote(str(helper_path()))
    except HelperNotFoundError:
        source = '"$(python3 -P -m aioprocket.helper)"'
    return f"sudo install -D -o root -g {group} -m {mode} {source} {INSTALLED[0]}"


def _lines(first: str, *commands: str) -> str:
    return "\n  ".join((first, *commands))


def _user_name() -> str:
    # Not getpass.getuser(): the environment may say anything.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _sudo_name() -> str:
    """As sudoers(5) names an account: one with odd characters by its number."""
    name = _user_name()
    return name if _PLAIN_NAME.fullmatch(name) else f"#{os.getuid()}"
