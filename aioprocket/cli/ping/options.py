"""Options that the commands with probes share."""

import ipaddress
from typing import Annotated, Any, Final, Literal

import typer

__all__ = (
    "Bound",
    "Broadcast",
    "Fragments",
    "HelperCommand",
    "IPv4",
    "IPv6",
    "Json",
    "Mark",
    "Namespace",
    "Numeric",
    "Pattern",
    "Size",
    "SocketType",
    "Tos",
    "Ttl",
    "df_of",
    "family_of",
    "origin_of",
    "pattern_of",
)

IPv4 = Annotated[bool, typer.Option("-4", help="addresses of IPv4 only")]
IPv6 = Annotated[bool, typer.Option("-6", help="addresses of IPv6 only")]
Bound = Annotated[
    str | None,
    typer.Option(
        "-I",
        "--interface",
        metavar="NAME|ADDRESS",
        help="send by this interface, or from this address",
    ),
]
Size = Annotated[int, typer.Option("-s", "--size", metavar="BYTES", help="behind the ICMP header")]
Ttl = Annotated[int | None, typer.Option("-t", "--ttl", help="time to live of the probes")]
Tos = Annotated[int | None, typer.Option("-Q", "--tos", help="type of service, 0 to 255")]
Pattern = Annotated[
    str | None, typer.Option("-p", "--pattern", metavar="HEX", help="what fills the probes")
]
Fragments = Annotated[
    Literal["do", "want", "dont"],
    typer.Option("-M", help="do: never fragment; dont: without that flag"),
]
Broadcast = Annotated[bool, typer.Option("-b", "--broadcast", help="allow addresses of many hosts")]
Mark = Annotated[int | None, typer.Option("--mark", help="for routing and firewalls")]
Numeric = Annotated[
    bool, typer.Option("-n", help="changes nothing: addresses are numbers in any case")
]
Namespace = Annotated[
    str | None, typer.Option(metavar="NETNS", help="a name of ip netns, a path, or pid:NUMBER")
]
SocketType = Annotated[
    Literal["auto", "dgram", "raw"],
    typer.Option("--type", help="dgram: the kernel's ping socket; raw: by the helper"),
]
HelperCommand = Annotated[
    str | None, typer.Option(metavar="COMMAND", help="how to get the socket; else as programs do")
]
Json = Annotated[bool, typer.Option("--json", help="one object per line")]


_DF: Final[dict[str, bool | None]] = {"do": True, "want": None, "dont": False}


def df_of(fragments: str) -> bool | None:
    """The ``df`` that ``-M`` means, as ping(8) has it."""
    return _DF[fragments]


def family_of(ipv4: bool, ipv6: bool) -> Literal[4, 6] | None:
    """What ``-4`` and ``-6`` say together.

    Raises:
        typer.BadParameter: Both.
    """
    if ipv4 and ipv6:
        raise typer.BadParameter("-4 and -6 leave nothing")
    return 4 if ipv4 else 6 if ipv6 else None


def origin_of(bound: str | None) -> dict[str, Any]:
    """The ``source`` or the ``interface`` that ``-I`` means, as ping(8) has it."""
    if bound is None:
        return {}
    try:
        return {"source": ipaddress.ip_address(bound)}
    except ValueError:
        return {"interface": bound}


def pattern_of(text: str | None) -> bytes | None:
    """The bytes of ``-p``.

    Raises:
        typer.BadParameter: It is not hexadecimal.
    """
    if text is None:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise typer.BadParameter(f"-p {text!r} is not hexadecimal: like ff00") from None
    if not found:
        raise typer.BadParameter("-p is empty")
    return found
