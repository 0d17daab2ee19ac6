"""The C programs to compare with, compiled when they are needed."""

import subprocess
from pathlib import Path
from typing import Final

__all__ = ("compile_peers",)

_HERE = Path(__file__).resolve().parent

# Program → library, and the package of Debian that brings its headers.
_LIBRARIES: Final = {"pcap_counter": ("pcap", "libpcap-dev")}


def compile_peers(folder: Path) -> dict[str, Path]:
    """Each C file beside this one, compiled into ``folder``: name → program.

    What needs a library that is not there is named, and left out.
    """
    programs = {}
    for source in sorted(_HERE.glob("*.c")):
        program = folder / source.stem
        command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", str(source), "-o", str(program)]
        if source.stem not in _LIBRARIES:
            subprocess.run(command, check=True)
        else:
            library, package = _LIBRARIES[source.stem]
            linked = subprocess.run([*command, f"-l{library}"], capture_output=True)
            if linked.returncode != 0:
                print(f"{source.stem} is left out: no {library} (on Debian: apt install {package})")
                continue
        programs[source.stem] = program
    return programs
