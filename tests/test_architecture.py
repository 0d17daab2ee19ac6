"""The design as a test: who may import whom, how long a module may be, what the map names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "aioprocket"

# Lowest first. A group is a top-level module or folder of the package; it may import from itself
# and from lower rows. Groups of one row do not know each other.
ROWS = (
    ("errors",),
    ("bounds",),
    ("names",),
    ("spec",),
    ("wire", "bpf"),
    ("dissect",),
    ("arguments",),
    ("_system",),
    ("packet",),
    ("readiness", "thread"),
    ("policy",),
    ("helper", "channels"),
    ("opening",),
    ("doors", "endpoint", "resolve", "route_socket"),
    ("capture", "neighbours", "pcapng", "pinger", "tracer"),
    ("testing",),
    ("__init__",),
    ("cli",),
)
ROW_OF = {group: number for number, row in enumerate(ROWS) for group in row}

LOOPS = frozenset({"anyio", "asyncio", "trio", "uvloop"})
KERNEL = frozenset({"ctypes", "fcntl", "mmap", "os", "select", "socket", "subprocess", "time"})
FORBIDDEN = {
    "wire": LOOPS | KERNEL,
    "bpf": LOOPS | KERNEL,
    "dissect": LOOPS | KERNEL,
    "_system": LOOPS,
    "packet": LOOPS,
}

MAX_LINES = 400
MAX_LINES_OF_TESTS = 500


def imported(source: str, module: str) -> Iterator[str]:
    """The absolute names of all that a module imports, wherever in it the import stands.

    ``from .a import b`` gives ``aioprocket.a.b``: whether ``b`` is a module or a name in one, it
    is in the same group.

    Args:
        source: The text of the module.
        module: Its dotted name; that of a package ends with ``.__init__``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def group_of(name: str) -> str:
    """The group of an absolute name below the package; of a name in its root, ``__init__``."""
    part = (*name.split("."), "__init__")[1]
    is_module = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()
    return part if is_module or part in ROW_OF else "__init__"


def violations(source: str, module: str) -> list[str]:
    """What a module imports against the rules."""
    group = module.split(".")[1]
    found = []
    for name in imported(source, module):
        top = name.partition(".")[0]
        if top == "aioprocket":
            other = group_of(name)
            if other != group and ROW_OF[other] >= ROW_OF[group]:
                found.append(f"{group} imports {other} ({name})")
        elif top in FORBIDDEN.get(group, ()):
            found.append(f"{group} imports {top}")
    return found


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def python_files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, folders
    return found


every_module = pytest.mark.parametrize("path", python_files("aioprocket"), ids=relative)


@every_module
def test_module_imports_only_from_below(path: Path) -> None:
    assert violations(path.read_text(), module_name(path)) == []


@every_module
def test_module_fits_the_budget(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", python_files("tests"), ids=relative)
def test_file_of_tests_fits_its_budget(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES_OF_TESTS


@pytest.mark.parametrize("path", python_files("examples", "demo"), ids=relative)
def test_program_uses_public_names_only(path: Path) -> None:
    names = [name for name in imported(path.read_text(), module_name(path)) if "aioprocket" in name]

    assert [name for name in names if any(part.startswith("_") for part in name.split("."))] == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("wire.udp", "from ..errors import WireError", []),
        ("wire.udp", "from .checksum import checksum", []),
        ("wire.__init__", "from .checksum import checksum", []),
        ("wire.udp", "from ..bpf import Program", ["wire imports bpf (aioprocket.bpf.Program)"]),
        ("wire.udp", "from .. import bpf", ["wire imports bpf (aioprocket.bpf)"]),
        ("wire.udp", "import aioprocket.doors", ["wire imports doors (aioprocket.doors)"]),
        ("wire.udp", "import socket", ["wire imports socket"]),
        ("wire.udp", "from os import path", ["wire imports os"]),
        ("_system.tun", "import asyncio.events", ["_system imports asyncio"]),
        ("_system.tun", "import socket", []),
        ("helper.session", "from ..readiness import Readiness", []),
        (
            "helper.session",
            "from ..channels.channel import Channel",
            ["helper imports channels (aioprocket.channels.channel.Channel)"],
        ),
        (
            "spec",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .bpf import Program",
            ["spec imports bpf (aioprocket.bpf.Program)"],
        ),
        (
            "doors",
            "def late():\n    from . import open_tun",
            ["doors imports __init__ (aioprocket.open_tun)"],
        ),
        ("__init__", "from .doors import open_tun\nfrom . import bpf", []),
        ("testing", "import aioprocket", ["testing imports __init__ (aioprocket)"]),
    ],
)
def test_rule_sees_every_way_to_import(module: str, source: str, expected: list[str]) -> None:
    assert violations(source, f"aioprocket.{module}") == expected


def test_module_without_a_row_fails() -> None:
    with pytest.raises(KeyError, match="brand_new"):
        violations("from .errors import WireError", "aioprocket.brand_new")


def test_every_group_of_the_package_has_a_row() -> None:
    groups = {path.relative_to(PACKAGE).parts[0] for path in python_files("aioprocket")}

    assert {group.removesuffix(".py") for group in groups} <= set(ROW_OF)


def inline_code(document: str) -> list[str]:
    """What stands between backticks in a page of Markdown, its blocks of code left out."""
    text = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def paths_in(document: str) -> list[str]:
    """Of these, what can only be a path in the repository."""
    path = re.compile(r"[\w.-]+(/[\w.-]+)*/|[\w.-]+(/[\w.-]+)+|[\w.-]+\.(c|h|md|py|pyi|toml|txt)")
    return sorted({code for code in inline_code(document) if path.fullmatch(code)})


@pytest.mark.parametrize("path", paths_in("ARCHITECTURE.md"))
def test_path_on_the_map_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_decisions_are_newest_first() -> None:
    decisions = (ROOT / "ARCHITECTURE.md").read_text().partition("## Decisions")[2]
    dates = re.findall(r"^\*\*(\d{4}-\d\d-\d\d) · ", decisions, re.MULTILINE)

    assert len(dates) > 50
    assert dates == sorted(dates, reverse=True)


def test_map_has_the_layers_in_this_order() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("## Layers")[2].partition("\n## ")[0]
    drawn = re.findall(r"`aioprocket/(\w+)(?:\.py|/)`", table)

    assert drawn == [group for row in ROWS for group in row if group in drawn]
    assert set(drawn) == {group for group in ROW_OF if group_exists(group)}


def group_exists(group: str) -> bool:
    return (PACKAGE / group).is_dir() or (PACKAGE / f"{group}.py").exists()
