"""``aioprocket ping`` on real packets: what it shows in which form, and how it ends."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab.commands import add_silent_host, aioprocket, at_terminal, interrupted, run_here
from sandbox import links

pytestmark = pytest.mark.netns

HERE = "127.0.0.1"
NOBODY = "203.0.113.9"  # no route leads there: RFC 5737
PATIENT = ("-W", "20")
REPLY = rf"64 bytes from {HERE}: seq=NUMBER ttl=64 time=\d+\.\d{{3}} ms"


def test_each_reply_is_a_line_and_the_sums_follow() -> None:
    done = aioprocket("ping", "-c", "2", "-i", "0.01", *PATIENT, HERE)

    first, second, blank, title, counts, times = done.stdout.splitlines()
    assert re.fullmatch(REPLY.replace("NUMBER", "0"), first)
    assert re.fullmatch(REPLY.replace("NUMBER", "1"), second)
    assert (blank, title) == ("", f"--- {HERE} ---")
    assert counts == "2 sent, 2 received, 0.0% lost"
    assert re.fullmatch(r"rtt min/avg/median/max/stddev/jitter = (\d+\.\d{3}/?){6} ms", times)
    assert (done.returncode, done.stderr) == (0, "")


def test_addresses_are_shown_as_they_are() -> None:
    # rich would make a pictogram of ":abc:".
    address = "fd00:0:abc:0:cd:0:ab:1"

    done = aioprocket("ping", "-c", "1", address)
    refused = aioprocket("ping", "-4", address)
    swept = aioprocket("sweep", f"{address}/65/3")

    assert f"--- {address} ---" in done.stdout
    assert f"{address} is an address of IPv6" in refused.stderr
    assert f"'{address}/65/3' is no address" in swept.stderr


@pytest.mark.parametrize("hosts", [["198.51.100.2"], ["198.51.100.2", "198.51.100.3", HERE]])
def test_ctrl_c_tells_of_each_host_what_is_not_waited_for(
    veth: tuple[str, str], hosts: list[str]
) -> None:
    links.add_address(veth[0], "198.51.100.1/24")
    for host in ("198.51.100.2", "198.51.100.3"):
        add_silent_host(veth[0], host)
    command = ("ping", "-i", "0.05", "-W", "0.5", *hosts)

    done = interrupted(*command, after="no reply from 198.51.100.2")
    told = interrupted(*command, "--json", after='"address":"198.51.100.2"')

    for host in hosts[:2]:
        lost = done.stdout.count(f"no reply from {host}")
        last = done.stdout.partition(f"--- {host} ---\n")[2].splitlines()[0]
        words = r"(\d+) sent, 0 received, \d+.0% lost, (\d+) not waited for"
        counted = re.fullmatch(words, last)
        assert counted is not None, last
        assert int(counted[2]) > 0
        assert int(counted[1]) == lost + int(counted[2])
    sums = [json.loads(line) for line in told.stdout.splitlines() if '"summary"' in line]
    assert [each["host"] for each in sums] == hosts
    for each in sums[:2]:
        lost = sum(f'"echo","host":"{each["host"]}"' in line for line in told.stdout.splitlines())
        assert each["unawaited"] > 0
        assert (each["sent"], each["received"]) == (lost + each["unawaited"], 0)


@pytest.mark.parametrize("form", [(), ("--json",), ("-C", "1")])
def test_an_error_before_the_first_probe_is_all_that_is_said(form: tuple[str, ...]) -> None:
    done = aioprocket("ping", *form, "-I", "nothere0", HERE)

    assert (done.returncode, done.stdout) == (2, "")
    assert "nothere0" in done.stderr


def test_a_host_that_does_not_answer_makes_the_status_1() -> None:
    done = aioprocket("ping", "-c", "1", *PATIENT, HERE, NOBODY)

    assert done.returncode == 1
    assert f"{NOBODY}: from this machine: seq=0 net unreachable" in done.stdout
    assert "1 sent, 0 received, 100.0% lost, 1 net-unreachable" in done.stdout
    assert "1 sent, 1 received, 0.0% lost" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "1", "x..y"], "x..y: "),
        (["-c", "1", HERE, "::1", "-4"], "address of IPv6, not of IPv4"),
        (["-4", "-6", HERE], "leave nothing"),
        (["-s", "70000", HERE], "size 70000"),
        (["-t", "0", HERE], "ttl 0"),
        (["-i", "-1", HERE], "interval"),
        (["-p", "xyz", HERE], "hexadecimal"),
        (["224.0.0.1"], "many hosts"),
        (["-I", "nothere0", HERE], "nothere0"),
        (["--json", "--csv", HERE], "one of"),
        (["-C", "2", "-c", "2", HERE], "no -c"),
        (["--plot", "x.bmp", HERE], ".png"),
        ([], "HOST"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said_with_status_2_and_nothing_is_sent(
    arguments: list[str], words: str
) -> None:
    done = run_here("ping", *arguments)

    assert done.returncode == 2
    # Wide words can be broken by the frame that usage errors have.
    assert words in re.sub(r"[\s│]+", " ", done.stderr)
    assert "bytes from" not in done.stdout


def test_name_without_an_address_is_said_and_the_others_are_asked() -> None:
    done = aioprocket("ping", "-q", "-c", "1", "-W", "20", "127.0.0.1", "no such", "127.0.0.2")

    assert done.returncode == 1
    assert done.stderr.startswith("aioprocket: 'no such': ")
    assert done.stderr.count("\n") == 1
    assert done.stdout.count("1 sent, 1 received") == 2


def test_ctrl_c_ends_with_the_sums() -> None:
    done = interrupted("ping", "-i", "0.01", HERE, after="seq=2")

    assert done.returncode == 0
    assert re.search(r"^\d+ sent, \d+ received, ", done.stdout, re.MULTILINE)


def test_json_has_each_echo_and_the_sums() -> None:
    done = aioprocket("ping", "-c", "2", "-i", "0.01", *PATIENT, "--json", HERE)

    first, second, summary = map(json.loads, done.stdout.splitlines())
    assert [first["event"], second["event"], summary["event"]] == ["echo", "echo", "summary"]
    assert (first["address"], first["sequence"], second["sequence"]) == (HERE, 0, 1)
    assert 0 < first["rtt"] < 20
    assert first["received_ns"] > first["sent_ns"] > 0
    assert (summary["sent"], summary["received"], summary["loss"]) == (2, 2, 0.0)


def test_csv_has_a_row_for_each_echo() -> None:
    done = aioprocket("ping", "-c", "1", "--csv", *PATIENT, HERE, NOBODY)

    rows = {row["host"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert set(rows) == {HERE, NOBODY}
    assert float(rows[HERE]["rtt"]) > 0
    assert (rows[NOBODY]["rtt"], rows[NOBODY]["error"]) == ("", "net-unreachable")


def test_metrics_are_what_prometheus_reads() -> None:
    done = aioprocket("ping", "-c", "3", "-i", "0.01", *PATIENT, "--metrics", HERE)

    found = {
        sample.name: (sample.labels, sample.value)
        for family in text_string_to_metric_families(done.stdout)
        for sample in family.samples
    }
    labels = {"host": HERE, "address": HERE}
    assert found["aioprocket_ping_sent_total"] == (labels, 3.0)
    assert found["aioprocket_ping_loss_ratio"] == (labels, 0.0)
    assert 0 < found["aioprocket_ping_rtt_avg_seconds"][1] < 20


def test_compact_is_a_line_for_each_host() -> None:
    done = aioprocket("ping", "-C", "2", "-i", "0.01", *PATIENT, HERE, NOBODY)

    here, nobody = done.stdout.splitlines()
    assert re.fullmatch(rf"{HERE}   : [\d.]+ [\d.]+", here)
    assert nobody == f"{NOBODY} : - -"


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_plot_is_a_picture(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"rtt{suffix}"

    done = aioprocket("ping", "-q", "-c", "3", "-i", "0.01", *PATIENT, "--plot", str(path), HERE)

    assert done.returncode == 0
    assert path.read_bytes().startswith(magic)


def test_live_draws_a_graph_and_leaves_the_sums() -> None:
    with at_terminal("ping", "--live", "-c", "5", "-i", "0.15", *PATIENT, HERE) as terminal:
        said = terminal.read_to_end()

    assert "█" in said
    assert "5 sent, 5 received" in said
    assert terminal.process.returncode == 0


def test_output_that_nobody_reads_ends_it_quietly() -> None:
    command = f"{sys.executable} -m aioprocket.cli ping -i 0.01 -c 2000 {HERE} | head -n 1"

    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("64 bytes from")
