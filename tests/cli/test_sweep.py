"""``aioprocket sweep``: whom it asks, and what it says of them."""

import json
import os
import re
import select
from pathlib import Path

import pytest

from lab.commands import (
    PATIENCE,
    add_silent_host,
    aioprocket,
    at_terminal,
    interrupted,
    run_here,
    talking,
)
from sandbox import links

pytestmark = pytest.mark.netns

# All of 127.0.0.0/8 answers on the loopback interface; RFC 5737's network does not.
NETWORK = "127.1.2.0/29"
HOSTS = [f"127.1.2.{number}" for number in range(8)]
NOBODY = "203.0.113.9"
PATIENT = ("-W", "20")


def test_network_is_asked_address_by_address() -> None:
    done = aioprocket("sweep", *PATIENT, NETWORK)

    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == HOSTS
    assert done.returncode == 0
    assert "8 probes in " in done.stderr
    assert "8 replies (100.0%)" in done.stderr


def test_who_answers_and_who_does_not_can_be_told_apart() -> None:
    alive = aioprocket("sweep", "--alive", "-q", *PATIENT, HOSTS[0], NOBODY)
    silent = aioprocket("sweep", "--unreachable", "-q", *PATIENT, HOSTS[0], NOBODY)

    assert (alive.stdout, alive.returncode) == (f"{HOSTS[0]}\n", 1)
    assert (silent.stdout, silent.returncode) == (f"{NOBODY}\n", 1)
    assert alive.stderr == silent.stderr == ""


def test_file_has_one_per_line(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# of this machine\n127.1.2.3\n\n127.1.2.4/31  # two\nlocalhost\n")

    done = aioprocket("sweep", "--alive", "-4", *PATIENT, str(path))

    assert sorted(done.stdout.split()) == ["127.1.2.3", "127.1.2.4", "127.1.2.5", "localhost"]


def test_rubbish_in_a_file_has_its_line_and_nothing_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.1.2.3\n127.1.2\n")

    done = aioprocket("sweep", str(path))

    assert done.returncode == 2
    assert done.stdout == ""
    assert f"{path}, line 2: '127.1.2' is no address, network or name" in done.stderr


def test_standard_input_is_asked_as_it_comes() -> None:
    done = aioprocket("sweep", "--json", "-q", *PATIENT, "-", given="127.1.2.3\n127.1.2.4")

    assert [json.loads(line)["host"] for line in done.stdout.splitlines()] == HOSTS[3:5]


@pytest.mark.parametrize("form", [(), ("--json",), ("--alive",)], ids=" ".join)
def test_answers_are_written_while_the_next_line_is_waited_for(form: tuple[str, ...]) -> None:
    with talking("sweep", *PATIENT, *form, "-") as sweep:
        assert sweep.stdin is not None
        assert sweep.stdout is not None
        for host in HOSTS[:2]:
            sweep.stdin.write(f"{host}\n".encode())
            said, _, _ = select.select([sweep.stdout], [], [], PATIENCE)
            assert said
            assert host.encode() in sweep.stdout.readline()
        sweep.stdin.close()
        assert sweep.wait(PATIENCE) == 0


def test_ctrl_c_tells_what_is_not_waited_for(veth: tuple[str, str]) -> None:
    links.add_address(veth[0], "198.51.100.1/24")
    hosts = (HOSTS[0], "198.51.100.2")
    add_silent_host(veth[0], hosts[1])
    done = interrupted("sweep", "-c", "2", "-W", "600", *hosts, after=HOSTS[0])

    assert done.returncode == 1
    assert re.search(r"^[12] probes? in .*: [12] repl(y|ies) \(100.0%\), 1 more not", done.stderr)


def test_sums_say_why_this_machine_did_not_ask() -> None:
    own = aioprocket("sweep", "--path", "link", "--all", *PATIENT, *HOSTS[:2])
    nowhere = aioprocket("sweep", *PATIENT, HOSTS[0], NOBODY)

    assert own.returncode == nowhere.returncode == 1
    assert "0 replies (0.0%), 2 errors\n" in own.stderr
    why = "own address (by the link nobody is asked for it; --path ip asks)"
    assert own.stderr.endswith(f"2 {why}\n")
    assert sorted(own.stdout.splitlines()) == [
        f"{host}: from this machine: seq=0 {why}" for host in HOSTS[:2]
    ]
    assert "1 reply (50.0%), 1 error\n" in nowhere.stderr
    assert nowhere.stderr.endswith("1 net unreachable: Network is unreachable (ENETUNREACH)\n")


def test_nothing_at_all_is_no_host() -> None:
    with Path(os.devnull).open() as nothing:
        done = aioprocket("sweep", *PATIENT, "-", given=nothing)

    assert (done.returncode, done.stdout) == (1, "")


def test_rubbish_in_standard_input_has_its_line() -> None:
    done = aioprocket("sweep", *PATIENT, "-", given="127.1.2.3\n/etc/hosts\n")

    assert done.returncode == 2
    assert "standard input, line 2: '/etc/hosts' is no address, network or name" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["10.0.0.0/8"], "16,777,216 hosts: 3 minutes at 100,000 probes per second, if so many"),
        (["--rate", "1e3", "-c", "2", "10.0.0.0/8"], "hosts: 9 hours at 1,000 probes per second\n"),
        (["::/0"], "hosts: more than a thousand years"),
        (["--rate", "0", "127.0.0.1"], "rate 0"),
        (["127.0.0.300"], "is no address, network, name or file"),
        (["-", "127.0.0.1"], "only target"),
        (["--json", "--alive", "127.0.0.1"], "one of"),
        (["127.0.0.1", "::1", "-4"], "not of IPv4"),
        (["127.0.0.0/30", "-6"], "127.0.0.0/30 is of IPv4, not of IPv6"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said_with_status_2(arguments: list[str], words: str) -> None:
    done = run_here("sweep", *arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_terminal_shows_how_far_it_is() -> None:
    with at_terminal("sweep", "--rate", "200", *PATIENT, "127.1.2.0/26") as terminal:
        said = terminal.read_to_end()

    assert "probes" in said
    assert "/64" in said
    assert "64 probes in " in said


def test_name_without_an_address_is_said_and_the_others_are_asked() -> None:
    hosts = ("127.0.0.1", "no_such.invalid", "127.0.0.2")
    done = aioprocket("sweep", "-q", "--all", "-W", "20", *hosts)

    assert done.returncode == 1
    assert done.stderr == "aioprocket: no_such.invalid: the name has no address\n"
    assert sorted(line.partition(":")[0] for line in done.stdout.splitlines()) == [
        "127.0.0.1", "127.0.0.2", "no_such.invalid",
    ]  # fmt: skip
    assert aioprocket("sweep", "no_such.invalid").returncode == 2
