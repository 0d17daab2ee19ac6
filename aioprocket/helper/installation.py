"""What is installed, and what would have to be done to install the bundled helper or to remove it.

Nothing is changed here. The commands are programs of the system by their names: who runs them takes
them from the system's folders, and as root. Python is never run so.
"""

import grp
import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ..errors import NotPermittedError, SpecError
from .diagnose import has_file_capabilities
from .install import CAPABILITIES, GROUP, how_to_join, how_to_make_group
from .locate import INSTALLED, helper_path
from .place import Objection, objections, why_unfit
from .steps import Steps
from .units import removal, setting_up

__all__ = (
    "InstallMode",
    "Installed",
    "Plan",
    "installed_at",
    "plan_installation",
    "plan_removal",
)


_FOLDER: Final = ("install", "-d", "-o", "root", "-g", "root", "-m", "0755")


class InstallMode(StrEnum):
    """How a file gets its rights: plain, not by itself."""

    SETUID = "setuid"
    CAPS = "caps"
    PLAIN = "plain"


_PERMISSIONS: Final = {
    InstallMode.SETUID: 0o4750,
    InstallMode.CAPS: 0o750,
    InstallMode.PLAIN: 0o755,
}


@dataclass(frozen=True, slots=True)
class Installed:
    """A file where a helper is looked for; nothing says that it is one.

    ``mode``: how it would get its rights. ``permissions``: its bits, at most 0o7777.
    """

    path: str
    mode: InstallMode
    uid: int
    gid: int
    permissions: int
    is_file: bool

    @property
    def group(self) -> str:
        """The name of its group, or the number of one without a name."""
        try:
            return grp.getgrgid(self.gid).gr_name
        except KeyError:
            return str(self.gid)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, in this order, and what to tell of it.

    ``kept``: what an earlier installation decided, in sentences.
    """

    path: str
    group: str
    mode: InstallMode
    steps: Steps
    kept: tuple[str, ...] = ()


def installed_at(path: str) -> Installed | None:
    """What lies at one of the places of an installed helper; a symbolic link is no file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    is_file = stat.S_ISREG(status.st_mode)
    mode = InstallMode.PLAIN
    if is_file and status.st_mode & stat.S_ISUID:
        mode = InstallMode.SETUID
    elif is_file and has_file_capabilities(path):
        mode = InstallMode.CAPS
    return Installed(
        path, mode, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), is_file
    )


def plan_installation(group: str | None, mode: InstallMode | None, *, broker: bool = False) -> Plan:
    """The bundled helper for the first of the places.

    Args:
        group: Whose members may execute it. None: the one that has it, else ``aioprocket``.
        mode: None: the one it has, else ``"setuid"``; for a broker, which is started with its
            rights, ``"plain"``.
        broker: Set it up as a service, too.

    Raises:
        HelperError: A broker, and systemd does not run here.
        HelperNotFoundError: There is no bundled helper.
        NotPermittedError: The place is not root's alone, or takes privilege away.
        SpecError: There is no such group, or it is root's.
    """
    path = INSTALLED[0]
    source = str(helper_path())
    _refuse_place(path)
    service = setting_up() if broker else ()
    if broker:
        _check_group(group or GROUP)
        _refuse_other_group(group)
    old = installed_at(path)
    kept: list[str] = []
    if old is not None and old.uid == 0:
        group = group or _kept_group(old, kept)
        mode = mode or _kept_mode(old, kept)
    group, mode = group or GROUP, mode or (InstallMode.PLAIN if broker else InstallMode.SETUID)
    permissions = _PERMISSIONS[mode]
    if mode is InstallMode.PLAIN:
        group = "root"
    else:
        _check_group(group)
        if old is not None and _is_for_everybody(old):
            permissions |= 0o005
            kept.append(
                "everybody may execute it, as before; without a policy that grants nothing. "
                f"To end it: sudo rm {path}, and install anew"
            )
    steps = (*_steps(source, path, group, mode, permissions), *service)
    return Plan(path, group, mode, steps, tuple(kept))


def _refuse_other_group(group: str | None) -> None:
    if group not in (None, GROUP):
        raise SpecError(
            f"the socket's unit is for the group {GROUP}",
            hint="another: sudo systemctl edit aioprocket.socket, with SocketGroup= in [Socket]",
        )


def _kept_group(old: Installed, kept: list[str]) -> str | None:
    if old.gid == 0:
        return None
    if old.group != GROUP:
        kept.append(f"group {old.group} is kept: --group {GROUP} changes it")
    return old.group


def _kept_mode(old: Installed, kept: list[str]) -> InstallMode:
    if old.mode is InstallMode.PLAIN and not old.permissions & 0o001:
        kept.append("it was for a group and had lost its capabilities: it gets them again")
        return InstallMode.CAPS
    if old.mode is InstallMode.PLAIN:
        kept.append("it stays without privilege of its own, as for sudo: --mode gives it some")
    elif old.mode is not InstallMode.SETUID:
        kept.append(f"mode {old.mode} is kept: --mode setuid changes it")
    return old.mode


def _is_for_everybody(old: Installed) -> bool:
    is_privileged = old.mode is not InstallMode.PLAIN
    return old.uid == 0 and is_privileged and bool(old.permissions & 0o001)


def plan_removal() -> Plan:
    """The end of what `plan_installation` has installed; no steps where nothing is there."""
    path = INSTALLED[0]
    old = installed_at(path)
    steps = removal()
    if old is not None:
        steps += (("rm", "-f", "--", path),)
    return Plan(path, "" if old is None else old.group, InstallMode.PLAIN, steps)


def _steps(source: str, path: str, group: str, mode: InstallMode, permissions: int) -> Steps:
    folder = str(Path(path).parent)
    make_folder: Steps = () if os.path.isdir(folder) else ((*_FOLDER, folder),)
    copy = ("install", "-o", "root", "-g", group, "-m", f"{permissions:04o}", source, path)
    grant: Steps = (("setcap", CAPABILITIES, path),) if mode == InstallMode.CAPS else ()
    return (*make_folder, copy, *grant)


def _refuse_place(path: str) -> None:
    folder = Path(path).parent
    found = list(objections(folder, sticky_is_safe=False))
    unfit = why_unfit(folder)
    if unfit is not None:
        found.append(unfit)
    if os.path.islink(path) or os.path.isdir(path):
        words = "it is a symbolic link or a folder, and no file"
        found.append(Objection(Path(path), words, f"sudo rm -r {path}"))
    if found:
        raise NotPermittedError(
            f"nothing privileged is put at {path}: "
            + "; ".join(f"{each.path}: {each.words}" for each in found),
            step="install",
            hint="\n  ".join(["these would change that:", *(each.command for each in found)]),
        )


def _check_group(group: str) -> None:
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        raise SpecError(
            f"there is no group {group}: its members will be those who may use the helper",
            hint="\n  ".join(
                ["make it, and join it:", how_to_make_group(group), how_to_join(group)]
            ),
        ) from None
    if number == 0:
        raise SpecError(
            "root's group is no group for the helper: much else is open to its members",
            hint=f"--group {GROUP}",
        )
