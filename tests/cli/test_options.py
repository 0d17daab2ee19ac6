"""Options of the commands that send probes or look at packets: the same name, the same thing."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from aioprocket.cli import app as app_module
from lab.commands import aioprocket, at_terminal

HERE = "127.0.0.1"
PROBING = ("ping", "sweep", "trace", "mtr", "scan")
# Letters that ping(8), traceroute(8), mtr(8) and fping(8) have for different things.
TWO_SENSES = {"-m", "-p", "-q", "-r", "-w"}


def options(command: str) -> dict[str, Any]:
    """Each option by each of its forms."""
    return {
        form: option
        for option in app_module._load(command).params
        if option.param_type_name == "option"
        for form in (*option.opts, *option.secondary_opts)
    }


def test_one_letter_is_one_option_wherever_it_is() -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    for command in PROBING:
        for form, option in options(command).items():
            seen[form].add(next((each for each in option.opts if each.startswith("--")), form))

    assert {form for form, names in seen.items() if len(names) > 1} == TWO_SENSES


@pytest.mark.parametrize("command", PROBING)
def test_what_all_that_send_probes_have(command: str) -> None:
    wanted = {"-4", "-6", "-I", "--interface", "-W", "--timeout", "-n", "--namespace", "--helper"}

    assert wanted | {"--json"} <= set(options(command))
    assert options(command)["--timeout"].metavar == "SECONDS"
    assert options(command)["--timeout"].default == 1.0


@pytest.mark.parametrize(
    ("command", "forms"),
    [
        ("ping", "-4 -6 -b -c -D -I -i -m -M -n -p -q -Q -s -t -w -W"),  # of ping(8)
        ("sweep", "-a -c -I -q -u"),  # of fping(8)
        ("trace", "-4 -6 -f -m -N -n -p -q -w"),  # of traceroute(8)
        ("mtr", "-4 -6 -c -f -i -I -m -n -P -r -s"),  # of mtr(8)
        ("sniff", "-c -C -G -i -n -p -r -s -w -W -x"),  # of tcpdump(8)
        ("filter", "-d -r -s -y"),
    ],
)
def test_what_who_knows_the_fields_commands_types(command: str, forms: str) -> None:
    assert set(forms.split()) <= set(options(command))


def synopses() -> dict[str, set[str]]:
    """The options that the manual's synopsis names, by command."""
    manual = Path(__file__).parents[2] / "packaging/man/aioprocket.1"
    synopsis = manual.read_text().partition(".Sh SYNOPSIS\n")[2].partition(".Sh ")[0]
    named: dict[str, set[str]] = defaultdict(set)
    for entry in synopsis.split(".Nm\n"):
        head = re.match(r"\.Cm (.+)\n", entry)
        if head:
            flags = re.findall(r"(?:Fl|\|) (?!Fl )(-?[\w-]+)", entry)
            literals = re.findall(r"Ar [\w-]+(?: \| [\w-]+)+", entry)  # values, no options
            values = {value for literal in literals for value in literal[3:].split(" | ")}
            named[head[1]] |= {f"-{flag}" for flag in flags if flag not in values}
    return named


def test_each_option_of_the_manual_is_there() -> None:
    named = synopses()

    assert {*PROBING, "sniff", "filter", "doctor", "helper install", "policy add"} <= set(named)
    for command, flags in named.items():
        group, _, sub = command.partition(" ")
        loaded = app_module._load(group)
        itself = loaded.commands[sub] if sub else loaded
        there = {form for each in itself.params for form in each.opts}
        assert flags <= there, command


@pytest.mark.netns
@pytest.mark.parametrize(
    "arguments",
    [
        ["ping", "-n", "-c", "1", "-W", "20"],
        ["sweep", "-n", "-W", "20", "-M", "do", "-p", "ff00"],
        ["trace", "-n", "-W", "20"],
        ["mtr", "-n", "-W", "20", "-c", "1", "-s", "100", "-N", "2"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_numeric_is_what_it_is_in_any_case(arguments: list[str]) -> None:
    done = aioprocket(*arguments, HERE)

    assert (done.returncode, HERE in done.stdout) == (0, True)


@pytest.mark.netns
def test_report_of_mtr_is_one_table_of_ten_rounds_at_a_terminal_too() -> None:
    with at_terminal("mtr", "--report", "-i", "0.01", "-W", "20", HERE) as terminal:
        said = terminal.read_to_end()

    assert said.count(", round ") == 1
    assert f"{HERE}, round 10;" in said


def test_interface_of_scan_is_named_once() -> None:
    done = aioprocket("scan", "-I", "lo", "lo", "192.0.2.0/24")

    assert done.returncode == 2
    assert "-I names the interface" in done.stderr


@pytest.mark.netns
@pytest.mark.parametrize("named", [["lo", "10.0.0.0/8"], ["-I", "lo", "10.0.0.0/8"]])
def test_network_of_scan_is_asked_where_the_option_says(named: list[str]) -> None:
    assert "16777216 addresses" in aioprocket("scan", *named).stderr


def test_network_alone_is_no_interface_of_scan() -> None:
    done = aioprocket("scan", "192.0.2.0/99")

    assert "192.0.2.0/99" in done.stderr
    assert "interface name" not in done.stderr
