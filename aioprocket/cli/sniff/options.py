"""What can be asked of sniff, and what of it makes sense together."""

import socket
import sys
from dataclasses import dataclass

import typer

from ...pcapng import Rotation

__all__ = ("Wanted", "complete_interface", "rotation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The options, checked against each other."""

    interfaces: tuple[str, ...]
    expression: str
    count: int | None
    duration: float | None
    read: str | None
    write: str | None
    rotation: Rotation | None
    force: bool
    print: bool
    hexdump: bool
    json: bool
    dissect: bool
    top: bool
    quiet: bool
    namespace: str | None
    promiscuous: bool
    snaplen: int | None
    helper: str | None

    def __post_init__(self) -> None:
        for wrong, why in (*self._views(), *self._sources(), *self._files()):
            if wrong:
                raise typer.BadParameter(why)

    def _views(self) -> tuple[tuple[object, str], ...]:
        lines = self.json or self.hexdump or self.dissect or self.print
        return (
            (
                self.top and lines,
                "--top shows no single packets: no --json, -x, --dissect, --print",
            ),
            (self.dissect and self.json, "--dissect is text, and --json is not"),
        )

    def _sources(self) -> tuple[tuple[object, str], ...]:
        names = self.interfaces
        listed = next((name for name in names if "," in name), "")
        live = (names, self.namespace, self.promiscuous, self.snaplen, self.helper, self.duration)
        return (
            (listed, f"-i takes one name: {' '.join(f'-i {each}' for each in listed.split(','))}"),
            (len(set(names)) != len(names), "an interface is named twice"),
            ("any" in names and len(names) > 1, "any has all interfaces in it: name no other"),
            (self.promiscuous and not self.named, "--promiscuous is for interfaces that are named"),
            (
                self.duration is not None and not self.duration > 0,
                "--duration is above 0 seconds",
            ),
            (
                self.read and any(live),
                "-r reads a file: no option of interfaces or time goes with it",
            ),
        )

    def _files(self) -> tuple[tuple[object, str], ...]:
        standard = self.write == "-"
        return (
            (self.rotation and not self.write, "there is no file to rotate: -w names one"),
            (self.rotation and standard, "-w - is one stream: it cannot be rotated"),
            (self.force and not self.write, "--force is about the file of -w"),
            (self.print and not self.write, "--print is for -w, without which packets are printed"),
            (standard and (self.shows_lines or self.top), "-w - has standard output for itself"),
            (standard and sys.stdout.isatty(), "-w - would write bytes to the terminal: pipe it"),
        )

    @property
    def named(self) -> bool:
        """Whether the interfaces are known by name."""
        return bool(self.interfaces) and "any" not in self.interfaces

    @property
    def shows_lines(self) -> bool:
        """Whether packets are printed: unless they are written, and nobody said so."""
        if self.write is None:
            return not self.top
        return self.print or self.json or self.hexdump or self.dissect


def rotation(
    size: float | None, seconds: float | None, packets: int | None, files: int | None
) -> Rotation | None:
    """When the next file begins; None: never."""
    if size is seconds is packets is files is None:
        return None
    if size is seconds is packets is None:
        raise typer.BadParameter(
            "-W says how many files are kept: -C, -G or --rotate-packets, when to go on"
        )
    return Rotation(
        size=None if size is None else int(size * 1_000_000),
        seconds=seconds,
        packets=packets,
        files=files,
    )


def complete_interface(incomplete: str) -> list[str]:
    """For the shell: the interfaces whose names begin so."""
    names = ["any", *(name for _, name in socket.if_nameindex())]
    return [name for name in names if name.startswith(incomplete)]
