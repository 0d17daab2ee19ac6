"""Which ways to a descriptor work here, each tried once, and why the others do not.

What is opened is closed again: a raw socket for ICMP, which needs privilege and disturbs nobody.
The words are those of the errors that a program would get.
"""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from .._system import tun
from ..errors import (
    AioprocketError,
    HelperDiedError,
    HelperProtocolError,
    HelperTimeoutError,
    NotPermittedError,
)
from ..policy import PolicyText, distrust, find_fault, read_policy
from ..spec import SocketSpec
from .diagnose import (
    LOAD_TUN,
    Diagnosis,
    why_filtered,
    why_no_sudo,
    why_no_user_namespace,
    why_none_can_help,
    why_not_executable,
    why_unprivileged,
)
from .install import how_to_install, how_to_start_broker
from .ladder import HelperLike, obtain, obtain_directly
from .locate import BROKER_SOCKET, DEFAULT_VARIABLE, INSTALLED, has_broker, installed_helper
from .place import objections
from .units import why_broker_refuses

__all__ = ("Examined", "State", "examine", "examine_broker", "examine_helper")

State: TypeAlias = Literal["works", "denied", "unsafe", "no"]

_RAW: Final = SocketSpec(family=socket.AF_INET, type=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP)
_PING: Final = SocketSpec(
    family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=socket.IPPROTO_ICMP
)
_TIMEOUT: Final = 5.0
_NO_HELPER: Final = (HelperDiedError, HelperProtocolError, HelperTimeoutError)
_UNSHARE: Final = ("unshare", "--user", "--map-root-user", "--net", "true")
_SYSTEM_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Examined:
    """One way, whether it works here, and if not, why and what mends it.

    ``denied``: it works, but its policy grants this caller nothing, or it is not known what.
    ``unsafe``: it works, and somebody else than root can replace it. ``grants``: what the policy's
    rules grant the caller, where that is no raw socket for ICMP.
    """

    way: str
    state: State
    reason: str = ""
    remedy: str = ""
    grants: tuple[str, ...] = ()


async def examine() -> tuple[Examined, ...]:
    """Every way, in the order in which `obtain` tries those that it tries unasked."""
    return (
        *(await _named()),
        await _own_rights(),
        await examine_helper(),
        await examine_broker(),
        await _sudo(),
        await _ping_socket(),
        _user_namespace(),
        _tun_device(),
    )


async def examine_helper() -> Examined:
    """The installed helper."""
    way = "installed helper"
    path = installed_helper()
    if path is None:
        # Where no program can gain privilege, an installed helper would be of no use.
        reason, remedy = why_none_can_help() or ("", how_to_install())
        absent = f"there is none at {' or '.join(INSTALLED)}"
        return Examined(way, "no", "; ".join(filter(None, (absent, reason))), remedy)
    foreign = _why_foreign(path)
    if foreign is not None:
        return Examined(way, "no", *foreign)
    found = why_not_executable(path)
    if found is not None:
        return Examined(way, "no", *found)
    examined, error = await _tried(way, (path,))
    if isinstance(error, _NO_HELPER):
        reason = f"{path} is no helper that this library can talk to: {error}"
        return Examined(way, "no", reason, how_to_install())
    if examined.state == "no":
        why = why_unprivileged(path)
        return examined if why is None else Examined(way, "no", *why)
    doubts = list(objections(path))
    if doubts:
        words = "; ".join(f"{each.path}: {each.words}" for each in doubts)
        commands = "\n".join(each.command for each in doubts if each.command)
        return Examined(way, "unsafe", f"whoever can replace it becomes root: {words}", commands)
    return examined


async def _named() -> tuple[Examined, ...]:
    """The one way of a program whose environment names it."""
    command = os.environ.get(DEFAULT_VARIABLE)
    return ((await _tried(DEFAULT_VARIABLE, command))[0],) if command else ()


async def _own_rights() -> Examined:
    try:
        (await obtain_directly(_RAW)).descriptor.close()
    except AioprocketError:
        found = why_filtered() or (
            "this process has no cap_net_raw",
            "none is needed where another way works; in a service: "
            "AmbientCapabilities=CAP_NET_RAW; in a container: as root with --cap-add=NET_RAW",
        )
        return Examined("own rights", "no", *found)
    return Examined("own rights", "works")


async def examine_broker() -> Examined:
    """The broker's socket in its place."""
    if not has_broker():
        absent = f"there is no socket {BROKER_SOCKET}"
        return Examined("broker", "no", absent, how_to_start_broker())
    found = why_broker_refuses(BROKER_SOCKET)
    if found is not None:
        return Examined("broker", "no", *found)
    return (await _tried("broker", f"unix:{BROKER_SOCKET}"))[0]


async def _sudo() -> Examined:
    if shutil.which("sudo", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/bin") is None:
        return Examined("sudo", "no", *why_no_sudo())
    found = why_none_can_help() if os.geteuid() != 0 else None
    if found is not None:
        return Examined("sudo", "no", *found)
    return (await _tried("sudo", "sudo"))[0]


async def _ping_socket() -> Examined:
    try:
        (await obtain_directly(_PING)).descriptor.close()
    except AioprocketError as error:
        return Examined("ping socket", "no", str(error), error.hint)
    return Examined("ping socket", "works")


def _user_namespace() -> Examined:
    way = "user namespace"
    program = shutil.which(_UNSHARE[0], path=_SYSTEM_PATH)
    if program is None:
        return Examined(way, "no", "there is no program unshare", "as root: apt install util-linux")
    try:
        done = subprocess.run(
            [program, *_UNSHARE[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": _SYSTEM_PATH, "LC_ALL": "C"},
            check=False,
        )
    except OSError as error:
        return Examined(way, "no", f"{program} cannot be started: {error}")
    if done.returncode == 0:
        return Examined(way, "works", "a program in one (unshare -Urn) needs no helper there")
    said = done.stderr.decode(errors="replace").strip()
    reason, remedy = why_no_user_namespace() or ("it is not known why", "")
    return Examined(way, "no", f"{reason} ({said})", remedy)


def _tun_device() -> Examined:
    """The file that makes TUN and TAP devices: a helper opens it by its caller's rights alone."""
    way, path = "tun and tap", tun.CLONE_DEVICE
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError as error:
        return Examined(way, "no", f"{path}: {error.strerror}", f"sudo chmod 0666 {path}")
    except OSError as error:
        return Examined(way, "no", f"{path}: {error.strerror}", LOAD_TUN)
    return Examined(way, "works", f"{path} can be opened")


def _why_foreign(path: str) -> Diagnosis | None:
    """Why a file in an installed helper's place cannot be one; None: it can."""
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{path} is a dead link: {error.strerror}", f"sudo rm {path}\n{how_to_install()}"
    if status.st_uid != 0:
        reason = f"{path} belongs to uid {status.st_uid}, not to root: it is not what was installed"
        return reason, how_to_install()
    return None


def _grants() -> tuple[str, ...]:
    """What the policy's file grants this process, by its rules, if it can be read."""
    try:
        text = read_policy()
    except OSError:
        return ()
    if text is None or distrust() or find_fault(text) is not None:
        return ()
    groups = {os.getegid(), *os.getgroups()}
    ours = {"all", f"uid={os.getuid()}", *(f"gid={gid}" for gid in groups)}
    rules = PolicyText(text.decode("ascii")).rules()
    return tuple(" ".join(rule.what) for rule in rules if ours & set(rule.who.split()))


async def _tried(way: str, helper: HelperLike) -> tuple[Examined, AioprocketError | None]:
    try:
        opened = await obtain(_RAW, helper=helper, timeout=_TIMEOUT)
    except AioprocketError as error:
        by_policy = isinstance(error, NotPermittedError) and error.step == "policy"
        grants = _grants() if by_policy else ()
        if grants:
            reason = f"its policy grants you {', '.join(grants)}; no raw socket for ICMP"
            return Examined(way, "works", reason, grants=grants), error
        return Examined(way, "denied" if by_policy else "no", str(error), error.hint), error
    opened.descriptor.close()
    return Examined(way, "works"), None
