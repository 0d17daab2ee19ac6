"""``aioprocket filter``: the command as it is typed."""

import subprocess
from pathlib import Path

import pytest

from golden import filters
from lab.commands import run_here

FRAMES = Path(filters.__file__).with_name("frames.pcap")
CAPTURES = FRAMES.parents[1] / "capture"
Completed = subprocess.CompletedProcess[str]


def aioprocket(*words: str) -> Completed:
    return run_here("filter", *words)


@pytest.mark.parametrize(
    ("linktype", "options"),
    [("ethernet", ()), ("raw", ("-y", "raw")), ("linux_sll", ("--linktype", "113"))],
)
def test_program_is_printed_as_tcpdump_prints_it(linktype: str, options: tuple[str, ...]) -> None:
    golden = next(
        one for one in filters.programs()
        if (one.linktype, one.expression) == (linktype, "tcp port 80")
    )  # fmt: skip

    done = aioprocket(*options, "tcp", "port", "80")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{golden.text}\n", "")


# What tcpdump -dd and -ddd arp print.
ARP_IN_C = """{ 0x28, 0, 0, 0x0000000c },
{ 0x15, 0, 1, 0x00000806 },
{ 0x6, 0, 0, 0x00040000 },
{ 0x6, 0, 0, 0x00000000 },
"""
ARP_IN_NUMBERS = """4
40 0 0 12
21 0 1 2054
6 0 0 262144
6 0 0 0
"""
ARP_IN_WORDS = """(000) ldh      [12]               ; A = 2 bytes at 12: the Ethernet protocol
(001) jeq      #0x806           jt 2 jf 3  ; if A is 2054 (0x806), go on; else go to 3
(002) ret      #262144            ; keep 262144 bytes at most
(003) ret      #0                 ; drop it
"""


@pytest.mark.parametrize(
    ("option", "text"), [("-dd", ARP_IN_C), ("-ddd", ARP_IN_NUMBERS), ("-d", None)]
)
def test_program_is_printed_for_other_programs(option: str, text: str | None) -> None:
    done = aioprocket(option, "arp")

    assert done.returncode == 0
    assert done.stdout == (text or aioprocket("arp").stdout)


def test_every_instruction_is_explained() -> None:
    said = [line.partition(";")[2].strip() for line in ARP_IN_WORDS.splitlines()]

    done = aioprocket("--explain", "arp")

    assert [line.partition(";")[2].strip() for line in done.stdout.splitlines()] == said
    for golden in filters.programs():
        live = ["--live"] if golden.linktype == "live" else ["-y", golden.linktype]
        lines = aioprocket("-e", *live, "--", golden.expression).stdout.splitlines()
        assert lines
        assert all("; " in line for line in lines)


def test_labels_are_for_bpf_asm() -> None:
    assert aioprocket("--asm", "arp").stdout.split() == (
        ["ldh", "[12]", "jeq", "#0x806,", "L2,", "L3", "L2:", "ret", "#262144", "L3:", "ret", "#0"]
    )


def test_live_program_asks_for_the_tag() -> None:
    assert "vlanp" in aioprocket("--live", "vlan", "5").stdout
    assert "vlanp" not in aioprocket("vlan", "5").stdout
    assert "#96" in aioprocket("-s", "96", "ip").stdout


def test_matches_in_a_file_are_counted_as_tcpdump_counts_them() -> None:
    # tcpdump -r frames.pcap --count EXPRESSION
    done = aioprocket("-r", str(FRAMES), "tcp", "port", "80")
    none = aioprocket("--read", str(FRAMES), "vlan")

    assert (done.returncode, none.returncode) == (0, 1)
    assert done.stdout.startswith("20 of 76 packets match: ")
    assert none.stdout == "0 of 76 packets match: 0 bytes\n"


def test_each_interface_of_a_file_has_its_own_link_type() -> None:
    done = aioprocket("-r", str(CAPTURES / "mergecap.pcapng"), "ip", "or", "ip6")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "caret"),
    [
        (["tcp", "prt", "80"], 4),
        (["tcp and vlan 5000"], 13),
        (["tcp", "and"], 7),
        (["ip and ip6"], None),
    ],
)
def test_wrong_expression_is_shown_with_its_place(words: list[str], caret: int | None) -> None:
    done = aioprocket(*words)

    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert lines[0].startswith("aioprocket: filter '")
    if caret is not None:
        assert lines[1:3] == [f"  {' '.join(words)}", f"  {' ' * caret}^"]


def test_other_faults_are_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no capture file")

    assert aioprocket("-y", "token ring", "ip").returncode == 2
    for name in ("absent", "text"):
        done = aioprocket("-r", str(tmp_path / name), "ip")
        assert (done.returncode, done.stdout) == (2, "")
        assert name in done.stderr
