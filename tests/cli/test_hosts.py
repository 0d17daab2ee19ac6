"""What no host can be, as the argument of each command that takes one."""

import pytest

from lab.commands import aioprocket, run_here

pytestmark = pytest.mark.netns

ONE = (["ping", "-c", "1"], ["trace"], ["mtr", "-c", "1"])
ODD = {
    "": "'' is blank",
    " ": "' ' is blank",
    "..": "an address is like",
    "256.1.1.1": "an address is like",
    "::%": "an address is like",
    "192.0.2.0/24": "a sweep takes networks",
    "a" * 300: "63 characters",
    "fe80::1": "does not say of which",
    "fe80::1%nothere0": "no interface 'nothere0'",
}


@pytest.mark.parametrize("command", ONE, ids=lambda command: command[0])
def test_command_for_one_host_says_what_is_wrong_with_it(command: list[str]) -> None:
    for host, words in ODD.items():
        done = run_here(*command, host)

        assert (done.returncode, done.stdout) == (2, ""), host
        assert words in done.stderr
        assert len(done.stderr) < 250


@pytest.mark.parametrize("word", ["", " ", "..", "0", "256.1.1.1", "::%", "a" * 300, "ü" * 64])
def test_sweep_says_what_is_wrong_with_a_target(word: str) -> None:
    done = run_here("sweep", word)

    assert (done.returncode, done.stdout) == (2, "")
    assert "is no address, network, name or file" in done.stderr
    assert "a network is like" in done.stderr


def test_sweep_asks_no_address_of_a_link_that_does_not_say_which() -> None:
    done = run_here("sweep", "fe80::1")

    assert (done.returncode, done.stdout) == (2, "")
    assert "does not say of which" in done.stderr


def test_old_forms_of_an_address_are_taken_as_ping_takes_them() -> None:
    done = aioprocket("ping", "-c", "1", "-W", "20", "127.1")

    assert done.returncode == 0
    assert "bytes from 127.0.0.1" in done.stdout
