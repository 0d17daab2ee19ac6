"""A ladder without rungs, whatever this machine has installed."""

from pathlib import Path

import pytest

from aioprocket.helper import locate
from lab.rungs import place_broker, place_installed


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ladder finds nothing but what a test puts there."""
    monkeypatch.delenv(locate.DEFAULT_VARIABLE, raising=False)
    place_installed(monkeypatch, tmp_path / "none")
    place_broker(monkeypatch, tmp_path / "none.sock")
