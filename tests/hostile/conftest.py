import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hostile.ways import BROKER, CAPABILITIES, SETUID, STARTED, SUDO, WAYS, Way
from lab.brokers import running_broker
from lab.must import require
from sandbox.accounts import NOBODY

_FIXTURES = {SETUID: "setuid_helper", CAPABILITIES: "caps_helper", SUDO: "sudo_helper"}
_REAL = [pytest.mark.netns, pytest.mark.realroot]


@pytest.fixture(params=[pytest.param(name, marks=_REAL) for name in WAYS])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """The helper in each of the four ways."""
    with _prepared(request, request.param) as prepared:
        yield prepared


@pytest.fixture(params=[pytest.param(name, marks=_REAL) for name in STARTED])
def started(request: pytest.FixtureRequest) -> Iterator[Way]:
    """The helper in each way in which its caller starts it."""
    with _prepared(request, request.param) as prepared:
        yield prepared


@pytest.fixture(params=[pytest.param(name, marks=_REAL) for name in (SETUID, CAPABILITIES)])
def bits(request: pytest.FixtureRequest) -> Iterator[Way]:
    """The helper where its file's bits give it privilege."""
    with _prepared(request, request.param) as prepared:
        yield prepared


@pytest.fixture(params=[pytest.param(BROKER, marks=_REAL)])
def of_broker(request: pytest.FixtureRequest) -> Iterator[Way]:
    """The helper behind a broker."""
    with _prepared(request, request.param) as prepared:
        yield prepared


@contextmanager
def _prepared(request: pytest.FixtureRequest, name: str) -> Iterator[Way]:
    if name != BROKER:
        helper = str(request.getfixturevalue(_FIXTURES[name]))
        yield Way(name, (require("sudo"), "-n", helper) if name == SUDO else (helper,))
        return
    folder: Path = request.getfixturevalue("stage") / "hostile-broker"
    folder.mkdir(mode=0o755)
    try:
        with running_broker(request.getfixturevalue("helper_binary"), folder / "socket") as broker:
            os.chown(broker.path, 0, NOBODY)
            yield Way(name, (), broker)
    finally:
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()
