"""Opening with this process's own rights.

The order of the calls, and so the state in which a descriptor is delivered, is that of "How a
descriptor is prepared" in ``helper/PROTOCOL.md``: a channel cannot tell which rung it came from.
"""

import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from .._system import interfaces, options, tun
from .._system.descriptor import Descriptor, Opened
from .._system.namespace import open_namespace, run_inside
from .._system.numbers import InterfaceFlag, TunFlag
from .._system.rtnetlink import add_address, is_owners_alone, link_message
from .._system.sysctl import ignore_routers
from ..errors import AioprocketError
from ..spec import DeviceSpec, Instruction, PacketSpec, SocketSpec, Spec, TunSpec
from .explain import open_failed

__all__ = ("open_directly", "opened_namespace")

_INET: Final = (socket.AF_INET, socket.AF_INET6)
_PING: Final = (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6)

# linux/filter.h: BPF_LD|BPF_W|BPF_ABS, BPF_LD|BPF_IMM, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K.
_LD_ABS, _LD_IMM, _JEQ, _RET = 0x20, 0x00, 0x15, 0x06
_AD_IFINDEX: Final = 0xFFFFF000 + 8  # SKF_AD_OFF + SKF_AD_IFINDEX
_WHOLE_PACKET: Final = 262144  # more than any packet has

# Marks and priorities use all 32 bits; setsockopt() with a number would take 31.
_UNSIGNED: Final = struct.Struct("@I")


def open_directly(spec: Spec) -> Opened:
    """Open by this process's own rights, within a few system calls' time.

    Raises:
        NotPermittedError: This process may not; a helper may.
        OpenError: It failed for another reason, which a helper would meet, too.
    """
    if isinstance(spec, DeviceSpec) or spec.namespace is None:
        return _open(spec)
    namespace = opened_namespace(spec, spec.namespace)
    try:
        with _step(spec, "namespace"):
            return run_inside(namespace.fileno(), partial(_open, spec))
    finally:
        namespace.close()


def opened_namespace(spec: Spec, namespace: str) -> Descriptor:
    """The namespace of a spec, opened with this process's rights, whichever rung will use it.

    Raises:
        NotPermittedError: Its file may not be opened.
        OpenError: ``ENOENT``, ``ESRCH``: there is none; ``EINVAL``: it is a file of another kind.
    """
    with _step(spec, "namespace"):
        return open_namespace(namespace)


@contextmanager
def _step(spec: Spec, step: str, what: str = "") -> Iterator[None]:
    """Whatever system call fails in the block failed at this step."""
    try:
        yield
    except AioprocketError:
        raise
    except OSError as error:
        raise open_failed(spec, step, error.errno or errno.EIO, what=what) from error


@contextmanager
def _closed_on_failure(thing: socket.socket | Descriptor) -> Iterator[None]:
    try:
        yield
    except BaseException:
        thing.close()
        raise


def _open(spec: Spec) -> Opened:
    match spec:
        case PacketSpec():
            return _open_packet(spec)
        case SocketSpec():
            return _open_socket(spec)
        case TunSpec():
            return _open_tun(spec)
        case DeviceSpec():
            return Opened(_open_device(spec, f"/dev/{spec.name}"), spec)


def _new_socket(spec: Spec, family: int, type: int, protocol: int) -> socket.socket:
    with _step(spec, "socket"):
        return socket.socket(family, type | socket.SOCK_NONBLOCK, protocol)


def _ifindex(spec: SocketSpec | PacketSpec, sock: socket.socket) -> int:
    if spec.interface is None:
        return 0
    with _step(spec, "interface"):
        return interfaces.interface_index(sock.fileno(), spec.interface)


def _open_packet(spec: PacketSpec) -> Opened:
    sock = _new_socket(spec, socket.AF_PACKET, spec.type, 0)
    with _closed_on_failure(sock):
        ifindex = _ifindex(spec, sock)
        _set_options(spec, sock)
        program = _confined(spec, ifindex) if spec.lock_filter else spec.filter
        _set_filter(spec, sock, program)
        return Opened(Descriptor(sock.detach()), spec, ifindex=ifindex)


def _confined(spec: PacketSpec, ifindex: int) -> tuple[Instruction, ...] | None:
    """A bind does not hold the receiver, who can bind again; a locked test of the index does."""
    if not ifindex:
        return spec.filter
    test: tuple[Instruction, ...] = (
        (_LD_ABS, 0, 0, _AD_IFINDEX),
        (_JEQ, 1, 0, ifindex),
        (_RET, 0, 0, 0),
        # The filter asked for begins as any does: with zero in the accumulator.
        (_LD_IMM, 0, 0, 0),
    )
    return test + (spec.filter or ((_RET, 0, 0, _WHOLE_PACKET),))


def _open_socket(spec: SocketSpec) -> Opened:
    sock = _new_socket(spec, spec.family, spec.type, spec.protocol)
    with _closed_on_failure(sock):
        inet = spec.family in _INET
        born_receiving = inet and (
            spec.type == socket.SOCK_RAW
            or (spec.type == socket.SOCK_DGRAM and spec.protocol in _PING)
        )
        # It receives from birth, and first more than it is to receive.
        stale = born_receiving and bool(spec.ip or spec.interface or spec.filter)
        if stale:
            with _step(spec, "filter"):
                options.drop_all(sock)
        elif not born_receiving:
            _set_filter(spec, sock, spec.filter)
            if inet:
                _share_address(spec, sock)
        ifindex = _ifindex(spec, sock)
        if ifindex:
            with _step(spec, "interface"):
                options.bind_to_ifindex(sock, ifindex)
        _set_options(spec, sock)
        _bind_and_listen(spec, sock, ifindex)
        if stale:
            with _step(spec, "filter"):
                options.replace_filter(sock, spec.filter)
                if spec.lock_filter:
                    options.lock_filter(sock)
        return Opened(Descriptor(sock.detach()), spec, ifindex=ifindex)


def _set_filter(
    spec: SocketSpec | PacketSpec, sock: socket.socket, program: tuple[Instruction, ...] | None
) -> None:
    with _step(spec, "filter"):
        if program is not None:
            options.attach_filter(sock, program)
        if spec.lock_filter:
            options.lock_filter(sock)


def _share_address(spec: SocketSpec, sock: socket.socket) -> None:
    with _step(spec, "option", "address sharing"):
        if spec.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if spec.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if spec.family == socket.AF_INET6:
            # Else one program could not hold 0.0.0.0 and :: on one port.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _set_options(spec: SocketSpec | PacketSpec, sock: socket.socket) -> None:
    if spec.receive_buffer is not None:
        with _step(spec, "option", "receive_buffer"):
            options.set_receive_buffer(sock, spec.receive_buffer)
    if spec.send_buffer is not None:
        with _step(spec, "option", "send_buffer"):
            options.set_send_buffer(sock, spec.send_buffer)
    if spec.mark is not None:
        with _step(spec, "option", "mark"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _UNSIGNED.pack(spec.mark))
    if spec.priority is not None:
        with _step(spec, "option", "priority"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _UNSIGNED.pack(spec.priority))


def _bind_and_listen(spec: SocketSpec, sock: socket.socket, ifindex: int) -> None:
    if spec.ip is not None or spec.port:
        with _step(spec, "bind"):
            sock.bind(_address(spec, ifindex))
    if spec.backlog is not None:
        with _step(spec, "listen"):
            sock.listen(spec.backlog)


def _address(spec: SocketSpec, ifindex: int) -> tuple[str, int] | tuple[str, int, int, int]:
    if spec.family == socket.AF_INET:
        return str(spec.ip or "0.0.0.0"), spec.port
    link_local = spec.ip is not None and spec.ip.is_link_local
    return str(spec.ip or "::"), spec.port, 0, ifindex if link_local else 0


def _open_device(spec: DeviceSpec | TunSpec, path: str) -> Descriptor:
    with _step(spec, "device"):
        # Opening a device can have effects, so its kind is looked at before, and it is this very
        # file that is opened then, whatever the path has become meanwhile.
        found = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISCHR(os.fstat(found).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            return Descriptor(os.open(f"/proc/self/fd/{found}", flags))
        finally:
            os.close(found)


def _open_tun(spec: TunSpec) -> Opened:
    device = _open_device(spec, tun.CLONE_DEVICE)
    with _closed_on_failure(device):
        fd = device.fileno()
        with _step(spec, "tun"):
            name, made = _make_tun(spec, fd)
        # Any socket of this namespace answers; this thread may be inside another than the process.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            with _step(spec, "verify"):
                ifindex = interfaces.interface_index(sock.fileno(), name)
                if made and spec.multi_queue:
                    _check_alone(ifindex)
            with _step(spec, "address"):
                _configure_tun(spec, sock.fileno(), name, made)
                for address in spec.addresses:
                    add_address(ifindex, address)
        if spec.persist:
            # Last: the device would outlive a failure after it.
            with _step(spec, "tun"):
                tun.set_persistent(fd, True)
        return Opened(device, spec, name=name, ifindex=ifindex)


def _make_tun(spec: TunSpec, fd: int) -> tuple[str, bool]:
    """The device's name, and whether it is a new one."""
    flags = TunFlag.NO_PI | (TunFlag.TUN if spec.mode == "tun" else TunFlag.TAP)
    if spec.multi_queue:
        flags |= TunFlag.MULTI_QUEUE
    if spec.offload:
        flags |= TunFlag.VNET_HDR
    try:
        name = tun.make_device(fd, spec.name or tun.TEMPLATE, flags | TunFlag.EXCL)
    except OSError as error:
        # EBUSY: the device exists. Then the kernel decides whether it is ours to attach to.
        if error.errno != errno.EBUSY:
            raise
        return tun.make_device(fd, spec.name, flags), False
    tun.set_owner(fd, os.getuid())
    return name, True


def _check_alone(ifindex: int) -> None:
    # Before it had an owner, anybody could attach to it.
    if not is_owners_alone(link_message(ifindex), ifindex, os.getuid()):
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))


def _configure_tun(spec: TunSpec, fd: int, name: str, made: bool) -> None:
    if spec.mtu is not None:
        interfaces.set_mtu(fd, name, spec.mtu)
    # One that is up already was made so by somebody who may say more about it than we.
    to_go_up = spec.up and InterfaceFlag.UP not in interfaces.interface_flags(fd, name)
    if made or to_go_up or spec.mtu is not None:  # with which IPv6 may have come anew
        # Else its holder could say where the host's packets go.
        ignore_routers(name)
    if to_go_up:
        interfaces.set_up(fd, name)
