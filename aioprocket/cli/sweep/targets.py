"""Whom to ask: addresses, networks, names; files of them; or lines as they come in."""

import ipaddress
import os
import re
import stat
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import anyio

from ...errors import SpecError
from ...spec import IpAddress

__all__ = (
    "STDIN",
    "Host",
    "Network",
    "check_versions",
    "count_hosts",
    "parse_targets",
    "read_lines",
)

STDIN: Final = "-"
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Host: TypeAlias = str | IpAddress | Network

# What a resolver may know: letters, digits and hyphens between dots (RFC 1123), and underscores.
_NAME: Final = re.compile(
    r"(?=.{1,253}\.?$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+"
)
_DIGITS_AND_DOTS: Final = re.compile(r"[0-9.]+")
_AT_ONCE: Final = 65536
_LONGEST: Final = 1024  # of a line
_SHOWN: Final = 80  # of what is none of these


def parse_targets(words: Sequence[str]) -> list[Host]:
    """All hosts and networks that are named, those in files included.

    Raises:
        SpecError: A word, or a line of a file, is none of these; the error has its number.
    """
    found: list[Host] = []
    for word in words:
        host = _parse(word)
        path = Path(word)
        if (host is None or isinstance(host, str)) and _is_file(path):
            found += _read_file(path)
        elif host is None:
            raise SpecError(
                f"{word[:_SHOWN]!r} is no address, network, name or file",
                hint="a network is like 192.0.2.0/24; lines of standard input are -",
            )
        else:
            found.append(host)
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # it is too long
        return False


def _read_file(path: Path) -> Iterator[Host]:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                host = _parse_line(line, f"{path}, line {number}")
                if host is not None:
                    yield host
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from error


def _parse_line(line: str, where: str) -> Host | None:
    text = line.partition("#")[0].strip()
    if not text:
        return None
    host = _parse(text)
    if host is None:
        raise SpecError(f"{where}: {text[:_SHOWN]!r} is no address, network or name")
    return host


def _parse(text: str) -> Host | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        pass
    # What looks like an address but is none is a slip, and no name.
    if _NAME.fullmatch(_in_ascii(text)) and not _DIGITS_AND_DOTS.fullmatch(text):
        return text
    return None


def _in_ascii(name: str) -> str:
    """As the resolver is asked for it; empty: it cannot be."""
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def check_versions(hosts: Iterable[Host], family: Literal[4, 6] | None) -> None:
    """Refuse addresses and networks of the other version of IP, before anything is sent.

    Raises:
        SpecError: There is one.
    """
    for host in hosts:
        if family is not None and not isinstance(host, str) and host.version != family:
            raise SpecError(f"{host} is of IPv{host.version}, not of IPv{family}")


def count_hosts(hosts: Iterable[Host]) -> int:
    """How many will be asked."""
    return sum(
        host.num_addresses if isinstance(host, ipaddress.IPv4Network | ipaddress.IPv6Network) else 1
        for host in hosts
    )


async def read_lines(fd: int) -> AsyncIterator[str | IpAddress | Network]:
    """The hosts of a descriptor's lines, each as it comes in.

    Raises:
        SpecError: A line is none; the error has its number.
    """
    # Neither a regular file nor /dev/null can be waited for: epoll_ctl(2), EPERM.
    mode = os.fstat(fd).st_mode
    waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
    number, rest, open_ = 0, b"", True
    while open_:
        if waits:
            await anyio.wait_readable(fd)
        data = os.read(fd, _AT_ONCE)
        open_ = bool(data)
        *lines, rest = (rest + data).split(b"\n") if open_ else (rest, b"")
        if len(rest) > _LONGEST:
            raise SpecError(f"standard input, line {number + len(lines) + 1}: it has no end")
        for line in lines:
            number += 1
            text = line.decode("utf-8", "replace")
            host = _parse_line(text, f"standard input, line {number}")
            if host is not None:
                yield host
