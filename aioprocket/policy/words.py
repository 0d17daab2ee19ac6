"""A request in the words of a rule, there and back: ``tcp port=80 addr=127.0.0.1``."""

import ipaddress
from typing import Any, Final

from ..errors import SpecError
from ..names import IP_PROTOCOLS
from ..wire.kinds import IPV4_KINDS, PACKET_KINDS, RAW_KINDS, TAKES, Flag, Kind
from ..wire.message import DEVICE_NAME, INTERFACE_NAME, Op
from ..wire.request import Request

__all__ = ("parse_request", "request_words")

_ICMP: Final = IP_PROTOCOLS["icmp"]
_ICMPV6: Final = IP_PROTOCOLS["ipv6-icmp"]
_TCP: Final = frozenset({Kind.TCP4, Kind.TCP6})
_UDP: Final = frozenset({Kind.UDP4, Kind.UDP6})
_TUN: Final = frozenset({Kind.TUN, Kind.TAP})
# What everybody may have without a rule that says so: FREE_BUFFER, FREE_PRIORITY, helper/policy.c.
_FREE_BUFFER: Final = 212992
_FREE_PRIORITY: Final = 6
_NOTHING: Final = (0x06, 0, 0, 0)  # BPF_RET | BPF_K: the shortest filter there is

_KINDS: Final = {
    "packet": (Kind.PACKET, Kind.PACKET),
    "icmp": (Kind.RAW4, Kind.RAW4),
    "icmp6": (Kind.RAW6, Kind.RAW6),
    "raw4": (Kind.RAW4, Kind.RAW4),
    "raw6": (Kind.RAW6, Kind.RAW6),
    "tcp": (Kind.TCP4, Kind.TCP6),
    "udp": (Kind.UDP4, Kind.UDP6),
    "tun": (Kind.TUN, Kind.TUN),
    "tap": (Kind.TAP, Kind.TAP),
}


def request_words(request: Request, namespace: str | None = None) -> str:
    """The narrowest rule that grants a request, less who may.

    Args:
        request: An OPEN.
        namespace: The path of its network namespace; None, for one without: the caller's own.
    """
    found = [_kind_word(request), *_conditions(request)]
    if request.namespace:
        found.append(f"netns={namespace or 'own'}")
    return " ".join(found)


def _kind_word(request: Request) -> str:
    kind = request.kind
    assert kind is not None
    if kind in PACKET_KINDS or kind is Kind.ROUTE:  # icmp and icmp6 would do for that as well
        return "packet"
    if kind in RAW_KINDS and request.protocol not in (_ICMP if kind is Kind.RAW4 else _ICMPV6,):
        return f"{kind.name.lower()} proto={request.protocol}"
    if kind in (Kind.RAW4, Kind.PING4):
        return "icmp"
    if kind in (Kind.RAW6, Kind.PING6):
        return "icmp6"
    if kind is Kind.DEVICE:
        return f"device={request.device}:/dev/{request.device}:MAJOR:MINOR"
    return kind.name.lower().rstrip("46")


def _conditions(request: Request) -> list[str]:
    found = []
    kind = request.kind
    if kind in _TCP | _UDP:
        found.append(f"port={request.port or 'PORT'}")
    if kind in _TUN:
        found.append(f"name={request.interface or 'aio*'}")
        if request.addresses:
            networks = ",".join(str(each.network) for each in request.addresses)
            found.append(f"addr={networks}")
    elif request.interface is not None:
        found.append(f"if={request.interface}")
    if request.address is not None:
        found.append(f"addr={request.address}")
    if request.mark is not None:
        found.append(f"mark={request.mark}")
    buffer = max(request.receive_buffer or 0, request.send_buffer or 0)
    if buffer > _FREE_BUFFER:
        found.append(f"buffer={buffer}")
    if (request.priority or 0) > _FREE_PRIORITY:
        found.append(f"priority={request.priority}")
    return found


def parse_request(words: list[str]) -> tuple[Request, str | None]:
    """A request from the words of a rule, one kind with single values; and its ``netns=``.

    ``filter=locked`` and ``listen`` say that the request brings a filter, or listens.

    Raises:
        SpecError: A word is unknown, said twice, or means nothing to the kind.
    """
    if not words:
        raise SpecError("nothing is asked for", hint="like: tcp port=80")
    first, *rest = words
    kinds, fields = _parse_kind(first)
    namespace = None
    for word in rest:
        key, _, value = word.partition("=")
        if key == "netns":
            namespace, found = value, {"namespace": value != "host"}
        else:
            found = _parse_word(word, kinds)
        twice = fields.keys() & found.keys() - {"protocol"}
        if twice:
            raise SpecError(f"{word!r}: said twice")
        fields |= found
    address = fields.get("address")
    kind = kinds[address is not None and address.version == 6]
    request = Request(op=Op.OPEN, kind=kind, **fields)
    _check(request, words)
    return request, namespace if request.namespace else None


def _parse_kind(word: str) -> tuple[tuple[Kind, Kind], dict[str, Any]]:
    key, _, value = word.partition("=")
    if key == "device" and DEVICE_NAME.fullmatch(value.partition(":")[0]):
        return (Kind.DEVICE, Kind.DEVICE), {"device": value.partition(":")[0]}
    if word not in _KINDS:
        raise SpecError(
            f"{word!r} is no kind of descriptor", hint=f"{', '.join(_KINDS)}, device=NAME"
        )
    protocol = {"icmp": {"protocol": _ICMP}, "icmp6": {"protocol": _ICMPV6}}
    return _KINDS[word], dict(protocol.get(word, {}))


def _parse_word(word: str, kinds: tuple[Kind, Kind]) -> dict[str, Any]:
    key, equals, value = word.partition("=")
    try:
        if word == "listen":
            return {"backlog": 128}
        if word == "filter=locked":
            return {"filter": (_NOTHING,)}
        if key == "port":
            return {"port": _number(value, 1, 65535)}
        if key == "proto" and kinds[0] in RAW_KINDS:
            return {"protocol": _number(value, 0, 255)}
        if key == "addr" and kinds[0] in _TUN:
            return {"addresses": tuple(map(ipaddress.ip_interface, value.split(",")))}
        if key == "addr":
            return {"address": ipaddress.ip_address(value)}
        if key in ("if", "name") and INTERFACE_NAME.fullmatch(value):
            return {"interface": value}
        if key in ("mark", "priority"):
            return {key: _number(value, 0, 0xFFFFFFFF)}
        if key == "buffer":
            return {"receive_buffer": _size(value)}
    except ValueError:
        pass
    raise SpecError(f"{word!r} means nothing here{'' if equals else ', or lacks its value'}")


def _number(text: str, low: int, high: int) -> int:
    number = int(text, 0)
    if not low <= number <= high:
        raise ValueError(text)
    return number


def _size(text: str) -> int:
    shift = {"K": 10, "M": 20}.get(text[-1:], 0)
    return _number(text[:-1] if shift else text, 1, 0x3FFFFFFF >> shift) << shift


def _check(request: Request, words: list[str]) -> None:
    assert request.kind is not None
    strange = request.flags & ~TAKES[request.kind]
    version = 4 if request.kind in IPV4_KINDS else 6
    if strange or (request.address is not None and request.address.version != version):
        names = ", ".join(str(flag.name).lower() for flag in strange or Flag.ADDRESS)
        raise SpecError(f"{words[0]} does not go with {names}")
