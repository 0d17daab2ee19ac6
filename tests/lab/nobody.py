"""Run a command as nobody: ``PYTHONPATH=demo python tests/lab/nobody.py COMMAND...``, as root.

The interpreter and the project are made reachable for it, wherever they lie. The project is
read-only there; the home and the folder for temporary files are a new folder that goes afterwards.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sandbox import kernel
from sandbox.accounts import NOBODY
from sandbox.reach import interpreter_trees, make_reachable

PROJECT = Path(__file__).resolve().parents[2]


def main() -> int:
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    make_reachable([*interpreter_trees(), PROJECT])
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        os.chown(home, NOBODY, NOBODY)
        environment = os.environ | {
            "HOME": home, "TMPDIR": home, "HYPOTHESIS_STORAGE_DIRECTORY": home,
        }  # fmt: skip
        return subprocess.run(
            sys.argv[1:], user=NOBODY, group=NOBODY, extra_groups=[], env=environment, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
