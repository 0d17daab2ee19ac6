"""Skips that cannot hide: what AIOPROCKET_MUST_TEST names has to be there.

The variable is a comma-separated list of marks and tools
(``netns,realroot,sudo,tcpdump,tshark,clang``), or ``all``. A test that cannot run for want of one
of them fails then, instead of being skipped.
"""

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ("require", "unavailable")


def unavailable(what: str, reason: str) -> NoReturn:
    """Skip the test for want of ``what``, or fail it where that must be tested."""
    demanded = {word.strip() for word in os.environ.get("AIOPROCKET_MUST_TEST", "").split(",")}
    if demanded & {what, "all"}:
        pytest.fail(f"AIOPROCKET_MUST_TEST demands {what}: {reason}", pytrace=False)
    pytest.skip(f"{what}: {reason}")


def require(tool: str) -> str:
    """The path of a program of the system that the test cannot do without."""
    # Daemons and network tools are often not on an ordinary user's PATH.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    found = shutil.which(tool, path=path)
    if found is None:
        unavailable(tool, f"the program {tool} is not installed")
    return found
