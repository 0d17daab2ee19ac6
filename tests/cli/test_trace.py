"""``aioprocket trace``, ``mtr`` and ``scan`` through real routers and on a real link."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.chain import Chain, chain
from lab.commands import PATIENCE, aioprocket, at_terminal, interrupted, run_here
from sandbox import links
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.netns

PATIENT = ("-w", "20")


@pytest.fixture(scope="module")
def way() -> Iterator[Chain]:
    with chain(3, block=78) as made:
        yield made


def test_trace_shows_each_router_in_a_line(way: Chain) -> None:
    done = aioprocket("trace", *PATIENT, way.destination())

    title, *lines = done.stdout.splitlines()
    assert title == f"{way.destination()} ({way.destination()}), icmp:"
    assert len(lines) == 3
    for ttl, (line, address) in enumerate(zip(lines, way.addresses(), strict=True), 1):
        assert re.fullmatch(rf" {{2}}{ttl}  {address}(  \d+\.\d{{3}} ms){{3}}", line)
    assert done.returncode == 0


@pytest.fixture
def silence(way: Chain) -> Iterator[None]:
    """Router 2 drops what is not for itself, and says nothing about it."""
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    with way.networks[1].entered():
        switch.write_text("0")
    yield
    with way.networks[1].entered():
        switch.write_text("1")


@pytest.mark.usefixtures("silence")
def test_trace_shows_a_hop_while_the_next_one_is_waited_for(way: Chain) -> None:
    first = f"  1  {way.address(1)}"
    done = interrupted("trace", "-w", "600", way.destination(), after=first)

    title, hop = done.stdout.splitlines()
    assert title == f"{way.destination()} ({way.destination()}), icmp:"
    assert hop.startswith(first)
    assert done.returncode == 1


@pytest.mark.usefixtures("silence")
def test_trace_says_where_it_goes_before_the_first_hop_is_known(way: Chain) -> None:
    done = interrupted("trace", "-f", "2", "-w", "600", way.destination(), after=", icmp:")

    assert len(done.stdout.splitlines()) == 1
    assert done.returncode == 1


@pytest.mark.usefixtures("silence")
def test_trace_at_a_terminal_shows_which_hop_is_waited_for(way: Chain) -> None:
    with at_terminal("trace", "-m", "2", "-w", "1", way.destination()) as terminal:
        said = terminal.read_to_end()

    assert re.search(r"  2  waiting, \d\.\d s", said)
    assert said.rstrip().endswith("\x1b[2K")  # erase the line: ECMA-48, EL
    assert re.search(r"  2  \*  \*  \*", said)


def test_trace_as_json_has_a_hop_per_line(way: Chain) -> None:
    done = aioprocket(
        "trace", *PATIENT, "--json", "--method", "udp", "-q", "1", way.destination(6), "-6"
    )

    hops = [json.loads(line) for line in done.stdout.splitlines()]
    assert [hop["address"] for hop in hops] == way.addresses(6)
    assert [hop["reached"] for hop in hops] == [False, False, True]


def test_trace_that_does_not_get_there_has_status_1(way: Chain) -> None:
    done = aioprocket("trace", "-m", "2", *PATIENT, way.destination())

    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 3


def test_mtr_without_a_terminal_is_one_table(way: Chain) -> None:
    done = aioprocket("mtr", "-c", "2", "-i", "0.05", *PATIENT, way.destination())

    title, head, *rows = done.stdout.splitlines()
    assert title.strip().startswith(f"{way.destination()}, round 2")
    assert head.split()[:4] == ["hop", "address", "loss", "sent"]
    assert [row.split()[1] for row in rows] == way.addresses()
    assert {row.split()[3] for row in rows} == {"2"}
    assert done.returncode == 0


def test_mtr_as_json_has_a_round_per_line_until_ctrl_c(way: Chain) -> None:
    done = interrupted(
        "mtr", "--json", "-i", "0.05", *PATIENT, way.destination(), after='"reached":true'
    )

    last = json.loads(done.stdout.splitlines()[-1])
    assert [hop["address"] for hop in last["hops"]] == way.addresses()
    assert done.returncode == 0


def test_mtr_at_a_terminal_is_redrawn(way: Chain) -> None:
    with at_terminal("mtr", "-c", "3", "-i", "0.05", *PATIENT, way.destination()) as terminal:
        said = terminal.read_to_end()

    assert f"{way.destination()}, round 1;" in said
    assert f"{way.destination()}, round 3;" in said


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("trace", ["x..y"], "x..y"),
        ("trace", ["--port", "80", "127.0.0.1"], "--method"),
        ("trace", ["-m", "300", "127.0.0.1"], "max_hops 300"),
        ("mtr", ["-i", "0", "127.0.0.1"], "interval 0"),
        ("scan", ["nothere0"], "nothere0"),
        ("scan", ["lo", "10.0.0.0/8"], "16777216 addresses"),
        ("scan", ["--rate", "0", "lo"], "rate 0"),
    ],
)
def test_what_cannot_be_is_said_with_status_2(
    command: str, arguments: list[str], words: str
) -> None:
    done = run_here(command, *arguments)

    assert done.returncode == 2
    assert words in re.sub(r"[\s│]+", " ", done.stderr)
    assert done.stdout == ""


def test_scan_lists_who_is_there(namespace: Namespace) -> None:
    links.add_veth("near", "far", peer_namespace=namespace.fd)
    try:
        links.disable_ipv6("near")
        links.add_address("near", "198.51.100.1/29")
        links.set_up("near")
        with namespace.entered():
            links.disable_ipv6("far")
            links.set_address("far", "02:00:00:00:00:77")
            links.add_address("far", "198.51.100.2/29")
            links.set_up("far")

        done = aioprocket("scan", "--json", "-W", "3", "near")
        text = aioprocket("scan", "-W", "3", "near", "198.51.100.2/32")
        # The network's other addresses take half a second each: there is time for Ctrl-C.
        ended = interrupted("scan", "--rate", "2", "-W", "20", "near", after="198.51.100.2")
    finally:
        links.delete_link("near")

    [found] = map(json.loads, done.stdout.splitlines())
    assert (found["ip"], found["hwaddr"]) == ("198.51.100.2", "02:00:00:00:00:77")
    assert (done.returncode, text.returncode) == (0, 0)
    assert text.stdout.startswith("198.51.100.2 ")
    assert "1 host on near" in done.stderr
    assert "1 host on near" in ended.stderr


def test_watch_in_a_narrow_terminal_leaves_numbers_out_and_cuts_none_off() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aioprocket.cli", "mtr", "-c", "1", "127.0.0.1"],
        env={**os.environ, "COLUMNS": "40"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )

    _, names, row = done.stdout.splitlines()
    assert names.split() == ["hop", "address", "loss", "sent", "last"]
    assert row.split()[:4] == ["1", "127.0.0.1", "0.0%", "1"]
    assert "…" not in done.stdout
