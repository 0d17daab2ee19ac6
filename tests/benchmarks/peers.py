"""The C programs to compare with, compiled when they are needed."""

import subprocess
from pathlib import Path

__all__ = ("compile_peers",)

_HERE = Path(__file__).resolve().parent


def compile_peers(folder: Path) -> dict[str, Path]:
    """Each C file beside this one, compiled into ``folder``: name → program."""
    programs = {}
    for source in sorted(_HERE.glob("*.c")):
        programs[source.stem] = folder / source.stem
        command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", str(source)]
        subprocess.run([*command, "-o", str(programs[source.stem])], check=True)
    return programs
