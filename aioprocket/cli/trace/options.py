"""Options that trace and mtr share."""

from typing import Annotated, Any, Literal

import typer

from ..ping.options import family_of, origin_of

__all__ = (
    "FirstHop",
    "Host",
    "MaxHops",
    "Method",
    "Parallel",
    "Port",
    "Size",
    "Timeout",
    "settings",
)

Host = Annotated[str, typer.Argument(metavar="HOST", help="a name or an address")]
Method = Annotated[
    Literal["icmp", "udp", "tcp"] | None,
    typer.Option("--method", help="what is sent; else ICMP, or UDP where that is not permitted"),
]
Port = Annotated[
    int | None,
    typer.Option("-p", "-P", "--port", help="of the destination: udp, else 33434; tcp, else 80"),
]
Size = Annotated[
    int | None, typer.Option("-s", "--size", metavar="BYTES", help="of a whole packet")
]
Parallel = Annotated[
    int | None, typer.Option("-N", "--parallel", help="probes that are out at a time")
]
MaxHops = Annotated[int, typer.Option("-m", "--max-hops", help="where to give up")]
FirstHop = Annotated[int, typer.Option("-f", "--first-hop", help="where to begin")]
Timeout = Annotated[
    float,
    typer.Option("-w", "-W", "--timeout", metavar="SECONDS", help="that each answer may take"),
]


def settings(
    *,
    method: Literal["icmp", "udp", "tcp"] | None,
    port: int | None,
    ipv4: bool,
    ipv6: bool,
    bound: str | None,
    **more: Any,
) -> dict[str, Any]:
    """The arguments for `aioprocket.traceroute` and `aioprocket.mtr`.

    Raises:
        typer.BadParameter: They exclude each other.
    """
    if port is not None and method not in ("udp", "tcp"):
        raise typer.BadParameter("--port needs --method udp or tcp")
    return {
        "method": method,
        "port": port,
        "family": family_of(ipv4, ipv6),
        **origin_of(bound),
        **more,
    }
