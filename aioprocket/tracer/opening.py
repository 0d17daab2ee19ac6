"""The sockets of a trace: by rights or a helper where there is one, else without any privilege."""

import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Final, Literal

from .. import arguments
from .._system import options
from ..channels import Channel, IcmpChannel
from ..errors import ChannelError, HelperError, NotPermittedError, errno_text
from ..helper import is_named, obtain_directly
from ..opening import build_channel, open_channel
from ..spec import IpAddress, SocketSpec
from .connect import ConnectProber
from .flow import EchoFlow, Method, SynFlow, UdpFlow
from .prober import EchoProber, Prober, RawEchoProber, RawSynProber, RawUdpProber, UdpProber
from .request import TraceRequest
from .sockets import sockaddr

__all__ = ("open_prober",)

_DISCARD: Final = 9  # a port, for a route is asked for by connect(2); nothing is sent to it
_HELPER_TIMEOUT: Final = 5.0  # seconds, as of `aioprocket.open`
_UNUSED: Final = 64  # packets read per wakeup of a channel, which these do not stay
_FAMILIES: Final = {4: "inet", 6: "inet6"}
_OWN_NETWORK: Final = (
    "type='dgram' (--type dgram) does without the helper, in the network of this process"
)


async def open_prober(request: TraceRequest, destination: IpAddress) -> Prober:
    """The best way to send these probes that this process has.

    Raises:
        NotPermittedError: No way is permitted.
        And what `aioprocket.open` raises.
    """
    opener = _Opener(request, destination)
    if request.method is not None:
        return await opener.by(request.method)
    try:
        return await opener.by("icmp")
    except (NotPermittedError, HelperError):
        if request.helper is not None:
            raise
    return await opener.by("udp")


class _Opener:
    def __init__(self, request: TraceRequest, destination: IpAddress) -> None:
        self._request = request
        self._destination = destination
        self._version: Literal[4, 6] = 4 if destination.version == 4 else 6
        self._family = _FAMILIES[self._version]
        self._cookie = os.urandom(8)
        self._size = request.size_of(self._version)
        self._elsewhere = False

    async def by(self, method: Method) -> Prober:
        raw: dict[Method, Callable[[], Awaitable[Prober]]] = {
            "icmp": self._raw_echo, "udp": self._raw_udp, "tcp": self._raw_syn,
        }  # fmt: skip
        plain: dict[Method, Callable[[], Awaitable[Prober]]] = {
            "icmp": self._echo, "udp": self._udp, "tcp": self._connect,
        }  # fmt: skip
        if self._request.type == "raw":
            return await raw[method]()
        if self._request.type == "dgram":
            return await plain[method]()
        try:
            return await raw[method]()
        except NotPermittedError as error:
            # It may be in another network, from which the way is another.
            if is_named(self._request.helper) and self._request.namespace is None:
                error.hint = f"{error.hint}\n{_OWN_NETWORK}" if error.hint else _OWN_NETWORK
                error.add_note(_OWN_NETWORK)
                raise
            refused: Exception = error
        except HelperError as error:
            # A helper that was named has to be there.
            if self._request.helper is not None:
                raise
            refused = error
        try:
            return await plain[method]()
        except NotPermittedError as error:
            error.__context__ = refused
            raise

    # Without privilege

    async def _echo(self) -> Prober:
        with ExitStack() as stack:
            sock = await self._icmp("dgram", stack)
            prober = EchoProber(self._destination, sock, self._echo_flow(sock.getsockname()[1]))
            stack.pop_all()
        return prober

    async def _udp(self) -> Prober:
        with ExitStack() as stack:
            sock = await self._connected_udp(self._request.port_of("udp"), stack)
            prober = UdpProber(self._destination, sock, self._udp_flow(sock))
            stack.pop_all()
        return prober

    async def _connect(self) -> Prober:
        async def opener() -> socket.socket:
            with ExitStack() as stack:
                sock = await self._open(stack, protocol="tcp", **self._source())
                stack.pop_all()
            return sock

        return ConnectProber(self._destination, self._request.port_of("tcp"), opener)

    # With a raw ICMP socket

    async def _raw_echo(self) -> Prober:
        with ExitStack() as stack:
            icmp = await self._icmp("raw", stack)
            identifier = int.from_bytes(self._cookie[6:8], "big")
            prober = RawEchoProber(self._destination, icmp, self._echo_flow(identifier))
            stack.pop_all()
        return prober

    async def _raw_udp(self) -> Prober:
        with ExitStack() as stack:
            icmp = await self._icmp("raw", stack)
            sock = await self._connected_udp(self._request.port_of("udp"), stack)
            prober = RawUdpProber(self._destination, icmp, sock, self._udp_flow(sock))
            stack.pop_all()
        return prober

    async def _raw_syn(self) -> Prober:
        port = self._request.port_of("tcp")
        with ExitStack() as stack:
            icmp = await self._icmp("raw", stack)
            with ExitStack() as route:
                udp = await self._connected_udp(_DISCARD, route)
                source = _address(udp)
            reserved = await self._open(stack, protocol="tcp", ip=source)
            ports = reserved.getsockname()[1], port
            raw = await self._open(stack, protocol="tcp", type="raw", ip=self._request.source)
            # Not at the opening, where all that came before would be waited for and thrown away:
            # whatever passes is looked at.
            options.attach_filter(raw, _segments(self._version, *ports))
            flow = SynFlow(self._version, ports, self._cookie, source, self._destination)
            prober = RawSynProber(self._destination, icmp, raw, reserved, flow)
            stack.pop_all()
        return prober

    # What these share

    async def _icmp(self, kind: Literal["raw", "dgram"], stack: ExitStack) -> socket.socket:
        request = self._request
        spec = arguments.icmp(
            family=self._version,
            type=kind,
            ip=request.source,
            interface=request.interface,
            namespace=request.namespace,
            filter=None,
            lock_filter=False,
            mark=request.mark,
            priority=None,
            receive_buffer=None,
            send_buffer=None,
        )
        return await self._open_spec(spec, IcmpChannel, stack)

    async def _connected_udp(self, port: int, stack: ExitStack) -> socket.socket:
        sock = await self._open(stack, protocol="udp", **self._source())
        try:
            sock.connect(sockaddr(sock, self._destination, port))
        except OSError as error:
            number = error.errno or 0
            raise ChannelError(
                f"find a way to {self._destination}: {errno_text(number)}", errno=number
            ) from error
        return sock

    async def _open(
        self,
        stack: ExitStack,
        *,
        protocol: str,
        type: str | None = None,
        ip: str | IpAddress | None = None,
    ) -> socket.socket:
        request = self._request
        spec = arguments.any_socket(
            port=0,
            protocol=protocol,
            type=type,
            family=self._family,
            ip=ip,
            interface=request.interface,
            namespace=request.namespace,
            backlog=None,
            filter=None,
            lock_filter=False,
            mark=request.mark,
            priority=None,
            receive_buffer=None,
            send_buffer=None,
            reuse_port=False,
        )
        assert isinstance(spec, SocketSpec)
        return await self._open_spec(spec, Channel, stack)

    async def _open_spec(
        self, spec: SocketSpec, kind: type[Channel], stack: ExitStack
    ) -> socket.socket:
        channel = await self._open_channel(spec, kind)
        sock = stack.enter_context(channel.to_socket())
        if spec.type == socket.SOCK_RAW and is_named(self._request.helper):
            self._elsewhere = self._is_elsewhere(sock)
        return sock

    async def _open_channel(self, spec: SocketSpec, kind: type[Channel]) -> Channel:
        request = self._request
        raw = spec.type == socket.SOCK_RAW
        # What takes no privilege is opened by our own rights, as the helper may refuse it: unless
        # the helper that was named is in another network.
        if not (self._elsewhere or (raw and is_named(request.helper))):
            try:
                return build_channel(await obtain_directly(spec), kind, _UNUSED)
            except NotPermittedError:
                ping = kind is IcmpChannel and not raw
                if ping and request.namespace is None and request.mark is None:
                    raise  # with a helper it would be the raw one
        return await open_channel(spec, kind, request.helper, _HELPER_TIMEOUT, _UNUSED)

    def _is_elsewhere(self, sock: socket.socket) -> bool:
        """Whether the socket is of another network than those that we open ourselves."""
        if self._request.namespace is not None:
            return False  # so are they all
        with socket.socket(sock.family, socket.SOCK_DGRAM) as own:
            return options.network_cookie(own) != options.network_cookie(sock)

    def _source(self) -> dict[str, Any]:
        return {} if self._request.source is None else {"ip": self._request.source}

    def _echo_flow(self, identifier: int) -> EchoFlow:
        return EchoFlow(self._version, self._size, identifier, self._cookie)

    def _udp_flow(self, sock: socket.socket) -> UdpFlow:
        ports = sock.getsockname()[1], self._request.port_of("udp")
        return UdpFlow(
            self._version, self._size, ports, self._cookie, _address(sock), self._destination
        )


def _address(sock: socket.socket) -> IpAddress:
    host, _, *rest = sock.getsockname()
    scope = rest[1] if rest else 0
    return ipaddress.ip_address(f"{host.partition('%')[0]}%{scope}" if scope else host)


def _segments(version: int, ours: int, theirs: int) -> tuple[tuple[int, int, int, int], ...]:
    """A filter for the segments from one port to the other, as a raw socket gets them."""
    # With IPv4 they start at its header, whose length goes into the index register.
    start, load = ([(0xB1, 0, 0, 0)], 0x48) if version == 4 else ([], 0x28)
    return (
        *start,
        (load, 0, 0, 0),
        (0x15, 0, 3, theirs),
        (load, 0, 0, 2),
        (0x15, 0, 1, ours),
        (0x06, 0, 0, 0xFFFF),
        (0x06, 0, 0, 0),
    )
