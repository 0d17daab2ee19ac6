"""What can be asked of sniff, and what of it makes sense together."""

import socket
from dataclasses import dataclass

import typer

__all__ = ("Wanted", "complete_interface")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options, checked against each other."""

    interfaces: tuple[str, ...]
    expression: str
    count: int | None
    duration: float | None
    hexdump: bool
    json: bool
    dissect: bool
    top: bool
    quiet: bool
    namespace: str | None
    promiscuous: bool
    snaplen: int
    helper: str | None

    def __post_init__(self) -> None:
        if len(set(self.interfaces)) != len(self.interfaces):
            raise typer.BadParameter("an interface is named twice")
        if self.top and (self.json or self.hexdump or self.dissect):
            raise typer.BadParameter("--top shows no single packets: no --json, -x or --dissect")
        if self.dissect and self.json:
            raise typer.BadParameter("--dissect is text, and --json is not")
        if self.duration is not None and self.duration <= 0:
            raise typer.BadParameter("--duration is above 0 seconds")
        if self.promiscuous and "any" in self.interfaces:
            raise typer.BadParameter("--promiscuous is for interfaces that are named")
        if "any" in self.interfaces and len(self.interfaces) > 1:
            raise typer.BadParameter("any has all interfaces in it: name no other")


def complete_interface(incomplete: str) -> list[str]:
    """For the shell: the interfaces whose names begin so."""
    names = ["any", *(name for _, name in socket.if_nameindex())]
    return [name for name in names if name.startswith(incomplete)]
