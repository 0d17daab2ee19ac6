"""A broker that a test may do anything to, in a folder of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.brokers import Broker, running_broker
from sandbox.accounts import NOBODY


@pytest.fixture
def folder(stage: Path) -> Iterator[Path]:
    made = stage / "broker"
    made.mkdir(mode=0o755)
    try:
        yield made
    finally:
        for left in made.iterdir():
            left.unlink()
        made.rmdir()


@pytest.fixture
def broker(helper_binary: Path, folder: Path) -> Iterator[Broker]:
    with running_broker(helper_binary, folder / "socket") as running:
        yield running


@pytest.fixture
def for_nobody(broker: Broker) -> Broker:
    os.chown(broker.path, 0, NOBODY)  # whose group it is may connect
    return broker
