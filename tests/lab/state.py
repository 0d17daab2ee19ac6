"""What a process is for the tests of the next file: what a file changes of it, it changes back."""

import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ("STAGES", "state_of_process", "unchanged_state")

# The folders of temporary files that a whole run has; what is mounted there is in nobody's way.
STAGES = "aioprocket-stage-"

_SETTINGS = (
    "ipv4/conf/all/forwarding",
    "ipv4/icmp_echo_ignore_all",
    "ipv4/ip_unprivileged_port_start",
    "ipv4/ping_group_range",
    "ipv6/conf/all/disable_ipv6",
    "ipv6/conf/all/forwarding",
)
_NAMESPACES = ("ipc", "mnt", "net", "pid", "user")
_LIMITS = tuple(name for name in dir(resource) if name.startswith("RLIMIT_"))
# SIGALRM is pytest-timeout's.
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGALRM})


def _setting(name: str) -> str:
    path = Path("/proc/sys/net", name)
    return path.read_text() if path.exists() else "none"


def _mounts() -> list[str]:
    # The mount point is the fifth word: proc_pid_mountinfo(5).
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(point for line in lines if STAGES not in (point := line.split()[4]))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def state_of_process() -> dict[str, Any]:
    """By name all that the tests of a process share, and some of them change."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return {
        "mounts": _mounts(),
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        **{name: _setting(name) for name in _SETTINGS},
        **{f"namespace {name}": os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES},
        **{name: resource.getrlimit(getattr(resource, name)) for name in _LIMITS},
        **{f"handler of {number!r}": signal.getsignal(number) for number in _SIGNALS},
        **{f"${name}": value for name, value in environment.items()},
        "accounts": (os.getresuid(), os.getresgid(), os.getgroups()),
        "signals blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "folder": os.getcwd(),
        "umask": _umask(),
        "processors": os.sched_getaffinity(0),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
    }


@contextmanager
def unchanged_state() -> Iterator[None]:
    """Fail with what is otherwise afterwards than it was before."""
    before = state_of_process()
    yield
    after = state_of_process()
    changed = {
        name: f"{before.get(name)!r} became {after.get(name)!r}"
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
    assert not changed, f"not as it was before: {changed}"
