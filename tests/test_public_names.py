"""``__all__`` against reality, in both directions, for every module without an underscore."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import aioprocket

ROOT = Path(__file__).parent.parent


def is_public(path: Path) -> bool:
    names = path.relative_to(ROOT).with_suffix("").parts
    return not any(name.startswith("_") and name != "__init__" for name in names)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def defined(path: Path) -> Iterator[str]:
    """The public names that a module makes: what it defines and, in a package, what it gathers."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.Assign():
                yield from (name for target in node.targets for name in assigned(target))
            case ast.AnnAssign():
                yield from assigned(node.target)
            case ast.ImportFrom() if path.name == "__init__.py" and node.level:
                yield from (alias.asname or alias.name for alias in node.names)


def assigned(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple):
        for element in target.elts:
            yield from assigned(element)


every_public_module = pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "aioprocket").rglob("*.py")) if is_public(path)],
    ids=module_name,
)


@every_public_module
def test_module_that_has_names_declares_them(path: Path) -> None:
    public = {name for name in defined(path) if not name.startswith("_")}
    declared = getattr(importlib.import_module(module_name(path)), "__all__", ())

    assert isinstance(declared, tuple)
    assert public - set(declared) == set()


@every_public_module
def test_declared_name_exists_once(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    declared = getattr(module, "__all__", ())

    assert [name for name in declared if not hasattr(module, name)] == []
    assert len(set(declared)) == len(declared)


def test_the_version_is_that_of_the_distribution_and_costs_nothing_until_it_is_asked_for() -> None:
    loaded = "'importlib.metadata' in sys.modules"
    program = f"import sys, aioprocket; print({loaded}, aioprocket.__version__, {loaded})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    version = metadata.version("aioprocket")
    assert done.stdout.split() == ["False", version, "True"]
    assert aioprocket.__version__ == version
