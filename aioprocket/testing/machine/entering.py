"""Running a program in a host of a network: it is root there, and nowhere else."""

import os
import sys

from . import kernel

__all__ = ("enter",)


def enter(pid: str, network: str, words: list[str]) -> None:
    """Go to the user namespace of a process and to a network, and become the program.

    Ends the process with a line on stderr if that cannot be.
    """
    try:
        namespace = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
        users = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        # To enter the one that it is in would be EINVAL.
        if os.fstat(users).st_ino != os.stat("/proc/self/ns/user").st_ino:
            kernel.setns(users, kernel.CLONE_NEWUSER)
        kernel.setns(namespace, kernel.CLONE_NEWNET)
    except OSError as error:
        sys.exit(f"the network is gone, or not ours: {error}")
    try:
        os.execvp(words[0], words)
    except OSError as error:
        sys.exit(f"{words[0]}: {error.strerror}")
