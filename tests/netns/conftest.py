"""Helpers that an ordinary user gets, and rules for one."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from helper_client import Session, session
from lab.helpers import sudo_command
from lab.policies import ACCOUNT, Policy, run_as

T = TypeVar("T")


@pytest.fixture(params=["setuid", "capabilities", "sudo"])
def installed(request: pytest.FixtureRequest) -> list[str]:
    """The command of a helper in each way in which an ordinary user gets one."""
    if request.param == "sudo":
        return sudo_command(request.getfixturevalue("sudo_helper"))
    name = {"setuid": "setuid_helper", "capabilities": "caps_helper"}[request.param]
    return [str(request.getfixturevalue(name))]


@pytest.fixture
def policy(policy_file: Path) -> Policy:
    """Write rules into the policy's file."""

    def write(*rules: str) -> None:
        policy_file.write_text("version 1\n" + "".join(f"allow {rule}\n" for rule in rules))
        policy_file.chmod(0o644)

    return write


@pytest.fixture
def asked(everybodys_helper: Path) -> Callable[[Callable[[Session], T]], T]:
    """Call a function with a session, in a child that is the account."""

    def ask(function: Callable[[Session], T]) -> T:
        def inside() -> T:
            with session(everybodys_helper) as running:
                return function(running)

        return run_as(inside, ACCOUNT, ACCOUNT)

    return ask
