"""Each hostile case has a test in each way that the list names; no test is of another case."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from hostile.cases import CASES, ONCE
from hostile.ways import BROKER, CAPABILITIES, SETUID, SUDO, WAYS

# The whole suite is collected, beside other tests.
pytestmark = pytest.mark.timeout(180)

TESTS: Final = Path(__file__).parents[1]
# In which way a test has its helper, by its parameters and its fixtures.
WAY_OF: Final = {
    **{name: name for name in WAYS},
    "setuid_helper": SETUID, "everybodys_helper": SETUID, "caps_helper": CAPABILITIES,
    "sudo_helper": SUDO, "broker": BROKER, "for_nobody": BROKER,
}  # fmt: skip
COLLECT: Final = """
import json, sys, pytest

class Listing:
    def pytest_collection_finish(self, session):
        found = []
        for item in session.items:
            marks = [mark.args for mark in item.iter_markers("hostile")]
            if marks:
                params = getattr(item, "callspec", None)
                values = [str(value) for value in params.params.values()] if params else []
                found.append([item.nodeid, marks, values, item.fixturenames])
        with open(sys.argv[1], "w") as file:
            json.dump(found, file)

sys.exit(pytest.main(["--collect-only", "-qq", "--assert=plain", *sys.argv[2:]], [Listing()]))
"""


@pytest.fixture(scope="module")
def covered(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, list[str]]]:
    """By case and way, the tests."""
    listing = tmp_path_factory.mktemp("listing") / "tests.json"
    files = [path for path in TESTS.rglob("test_*.py") if "mark.hostile(" in path.read_text()]
    command = [sys.executable, "-c", COLLECT, str(listing), *map(str, files)]
    run = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    found: dict[int, dict[str, list[str]]] = {}
    for name, marks, values, fixtures in json.loads(listing.read_text()):
        for number, *said in marks:
            for way in said or _ways(name, values, fixtures):
                found.setdefault(number, {}).setdefault(way, []).append(name)
    return found


def _ways(name: str, values: list[Any], fixtures: list[str]) -> Iterator[str]:
    given = {WAY_OF[value] for value in values if value in WAY_OF}
    given = given or {WAY_OF[fixture] for fixture in fixtures if fixture in WAY_OF}
    if not given and name.startswith("tests/broker/"):
        given = {BROKER}
    return iter(given or ONCE)


def test_each_case_has_a_test_in_each_of_its_ways(
    covered: dict[int, dict[str, list[str]]],
) -> None:
    missing = {
        number: lacking
        for number, (_, ways) in CASES.items()
        if (lacking := set(ways) - set(covered.get(number, {})))
    }
    assert not missing


def test_all_cases_of_the_list_are_there_and_no_others(
    covered: dict[int, dict[str, list[str]]],
) -> None:
    assert list(CASES) == list(range(1, 114))
    assert set(covered) <= set(CASES)
