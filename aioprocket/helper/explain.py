"""From an errno at a step to an error whose reader knows what to do.

One place for the words, so that a refusal reads alike whether the kernel refused this process or
the helper. Nothing here decides whether something failed.
"""

import errno
import socket
from collections.abc import Callable
from typing import Final

from .._system.interfaces import interface_names_here
from .._system.namespace import namespace_names, namespace_path
from ..errors import (
    AioprocketError,
    HelperError,
    HelperProtocolError,
    NotPermittedError,
    OpenError,
    errno_text,
)
from ..spec import DeviceSpec, PacketSpec, SocketSpec, Spec, TunSpec, describe
from ..wire.kinds import Flag
from ..wire.message import VERSION
from ..wire.reply import BY_FILE, Reason, Reply, Stage
from .ask import how_to_ask
from .diagnose import LOAD_TUN, OUT_OF, WIDEN_PING_RANGE, why_filtered
from .install import how_to_install

__all__ = ("hello_refused", "is_ping_socket", "open_failed", "open_refused", "policy_hint")

_REFUSALS: Final = frozenset({errno.EPERM, errno.EACCES})
_PING: Final = (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6)
_BUFFER_LIMITS: Final = {
    "receive_buffer": "net.core.rmem_max",
    "send_buffer": "net.core.wmem_max",
}
_IPV6_MTU: Final = 1280  # RFC 8200, section 5
_FIRST_FREE_PORT: Final = 1024

# What was being done, by `OpenError.step`; {} is the thing that was asked for.
_DOING: Final = {
    "namespace": "entering the namespace for the {}",
    "socket": "opening the {}",
    "interface": "finding the interface of the {}",
    "option": "setting an option of the {}",
    "bind": "binding the {}",
    "listen": "listening on the {}",
    "filter": "attaching the filter of the {}",
    "device": "opening the {}",
    "tun": "making the {}",
    "address": "giving address, MTU or link to the {}",
    "verify": "checking the {}",
}

_REASONS: Final = {
    Reason.KIND: "this kind is not granted to you",
    Reason.PROTOCOL: "raw sockets are granted for ICMP and ICMPv6 only",
    Reason.PORT: "ports 1 to 1023 are granted, no others",
    Reason.NAME: "tun and tap devices must be named aio…",
    Reason.DEVICE: "the device is not on its list",
    Reason.MARK: "marks are not granted",
    Reason.BUFFER: "buffers above 64 MiB are not granted",
    Reason.PRIORITY: "priorities above 7 are not granted",
    Reason.NAMESPACE: "namespaces other than your own are not granted",
    Reason.EVERYBODY: "everybody may execute the helper, or connect to the broker, and there is no "
    "policy",
    Reason.FILE: "the file of the helper, or the socket of the broker, is not root's, or others "
    "can write there, or above",
    Reason.ADDRESS: "only addresses that no real network has are granted",
}
_INVALID: Final = "its policy is invalid, and nobody gets anything until it is mended"
# The same, where an administrator has written the rules.
_FILE_REASONS: Final = {
    Reason.KIND: "its policy grants you nothing of this kind",
    Reason.PROTOCOL: "its policy grants you other protocols",
    Reason.PORT: "its policy grants you other ports",
    Reason.NAME: "its policy grants you devices of other names",
    Reason.DEVICE: "its policy does not grant you this device",
    Reason.MARK: "its policy does not grant you this mark",
    Reason.BUFFER: "its policy grants you smaller buffers",
    Reason.PRIORITY: "its policy grants you lower priorities",
    Reason.NAMESPACE: "its policy grants you other network namespaces",
    Reason.FILE: _REASONS[Reason.FILE],
    Reason.ADDRESS: "its policy grants you other addresses",
    Reason.INTERFACE: "its policy grants you another interface",
    Reason.FILTER: "its policy grants it with a filter only",
    Reason.LISTEN: "its policy grants it with a backlog only",
    Reason.LIMIT: "this session has as many as its policy grants",
}
_FILE_HINTS: Final = {
    Reason.FILTER: "give it a filter: it will be locked",
    Reason.LISTEN: "give backlog=",
    Reason.LIMIT: "a new session begins to count anew",
}
_NO_PORT: Final = (
    "a rule grants ports, and a socket without one takes no privilege: give port=, or start the "
    "program in the network that it is for"
)
_ROOT_ONLY: Final = "the helper's built-in policy does not grant it: run the program as root"
_REASON_HINTS: Final = {
    Reason.KIND: _ROOT_ONLY,
    Reason.PROTOCOL: f"{_ROOT_ONLY}, or with CAP_NET_RAW",
    Reason.NAME: "leave the name out, and the kernel numbers aio0, aio1, …",
    Reason.DEVICE: _ROOT_ONLY,
    Reason.MARK: "the helper's built-in policy grants no marks: the process needs CAP_NET_ADMIN",
    Reason.BUFFER: "the helper's built-in policy grants 64 MiB: stay at or below",
    Reason.PRIORITY: "the helper's built-in policy grants priorities up to 7: more needs "
    "CAP_NET_ADMIN",
    Reason.NAMESPACE: f"{_ROOT_ONLY} to enter somebody else's namespace",
    Reason.ADDRESS: "take one from 198.18.0.0/15 or 2001:db8::/32; in a namespace of your own, any",
}


def open_failed(
    spec: Spec, step: str, number: int, *, what: str = "", by: str = ""
) -> NotPermittedError | OpenError:
    """The error for a system call that failed: `NotPermittedError` if it was a refusal.

    Args:
        spec: What was asked for.
        step: A step of `OpenError`.
        number: The errno.
        what: The option, where the step is ``"option"``.
        by: Who tried, where it was not this process.
    """
    doing = _DOING[step].format(describe(spec))
    if what:
        doing = doing.replace("an option", what)
    message = f"{by + ': ' if by else ''}{doing}: {errno_text(number)}"
    if number in _REFUSALS:
        hint = _REFUSAL_HINTS.get(step, _no_refusal_hint)(spec, what)
        return NotPermittedError(message, errno=number, step=step, hint=hint)
    hint = OUT_OF.get(number, "") or _HINTS.get((step, number), _no_hint)(spec)
    return OpenError(message, errno=number, step=step, hint=hint)


def open_refused(spec: Spec, reply: Reply, by: str, uid: int) -> AioprocketError:
    """The error for a helper's reply to OPEN that brings no descriptor.

    ``uid``: as whom it knows this process, which in a user namespace may have another number.
    """
    match reply.stage:
        case Stage.POLICY:
            return _policy(spec, reply, by, uid)
        case Stage.DECODE | Stage.VERSION | Stage.IDENTITY:
            return hello_refused(reply, by)
        case Stage.INTERNAL:
            return HelperError(f"{by} failed in itself: {errno_text(reply.errno)}")
        case _:
            return open_failed(
                spec, reply.stage.name.lower(), reply.errno, what=_option(reply), by=by
            )


def hello_refused(reply: Reply, by: str) -> AioprocketError:
    """The error for a helper that will not talk to us at all."""
    if reply.stage is Stage.IDENTITY:
        return NotPermittedError(
            f"{by} does not know who is calling: {errno_text(reply.errno)}",
            errno=reply.errno,
            step="identity",
            hint="the process that made the session's socket must be the one that uses it",
        )
    if reply.stage is Stage.POLICY:
        return NotPermittedError(
            f"{by} has too many connections of this account: {errno_text(reply.errno)}",
            errno=reply.errno,
            step="policy",
            hint="close some, or share one: async with aioprocket.Helper() as helper",
        )
    if reply.stage is Stage.NAMESPACE:
        return NotPermittedError(
            f"{by} does not know in which network this process is: {errno_text(reply.errno)}",
            errno=reply.errno,
            step="namespace",
            hint="in another network than the broker's it needs Linux 6.5; process and socket "
            "must be of one network",
        )
    if reply.stage is Stage.VERSION:
        return HelperProtocolError(
            f"{by} speaks versions {reply.lowest} to {reply.highest}, this library {VERSION}",
            hint=how_to_install(),
        )
    return HelperProtocolError(
        f"{by} did not understand the request: {errno_text(reply.errno)}",
        hint=f"is it older than this library? {how_to_install()}",
    )


def is_ping_socket(spec: Spec) -> bool:
    """Whether it is what the kernel opens for groups, and for no privilege: icmp(7)."""
    return (
        isinstance(spec, SocketSpec) and spec.type == socket.SOCK_DGRAM and spec.protocol in _PING
    )


def policy_hint(reason: Reason) -> str:
    """What to do about a refusal by policy; empty where it depends on how the helper was chosen."""
    if reason in (Reason.EVERYBODY, Reason.FILE):
        return how_to_install()
    return _REASON_HINTS.get(reason, "")


def _policy(spec: Spec, reply: Reply, by: str, uid: int) -> NotPermittedError:
    try:
        reason = Reason(reply.detail & ~BY_FILE)
    except ValueError:
        words, hint = f"reason {reply.detail}", ""
    else:
        words, hint = _explained(spec, reason, uid, by_file=bool(reply.detail & BY_FILE))
    return NotPermittedError(
        f"{by} does not open the {describe(spec)}: {words}",
        errno=reply.errno,
        step="policy",
        hint=hint,
    )


def _explained(spec: Spec, reason: Reason, uid: int, *, by_file: bool) -> tuple[str, str]:
    """The words and the hint."""
    if reason is Reason.POLICY:
        return _INVALID, "what is wrong with it: aioprocket policy check"
    if by_file and reason in _FILE_REASONS:
        hint = how_to_install() if reason is Reason.FILE else ""
        if reason is Reason.PORT and isinstance(spec, SocketSpec) and spec.port == 0:
            hint = _NO_PORT
        foreign = reason is Reason.NAMESPACE  # though none was asked for: ours is not the broker's
        return _FILE_REASONS[reason], (
            hint or _FILE_HINTS.get(reason) or how_to_ask(spec, uid, foreign=foreign)
        )
    return _REASONS.get(reason, f"reason {int(reason)}"), policy_hint(reason)


def _option(reply: Reply) -> str:
    if reply.stage is not Stage.OPTION or reply.detail >= len(Flag):
        return ""
    return str(Flag(1 << reply.detail).name).lower()


def _no_hint(spec: Spec) -> str:
    return ""


def _no_refusal_hint(spec: Spec, what: str) -> str:
    return ""


def _socket_refused(spec: Spec, what: str) -> str:
    """A ping socket is permitted to groups, icmp(7), and no privilege is a substitute."""
    if is_ping_socket(spec):
        return f'{WIDEN_PING_RANGE}  # or take type="raw"'
    found = why_filtered()
    return found[1] if found is not None else ""


def _option_refused(spec: Spec, what: str) -> str:
    if what in _BUFFER_LIMITS:
        return f"stay at or below {_BUFFER_LIMITS[what]} (sysctl), or take a privileged helper"
    return _REASON_HINTS[Reason.MARK] if what == "mark" else ""


def _unprivileged_port(spec: Spec, what: str) -> str:
    if isinstance(spec, SocketSpec) and spec.port >= _FIRST_FREE_PORT:
        return f"sudo sysctl -w net.ipv4.ip_unprivileged_port_start={_FIRST_FREE_PORT}"
    return ""


def _device_refused(spec: Spec, what: str) -> str:
    """No helper uses more rights to a device's file than its caller has."""
    if isinstance(spec, TunSpec) or (isinstance(spec, DeviceSpec) and spec.name == "net/tun"):
        return "sudo chmod 0666 /dev/net/tun"
    return _REASON_HINTS[Reason.DEVICE]


def _mtu_refused(spec: Spec, what: str) -> str:
    """Without IPv6, a device would have it anew when the MTU rises, and believe routers again."""
    if not isinstance(spec, TunSpec) or spec.mtu is None:
        return ""
    if spec.mtu < _IPV6_MTU:
        return f"take an mtu of {_IPV6_MTU} or more; in a namespace of your own, any"
    return f"the device has lost its IPv6: sudo ip link set dev {spec.name} mtu {spec.mtu}"


def _no_process(spec: Spec) -> str:
    return "there is no such process; the running ones: ps -e"


def _interfaces(spec: Spec) -> str:
    namespace = None if isinstance(spec, DeviceSpec) else spec.namespace
    if namespace is not None:
        return f"interfaces there: nsenter --net={namespace_path(namespace)} ip link"
    return f"interfaces here: {', '.join(interface_names_here())}"


def _namespaces(spec: Spec) -> str:
    names = namespace_names()
    if not names:
        return "there is no named network namespace: ip netns add NAME makes one"
    return f"named network namespaces: {', '.join(names)}"


def _holder(spec: Spec) -> str:
    if not isinstance(spec, SocketSpec):
        return ""
    kind = "-ltnp" if spec.type == socket.SOCK_STREAM else "-lunp"
    return f"who holds it: ss {kind} 'sport = :{spec.port}'"


def _addresses(spec: Spec) -> str:
    return "addresses here: ip -brief address"


def _filter(spec: Spec) -> str:
    if isinstance(spec, SocketSpec | PacketSpec) and spec.filter is not None:
        return (
            f"the kernel's checker refused the {len(spec.filter)} instructions: every path must "
            "end in a return, and jumps go forward only"
        )
    return ""


def _tun_module(spec: Spec) -> str:
    if isinstance(spec, TunSpec) or (isinstance(spec, DeviceSpec) and spec.name == "net/tun"):
        return LOAD_TUN
    return ""


# What a refusal calls for at some steps, whoever met it.
_REFUSAL_HINTS: Final[dict[str, Callable[[Spec, str], str]]] = {
    "socket": _socket_refused,
    "option": _option_refused,
    "bind": _unprivileged_port,
    "device": _device_refused,
    "address": _mtu_refused,
}

_HINTS: Final[dict[tuple[str, int], Callable[[Spec], str]]] = {
    ("interface", errno.ENODEV): _interfaces,
    ("namespace", errno.ENOENT): _namespaces,
    ("namespace", errno.ESRCH): _no_process,
    ("namespace", errno.EINVAL): lambda spec: "the file is not a network namespace",
    ("bind", errno.EADDRINUSE): _holder,
    ("bind", errno.EADDRNOTAVAIL): _addresses,
    ("filter", errno.EINVAL): _filter,
    ("device", errno.ENOENT): _tun_module,
    ("tun", errno.EBUSY): lambda spec: "another program has attached to the device",
    ("tun", errno.EINVAL): lambda spec: "an interface of this name exists, of another kind",
}
