"""What the helper's built-in policy would refuse, so that a hint does not promise a way in vain.

The policy itself is ``helper/policy.c``: nothing is permitted or forbidden here.
"""

import os
import socket
from ipaddress import ip_network
from typing import Final

from .._system.namespace import namespace_owner
from ..spec import DeviceSpec, IpInterface, PacketSpec, SocketSpec, Spec, TunSpec
from ..wire.kinds import RAW_KINDS, maybe_kind
from ..wire.reply import Reason

__all__ = ("policy_refusal",)

_ICMP: Final = (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6)
_PORTED: Final = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
_LOW_PORTS: Final = range(1, 1024)
_MAX_BUFFER: Final = 64 << 20
_MAX_PRIORITY: Final = 7
_UNUSED: Final = tuple(
    map(
        ip_network,
        (
            "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15",
            "2001:db8::/32", "2001:2::/48", "fe80::/10",
        ),
    )
)  # fmt: skip


def policy_refusal(spec: Spec) -> Reason | None:
    """Why an installed helper would refuse this caller; None: it would open it, or try."""
    if isinstance(spec, DeviceSpec):
        return None if spec.name == "net/tun" else Reason.DEVICE
    if os.getuid() == 0:
        return None
    if spec.namespace is not None and namespace_owner(spec.namespace) != os.getuid():
        return Reason.NAMESPACE
    if isinstance(spec, TunSpec):
        return _of_tun(spec)
    reason = _of_socket(spec) if isinstance(spec, SocketSpec) else None
    return reason or _of_options(spec)


def _of_socket(spec: SocketSpec) -> Reason | None:
    kind = maybe_kind(spec.family, spec.type, spec.protocol)
    if kind is None:
        return Reason.KIND
    if kind in RAW_KINDS and spec.protocol != _ICMP[spec.family == socket.AF_INET6]:
        return Reason.PROTOCOL
    if spec.protocol in _PORTED and spec.type != socket.SOCK_RAW and spec.port not in _LOW_PORTS:
        return Reason.PORT
    return None


def _of_options(spec: SocketSpec | PacketSpec) -> Reason | None:
    if spec.mark is not None:
        return Reason.MARK
    if max(spec.receive_buffer or 0, spec.send_buffer or 0) > _MAX_BUFFER:
        return Reason.BUFFER
    return Reason.PRIORITY if (spec.priority or 0) > _MAX_PRIORITY else None


def _of_tun(spec: TunSpec) -> Reason | None:
    if spec.name and not spec.name.startswith("aio"):
        return Reason.NAME
    if spec.namespace is not None:
        return None
    return None if all(map(_is_unused, spec.addresses)) else Reason.ADDRESS


def _is_unused(address: IpInterface) -> bool:
    return any(
        address.ip in network and address.network.prefixlen >= network.prefixlen
        for network in _UNUSED
    )
