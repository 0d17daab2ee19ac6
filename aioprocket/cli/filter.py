"""``aioprocket filter``: the program of an expression, in words, and what it matches in a file."""

from typing import Annotated

import typer

from .. import bpf, pcapng
from ..errors import AioprocketError, WireError
from .failure import ERROR, tell

__all__ = ("filter_command",)

_ETHERNET = bpf.LINKTYPES["ethernet"]


def filter_command(
    words: Annotated[
        list[str],
        typer.Argument(metavar="EXPRESSION", help="as tcpdump takes it", show_default=False),
    ],
    linktype: Annotated[
        str, typer.Option("-y", "--linktype", help="what packets begin with: a name or a number")
    ] = "ethernet",
    snaplen: Annotated[
        int, typer.Option("-s", "--snaplen", min=1, help="bytes that are kept of a packet")
    ] = 262144,
    live: Annotated[
        bool, typer.Option("--live", help="for frames whose VLAN tag the kernel has taken out")
    ] = False,
    explain: Annotated[bool, typer.Option("-e", "--explain", help="say what it does")] = False,
    asm: Annotated[bool, typer.Option("--asm", help="as the kernel's bpf_asm reads it")] = False,
    dump: Annotated[
        int,
        typer.Option(
            "-d", count=True, show_default=False, help="-dd: as an array of C; -ddd: as numbers"
        ),
    ] = 0,
    file: Annotated[
        str | None,
        typer.Option("-r", "--read", metavar="FILE", help="count what matches in a capture file"),
    ] = None,
) -> None:
    """Print the program that the kernel runs for an expression of pcap-filter(7).

    Status 0; with -r, 1 where nothing in the file matches; 2: an error: a wrong expression, no such
    file.

    Examples:
      aioprocket filter tcp port 80

      aioprocket filter --live --explain 'vlan 5 and udp port 53'

      aioprocket filter -r capture.pcapng 'icmp or icmp6'
    """
    expression = " ".join(words)
    try:
        if file is not None:
            raise typer.Exit(_count(expression, file))
        program = bpf.compile(expression, linktype, snaplen, live=live)
    except AioprocketError as error:
        tell(error)
        raise typer.Exit(ERROR) from None
    typer.echo(_text(program, asm=asm, dump=dump, explain=explain, linktype=linktype))


def _text(program: bpf.Program, *, asm: bool, dump: int, explain: bool, linktype: str) -> str:
    if dump >= 3:
        rows = (" ".join(map(str, instruction)) for instruction in program)
        return "\n".join((str(len(program)), *rows))
    if dump == 2:
        return "\n".join(f"{{ {code:#x}, {jt}, {jf}, {k:#010x} }}," for code, jt, jf, k in program)
    lines = bpf.disassemble(program, "bpf_asm" if asm else "tcpdump").splitlines()
    if not explain:
        return "\n".join(lines)
    said = bpf.explain(program, ethernet=bpf.linktype_number(linktype) == _ETHERNET)
    width = max(len(line.expandtabs(1)) for line in lines)
    return "\n".join(
        f"{line.expandtabs(1):<{width}}  ; {words}" for line, words in zip(lines, said, strict=True)
    )


def _count(expression: str, path: str) -> int:
    programs: dict[int, bpf.Program] = {}
    total = matching = octets = 0
    with pcapng.Reader(path) as reader:
        try:
            for packet in reader:
                link = reader.interface_of(packet).linktype
                if link not in programs:
                    programs[link] = bpf.compile(expression, link)
                total += 1
                if programs[link].run(packet):
                    matching += 1
                    octets += packet.wire_len
        except WireError as error:
            raise WireError(f"{path}: {error}", offset=error.offset, hint=error.hint) from error
        if reader.truncated:
            typer.echo(f"aioprocket: {path} ends within a packet", err=True)
    typer.echo(f"{matching} of {total} packets match: {octets} bytes")
    return 0 if matching else 1
