"""The compiled part, where it is missing or does not suit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# An editable installation is found before any folder.
IMPORT = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import aioprocket
"""


@pytest.mark.parametrize(
    ("native", "words"), [(None, "nothing is built"), (b"?", "file too short")], ids=["none", "bad"]
)
def test_why_the_compiled_part_cannot_be_had_is_said(
    native: bytes | None, words: str, tmp_path: Path
) -> None:
    sources = Path(__file__).parents[2] / "aioprocket"
    shutil.copytree(sources, tmp_path / "aioprocket", ignore=shutil.ignore_patterns("*.so"))
    if native is not None:
        (tmp_path / "aioprocket/_system/_native.abi3.so").write_bytes(native)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]
