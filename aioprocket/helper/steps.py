"""Commands to be run as root: programs of the system by their names, with their arguments."""

from typing import TypeAlias

__all__ = ("Steps",)

Steps: TypeAlias = tuple[tuple[str, ...], ...]
