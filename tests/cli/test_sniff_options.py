"""What ``aioprocket sniff`` says to what it is asked for."""

import re
import signal
import sys
from collections.abc import Callable

import pytest

from aioprocket.cli import main
from aioprocket.cli.sniff import command
from aioprocket.cli.sniff.options import Wanted, complete_interface

pytestmark = pytest.mark.netns

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: its status, and all that it said, without frames."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["aioprocket", "sniff", *arguments])
        before = signal.getsignal(signal.SIGINT)
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            signal.signal(signal.SIGINT, before)
        told = "".join(capfd.readouterr())
        return int(ended.value.code or 0), " ".join(re.sub(r"[│─╭╮╰╯]", " ", told).split())

    return run


def test_unknown_interface_is_refused_with_those_that_are_there(run: Run) -> None:
    status, said = run("-i", "nowhere9")

    assert status == 2
    assert "nowhere9: No such device (ENODEV)" in said
    assert "interfaces here: lo" in said


def test_interface_that_is_taken_for_an_expression_is_told_where_it_goes(run: Run) -> None:
    status, said = run("lo")

    assert status == 2
    assert "-i lo captures from that interface" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-i", "eth0,lo"], "-i takes one name: -i eth0 -i lo"),
        (["--top", "--json"], "--top shows no single packets"),
        (["--dissect", "--json"], "--dissect is text"),
        (["-c", "0"], "Input should be greater than or equal to 1"),
        (["--duration", "0"], "--duration is above 0"),
        (["-i", "lo", "-i", "lo"], "named twice"),
        (["-i", "any", "-i", "lo"], "name no other"),
        (["--promiscuous"], "--promiscuous is for interfaces that are named"),
        (["--nonsense"], "No such option: --nonsense"),
        (["-s", "99999"], "Input should be less than or equal to 65535"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], said: str, run: Run) -> None:
    status, told = run(*arguments)

    assert status == 2
    assert said in told


def test_p_is_what_it_is_of_tcpdump(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def note(wanted: Wanted) -> int:
        asked.append(wanted.promiscuous)
        return 0

    monkeypatch.setattr(command, "run", note)

    for options in ([], ["-p"], ["--no-promiscuous"], ["--promiscuous"], ["--promiscuous", "-p"]):
        assert run("-i", "lo", *options)[0] == 0

    assert asked == [False, False, False, True, False]


def test_help_teaches_by_examples(run: Run) -> None:
    status, told = run("--help")

    assert status == 0
    assert "aioprocket sniff -i eth0 -c 10 tcp port 443" in told
    assert "--json" in told


def test_shell_completes_interfaces() -> None:
    assert complete_interface("l") == ["lo"]
    assert "any" in complete_interface("")


def test_dissect_without_scapy_is_refused_with_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scapy.layers.all", None)  # as if it were not installed

    status, said = run("-i", "lo", "--dissect")

    assert status == 2
    assert "--dissect is done by scapy" in said
    assert "pip install scapy" in said


@pytest.mark.parametrize("flag", ["-n", "-nn"])
def test_names_that_are_not_looked_up_may_be_declined(run: Run, flag: str) -> None:
    status, said = run(flag, "-i", "nowhere9")

    assert (status, "No such device" in said) == (2, True)
