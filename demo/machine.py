"""The machine of the demo, and who does what on it.

This process makes the machine: two network namespaces joined by a cable, and a helper that the
unprivileged process may run. As root it installs a setuid copy of the helper and the asking
process becomes nobody. As an ordinary user it takes a user namespace and the asking process drops
every capability; the helper has them again by being executed. All of it belongs to this process
and its children and is gone when they are, however they end.
"""

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from aioprocket.helper import helper_path
from sandbox import kernel, links
from sandbox.accounts import NOBODY, fork_unprivileged
from sandbox.namespaces import Forbidden, Privilege, enter_private, new_network
from sandbox.reach import interpreter_trees, make_reachable
from story import FAR, NEAR, ask

__all__ = ("run",)

PROJECT = Path(__file__).resolve().parents[1]


def run() -> int:
    """Make the machine, and let an unprivileged process work on it; the exit status.

    Raises:
        KeyboardInterrupt: No child is left.
    """
    bundled = Path(helper_path())
    try:
        privilege = enter_private()
    except Forbidden as reason:
        print(f"The demo needs namespaces of its own, and may not have them: {reason}")
        return 1
    with new_network() as far:
        links.add_veth(NEAR.ifname, FAR.ifname, peer_namespace=far.fd)
        _set_up(NEAR.ifname, NEAR.address)
        with far.entered():
            _set_up(FAR.ifname, FAR.address)
        print("A machine of its own, gone when this ends: two networks joined by a cable")
        print(f"  {NEAR}  ━━━━━━━━  {FAR}")
        helper = _prepare(privilege, bundled)
        for loop in ("asyncio", "uvloop"):
            status = _unprivileged(privilege, partial(ask, helper, loop))
            if status != 0:
                return status
    return 0


def _set_up(ifname: str, address: str) -> None:
    links.disable_ipv6(ifname)
    links.add_address(ifname, f"{address}/24")
    links.set_up(ifname)


def _prepare(privilege: Privilege, bundled: Path) -> Path:
    """The helper as the unprivileged process is to run it."""
    if privilege == "userns":
        print("\nThe helper, as the package brought it: it has the rights of who starts it, and")
        print(f"root of this user namespace may open sockets in it\n  {bundled}")
        return bundled
    trees = [*interpreter_trees(), PROJECT]
    make_reachable(trees)
    # A folder that every system has, covered in this process's view alone: nothing to remove.
    stage = next(
        folder
        for folder in map(Path, ("/run", "/mnt", "/srv"))
        if folder.is_dir() and not any(tree.is_relative_to(folder) for tree in trees)
    )
    kernel.mount("tmpfs", str(stage), "tmpfs", 0, "mode=0755")
    installed = stage / "aioprocket-helper"
    shutil.copy(bundled, installed)
    os.chown(installed, 0, NOBODY)
    installed.chmod(0o4750)  # after chown, which takes the setuid bit away
    print("\nThe helper, installed: setuid root, for one group alone")
    print(f"  -rwsr-x--- root nogroup {installed}")
    return installed


def _unprivileged(privilege: Privilege, function: Callable[[], int]) -> int:
    """Call ``function`` in a child without privilege; its exit status comes back."""
    pid = fork_unprivileged(function, change_account=privilege == "root")
    try:
        _, status = os.waitpid(pid, 0)
    except KeyboardInterrupt:
        # Whoever interrupted us alone, not the whole terminal, has not reached the child. And the
        # interrupt may have come after it ended, or even after we were told so.
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        raise
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
