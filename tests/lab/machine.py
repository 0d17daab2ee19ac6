"""A machine to install on: /etc, /usr/local and what accounts and sudo write, in layers over the
real ones that go with the test; and an account, alice, who logs in to it.

All of it is in this run's mount namespace. Needs real root.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from aioprocket.cli import main
from sandbox import kernel

from .must import require

__all__ = ("ALICE", "INSTALLED", "Completed", "Machine", "new_machine", "write_sudoers")

ALICE: Final = "alice"
INSTALLED: Final = Path("/usr/local/libexec/aioprocket-helper")
_LAYERED: Final = ("/etc", "/usr/local", "/var/spool", "/var/lib")
# Debian's, to which a test of another file may have put rules of its own.
_SUDOERS: Final = """\
Defaults env_reset
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Defaults use_pty
root ALL=(ALL:ALL) ALL
%sudo ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""
Completed = subprocess.CompletedProcess[str]


def write_sudoers() -> None:
    """The rules of sudo are the usual ones, in an /etc that is the caller's own."""
    os.makedirs("/etc/sudoers.d", exist_ok=True)
    sudoers = Path("/etc/sudoers")
    sudoers.unlink(missing_ok=True)
    sudoers.write_text(_SUDOERS)
    sudoers.chmod(0o440)


class Machine:
    """What the root of that machine can do, and alice."""

    def root(self, command: str) -> None:
        """A command of a hint, by a shell of root's, where sudo does what root can."""
        # Whether alice's sudo does it is tried where that is the point.
        self._shell(f'sudo() {{ "$@"; }}; {command}')

    def permit(self, rule: str) -> None:
        """Put a line into the file of sudo's rules that is alice's."""
        path = Path("/etc/sudoers.d/alice")
        text = path.read_text() if path.exists() else ""
        path.write_text(f"{text}{rule}\n")
        path.chmod(0o440)

    def shell(self, command: str) -> Completed:
        """A command as alice would type it, after a new login."""
        return self.alice(["bash", "-c", command])

    def aioprocket(self, *words: str, groups: Sequence[int] | None = None) -> Completed:
        """The command as alice types it, after a new login, or in a session with other groups."""
        command = ["aioprocket", *words]
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as out,
            tempfile.TemporaryFile("w+", encoding="utf-8") as err,
            warnings.catch_warnings(),
        ):
            # The child takes no lock that a thread of ours could hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            # A fork: to start Python and import all of it would take most of the time.
            pid = os.fork()
            if pid == 0:
                os._exit(_typed(command, groups, out.fileno(), err.fileno()))
            _, status = os.waitpid(pid, 0)
            for file in (out, err):
                file.seek(0)
            return Completed(command, os.waitstatus_to_exitcode(status), out.read(), err.read())

    @staticmethod
    def command(*words: str) -> list[str]:
        return [sys.executable, "-P", "-m", "aioprocket.cli", *words]

    def alice(
        self, command: Sequence[str], options: Sequence[str] = ("--init-groups",)
    ) -> Completed:
        return subprocess.run(
            self.as_alice(command, options),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.environment(),
            cwd="/",
            check=False,
        )

    def as_alice(
        self, command: Sequence[str], options: Sequence[str] = ("--init-groups",)
    ) -> list[str]:
        account = pwd.getpwnam(ALICE)
        identity = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}")
        return [require("setpriv"), *identity, *options, *command]

    @staticmethod
    def environment() -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/", "COLUMNS": "80"}

    @staticmethod
    def _shell(command: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"umask 022; {command}"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _typed(command: list[str], groups: Sequence[int] | None, out: int, err: int) -> int:
    try:
        account = pwd.getpwnam(ALICE)
        if groups is None:
            os.initgroups(ALICE, account.pw_gid)
        else:
            os.setgroups(groups)
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
        kernel.set_dumpable()
        os.environ.clear()
        os.environ.update(Machine.environment())
        os.chdir("/")
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.argv = command
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 99


def _uninstall(machine: Machine) -> None:
    """What the machine below has of the helper's is not on this one."""
    rules = (Path("/etc/sudoers.d", name) for name in ("zz-aioprocket", ALICE))
    units = Path("/etc/systemd/system").glob("aioprocket.*")
    for file in (INSTALLED, *rules, *units):
        file.unlink(missing_ok=True)
    shutil.rmtree("/etc/aioprocket", ignore_errors=True)
    machine.root("if grep -q ^aioprocket: /etc/group; then groupdel aioprocket; fi")


@contextmanager
def new_machine() -> Iterator[Machine]:
    """That machine, while the block runs."""
    with ExitStack() as stack:
        layers = Path(tempfile.mkdtemp(prefix="aioprocket-machine-"))
        stack.callback(layers.rmdir)
        kernel.mount("tmpfs", str(layers), "tmpfs", 0, "mode=0755")
        stack.callback(kernel.unmount, str(layers))
        for lower in _LAYERED:
            upper, work = (layers / f"{lower.replace('/', '_')}{kind}" for kind in ("+", "~"))
            upper.mkdir()
            work.mkdir()
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            kernel.mount("overlay", lower, "overlay", 0, options)
            stack.callback(kernel.unmount, lower)
        kernel.mount("tmpfs", "/run", "tmpfs", 0, "mode=0755")
        stack.callback(kernel.unmount, "/run")
        write_sudoers()
        os.makedirs("/usr/local/libexec", exist_ok=True)
        machine = Machine()
        _uninstall(machine)
        machine.root(f"{require('useradd')} --no-create-home --shell /bin/bash {ALICE}")
        yield machine
