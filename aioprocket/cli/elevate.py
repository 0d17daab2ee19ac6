"""Running the system's own programs as root: shown first, by absolute path, through sudo.

Nothing of ours is run as root, neither Python nor the helper, but for lines of sh that are shown.
"""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Final

from rich.console import Console

from ..errors import HelperError
from ..helper.place import is_roots_alone
from ..helper.steps import Steps

__all__ = ("in_words", "run_as_root", "status_as_root", "system_program")

_FOLDERS: Final = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
# Where sudo lies elsewhere: NixOS has its setuid programs apart.
_FOLDERS_OF_SUDO: Final = (*_FOLDERS, "/usr/local/bin", "/run/wrappers/bin")
_PACKAGES: Final = {
    "setcap": "apt install libcap2-bin (Fedora, Arch: libcap; Alpine: libcap-setcap)",
    "systemctl": "systemd does not run here",
    "sudo": "as root: apt install sudo; or run this command as root",
}


def system_program(name: str) -> str:
    """The path of a program of the system, which is root's alone.

    Raises:
        HelperError: There is none.
    """
    for folder in _FOLDERS_OF_SUDO if name == "sudo" else _FOLDERS:
        path = str(Path(folder, name))
        if os.access(path, os.X_OK) and is_roots_alone(path):
            return path
    raise HelperError(
        f"there is no program {name} in the system's folders", hint=_PACKAGES.get(name, "")
    )


def in_words(step: tuple[str, ...]) -> str:
    """What will be run, as it can be typed."""
    return shlex.join(_command(step))


def run_as_root(steps: Steps, out: Console) -> None:
    """Show and run one after the other; the first that fails is the last.

    Raises:
        HelperError: A program is missing, and nothing was run; or one failed, and those after it
            were not run.
    """
    commands = [_command(step) for step in steps]
    for number, command in enumerate(commands):
        status = _run(command, out)
        if status != 0:
            left = [shlex.join(each) for each in commands[number:]]
            raise HelperError(
                f"{shlex.join(command)} ended with status {status}",
                hint="\n  ".join(["what is left to do:", *left]),
            )


def status_as_root(step: tuple[str, ...], out: Console) -> int:
    """Show and run one; its exit status, or sudo's.

    Raises:
        HelperError: The program is missing, and nothing was run.
    """
    return _run(_command(step), out)


def _run(command: list[str], out: Console) -> int:
    out.print(f"$ {shlex.join(command)}", markup=False)
    return subprocess.run(command, check=False).returncode


def _command(step: tuple[str, ...]) -> list[str]:
    command = [system_program(step[0]), *step[1:]]
    return command if os.geteuid() == 0 else [system_program("sudo"), "--", *command]
