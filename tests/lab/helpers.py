"""The helper for tests: built if it is not there, and installed in the ways that give privilege.

Installing means a copy in a folder that only this test run sees. The file systems under a test
run may be mounted nosuid, so the folder is a tmpfs of our own.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import kernel
from sandbox.accounts import NOBODY

from .must import require

__all__ = (
    "build_helper",
    "find_helper",
    "install_caps",
    "install_setuid",
    "installed_for_sudo",
    "sudo_command",
)

_PROJECT = Path(__file__).resolve().parents[2]
_CAP_NET_BIND_SERVICE = 10
_CAP_NET_ADMIN = 12
_CAP_NET_RAW = 13
_VFS_CAP_REVISION_2 = 0x02000000  # linux/capability.h


def find_helper() -> Path | None:
    """The helper that AIOPROCKET_TEST_HELPER names, or the one that came with the package."""
    named = os.environ.get("AIOPROCKET_TEST_HELPER")
    if named:
        return Path(named)
    try:
        from aioprocket.helper import helper_path
    except ImportError:
        return None
    try:
        bundled = Path(helper_path())
    except FileNotFoundError:
        return None
    return bundled if os.access(bundled, os.X_OK) else None


def build_helper(folder: Path) -> Path:
    """Compile the helper's sources as they are; the build proper is CMakeLists.txt."""
    built = folder / "aioprocket-helper"
    sources = sorted(str(source) for source in (_PROJECT / "helper").glob("*.c"))
    compiler = require("gcc")
    subprocess.run(
        [compiler, "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-o", str(built), *sources],
        check=True,
    )
    return built


def install_setuid(helper: Path, folder: Path) -> Path:
    """A copy that belongs to root and runs as root for the group nogroup, mode 4750."""
    installed = folder / "setuid" / "aioprocket-helper"
    installed.parent.mkdir(mode=0o755, exist_ok=True)
    shutil.copy(helper, installed)
    os.chown(installed, 0, NOBODY)
    installed.chmod(0o4750)  # after chown, which takes the setuid bit away
    return installed


def install_caps(helper: Path, folder: Path) -> Path:
    """A copy that has network capabilities for the group nogroup, mode 0750."""
    installed = folder / "caps" / "aioprocket-helper"
    installed.parent.mkdir(mode=0o755, exist_ok=True)
    shutil.copy(helper, installed)
    os.chown(installed, 0, NOBODY)
    installed.chmod(0o750)
    os.setxattr(installed, "security.capability", _permitted_only())
    return installed


@contextmanager
def installed_for_sudo(helper: Path, folder: Path) -> Iterator[Path]:
    """A copy without privilege, and a rule by which nobody may run it through sudo."""
    require("sudo")
    installed = folder / "sudo" / "aioprocket-helper"
    installed.parent.mkdir(mode=0o755, exist_ok=True)
    shutil.copy(helper, installed)
    installed.chmod(0o755)
    rules = folder / "sudoers"
    rules.write_text(f"#{NOBODY} ALL=(root) NOPASSWD: {installed}\n")
    rules.chmod(0o440)
    # Over the machine's own rules, in this run's mount namespace alone.
    kernel.mount(str(rules), "/etc/sudoers", None, kernel.MS_BIND)
    try:
        yield installed
    finally:
        kernel.unmount("/etc/sudoers")


def sudo_command(helper: Path) -> list[str]:
    """A helper's command that asks for no password."""
    return [require("sudo"), "-n", str(helper)]


def _permitted_only() -> bytes:
    # struct vfs_cap_data, what `setcap cap_net_raw,cap_net_admin,cap_net_bind_service+p` writes.
    bits = 1 << _CAP_NET_RAW | 1 << _CAP_NET_ADMIN | 1 << _CAP_NET_BIND_SERVICE
    return struct.pack("<IIIII", _VFS_CAP_REVISION_2, bits, 0, 0, 0)
