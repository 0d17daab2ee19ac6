"""The system calls that Python lacks or got only in 3.12, by libc."""

import ctypes
import os
import struct
from typing import Final

__all__ = (
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWUSER",
    "MS_BIND",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "die_with_parent",
    "drop_capabilities",
    "effective_capabilities",
    "mount",
    "set_dumpable",
    "setns",
    "unmount",
    "unshare",
)

# linux/sched.h
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
# linux/mount.h
MS_RDONLY: Final = 1
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2
# linux/prctl.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
# linux/capability.h
_LINUX_CAPABILITY_VERSION_3: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Leave the namespaces of ``flags`` (CLONE_NEW*) for new ones, with the calling thread.

    CLONE_NEWUSER is EINVAL in a process that has more than one thread.
    """
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace ``fd``, which must be of ``kind``."""
    _checked(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Put something on a folder, in the mount namespace of the calling thread."""
    result = _libc.mount(
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _checked(result, f"mount on {target}")


def unmount(target: str) -> None:
    """Take the uppermost mount off ``target``, at once, even if something in it is still open."""
    _checked(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"unmount {target}")


def drop_capabilities() -> None:
    """Give up every capability, for good unless this process executes something as uid 0."""
    header = struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, bytes(24)), "capset")


def effective_capabilities() -> int:
    """The capabilities that the kernel would honour now, as bits (CapEff of proc(5))."""
    with open("/proc/thread-self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("CapEff:"))
    return int(line.split()[1], 16)


def set_dumpable() -> None:
    """Let this process look at its own /proc again after it changed its uid."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(1)), "PR_SET_DUMPABLE")


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send us ``signal_number`` when the thread that forked us ends.

    Lost whenever the credentials change, so it comes after the last setuid (prctl(2)).
    """
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number)), "PR_SET_PDEATHSIG")
