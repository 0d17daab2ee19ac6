"""The man page and the example are true: what they show is valid, and both say the same."""

import re
import subprocess
from pathlib import Path

import pytest

from aioprocket.policy import PolicyText, find_fault
from lab.must import require

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
EXAMPLE = PACKAGING / "policy.example"
PAGE = PACKAGING / "man" / "aioprocket-policy.5"


def test_the_example_is_a_policy() -> None:
    assert find_fault(EXAMPLE.read_bytes()) is None
    assert len(PolicyText(EXAMPLE.read_text()).rules()) > 8


def test_what_the_example_leaves_out_is_a_policy_too() -> None:
    text = re.sub(r"^#allow", "allow", EXAMPLE.read_text(), flags=re.MULTILINE)
    assert text != EXAMPLE.read_text()
    assert find_fault(text.encode()) is None


def test_the_examples_of_the_page_are_a_policy() -> None:
    shown = re.search(r"^\.Bd -literal\n(.*?)^\.Ed$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert shown
    assert find_fault(shown[1].encode()) is None


def test_page_and_example_warn_of_the_same_grants() -> None:
    table = PAGE.read_text().partition(".Sh WHAT EACH GRANT REALLY MEANS")[2].partition(".Sh ")[0]
    comments = " ".join(re.findall(r"^# (.*)$", EXAMPLE.read_text(), re.MULTILINE))
    for item in ("packet", "icmp", "icmp6", "tcp", "udp", "tun", "tap", "device=", "mark=", "all"):
        assert re.search(rf"^\.It Ic (.*, )?{re.escape(item)}( |$)", table, re.MULTILINE), item
        assert re.search(rf"(^|[ ,]){re.escape(item)}[:, ]", comments), item
    for sentence in ("send any IPv4 packet with any source", "control of multicast routing"):
        assert sentence in " ".join(table.split())
        assert sentence in comments


@pytest.mark.parametrize("page", sorted((PACKAGING / "man").iterdir()), ids=lambda page: page.name)
@pytest.mark.parametrize(
    "command", [["mandoc", "-T", "lint", "-W", "warning"], ["groff", "-mandoc", "-ww", "-z"]]
)
def test_the_page_is_clean(command: list[str], page: Path) -> None:
    tool, *options = command
    checked = subprocess.run(
        [require(tool), *options, page], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
