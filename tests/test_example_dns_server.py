"""`examples/dns_server.py` on port 53: asked by dnspython, by captured bytes, and by nonsense."""

import os
import runpy
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.zone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS

import golden
from lab.chain import wait_for_answers
from lab.hosts import FAR, NEAR
from lab.programs import PROJECT, Program, Runner, run_program
from sandbox.namespaces import Namespace

pytestmark = pytest.mark.netns

# 40 addresses are more than 512 bytes, 5 texts of 500 characters more than 1232.
ZONE = (
    """\
$TTL 300
@       SOA     ns hostmaster 1 3600 600 86400 60
        NS      ns
ns      A       192.0.2.53
www     A       192.0.2.80
        AAAA    2001:db8::80
        TXT     "a text" "and another"
alias   CNAME   www
out     CNAME   www.example.com.
loop    CNAME   loop
a.deep  A       192.0.2.1
"""
    + "".join(f"many A 192.0.2.{number}\n" for number in range(1, 41))
    + "".join(f'long TXT "{letter * 250}" "{letter * 250}"\n' for letter in "abcde")
)
PATIENCE = 20.0


@pytest.fixture
def zone_file(stage: Path) -> Iterator[Path]:
    path = stage / "example.org.zone"
    path.write_text(ZONE)
    path.chmod(0o644)
    yield path
    path.unlink()


@contextmanager
def serving(example: Runner, zone_file: Path, ip: str = NEAR) -> Iterator[Program]:
    with example("dns_server", str(zone_file), "--origin=example.org", f"--ip={ip}") as program:
        program.expect(r"example\.org\. at .* port 53")
        yield program


Ask = Callable[..., dns.message.Message]


@pytest.fixture
def ask(example: Runner, zone_file: Path, far: Namespace) -> Iterator[Ask]:
    """Ask the server from the other host, as clients do: by UDP."""
    wait_for_answers(FAR)
    with serving(example, zone_file):

        def question(name: str, kind: str = "A", *, tcp: bool = False, **options: Any) -> Any:
            query = dns.message.make_query(name, kind, **options)
            by = dns.query.tcp if tcp else dns.query.udp
            with far.entered():
                return by(query, NEAR, timeout=PATIENCE)

        yield question


def texts(answer: dns.message.Message) -> list[str]:
    return sorted(str(data) for rrset in answer.answer for data in rrset)


def test_dns_server_answers_by_udp_and_tcp(ask: Ask) -> None:
    for tcp in (False, True):
        for kind, said in (
            ("A", ["192.0.2.80"]),
            ("AAAA", ["2001:db8::80"]),
            ("TXT", ['"a text" "and another"']),
        ):
            answer = ask("www.example.org", kind, tcp=tcp)

            assert texts(answer) == said
            assert answer.rcode() == dns.rcode.NOERROR
            assert answer.flags & dns.flags.AA
            assert not answer.flags & dns.flags.TC


def test_names_are_found_in_any_case(ask: Ask) -> None:
    answer = ask("WwW.exAmple.ORG")

    assert texts(answer) == ["192.0.2.80"]
    assert str(answer.question[0].name) == "WwW.exAmple.ORG."


def test_aliases_are_followed_within_the_zone(ask: Ask) -> None:
    assert texts(ask("alias.example.org")) == ["192.0.2.80", "www.example.org."]
    assert texts(ask("alias.example.org", "CNAME")) == ["www.example.org."]
    assert texts(ask("out.example.org")) == ["www.example.com."]
    assert set(texts(ask("loop.example.org"))) == {"loop.example.org."}


def test_what_is_not_there_is_said_with_the_time_to_remember_it(ask: Ask) -> None:
    for name, kind, rcode in (
        ("nothing.example.org", "A", dns.rcode.NXDOMAIN),
        ("ns.example.org", "AAAA", dns.rcode.NOERROR),
        ("deep.example.org", "A", dns.rcode.NOERROR),  # there are names below it
    ):
        answer = ask(name, kind)

        assert (answer.rcode(), answer.answer) == (rcode, [])
        assert answer.authority[0].ttl == 60


def test_what_is_no_question_to_this_zone_is_refused(ask: Ask) -> None:
    for name, kind in (("example.com", "A"), ("org", "A"), ("example.org", "ANY")):
        answer = ask(name, kind)

        assert answer.rcode() == dns.rcode.REFUSED
        assert not answer.answer
    assert ask("www.example.org", rdclass="CH").rcode() == dns.rcode.REFUSED
    assert ask("example.org", "AXFR").rcode() == dns.rcode.REFUSED
    assert ask("www.example.org", use_edns=1).rcode() == dns.rcode.BADVERS


def test_answer_that_is_too_long_is_cut_by_udp_and_whole_by_tcp(ask: Ask) -> None:
    cut = ask("many.example.org", use_edns=False)
    assert cut.flags & dns.flags.TC
    assert len(cut.to_wire()) <= 512

    assert len(texts(ask("many.example.org", payload=4096))) == 40
    assert ask("many.example.org", payload=100).flags & dns.flags.TC  # means 512: RFC 6891

    longest = ask("long.example.org", "TXT", payload=4096)
    assert longest.flags & dns.flags.TC
    assert longest.payload == 1232
    assert len(texts(ask("long.example.org", "TXT", tcp=True, use_edns=False))) == 5


def test_captured_query_is_answered(example: Runner, zone_file: Path, far: Namespace) -> None:
    query = golden.load("dissect", "dns-query").data[14 + 20 + 8 :]  # id 4660, AAAA
    wait_for_answers(FAR)
    with (
        serving(example, zone_file),
        far.entered(),
        socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(PATIENCE)
        client.sendto(query, (NEAR, 53))
        answer = DNS(client.recv(2048))

    assert (answer.id, answer.qr, answer.aa, answer.rcode) == (4660, 1, 1, 0)
    assert (answer.ancount, answer.an[0].rdata) == (1, "2001:db8::80")


def test_several_questions_go_by_one_connection_and_nonsense_ends_none_else(
    example: Runner, zone_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", 53), timeout=PATIENCE)

    with (
        serving(example, zone_file, "127.0.0.1") as program,
        connect() as client,
        connect() as other,
        connect(),  # says nothing, and stays
    ):
        for number in range(3):
            dns.query.send_tcp(client, dns.message.make_query("www.example.org", "A", id=number))
            answer, _ = dns.query.receive_tcp(client)
            assert (answer.id, texts(answer)) == (number, ["192.0.2.80"])
        other.sendall(b"\x00\x03abc")
        assert other.recv(100) == b""
        dns.query.send_tcp(client, dns.message.make_query("www.example.org", "A", id=9))
        assert dns.query.receive_tcp(client)[0].id == 9
        os.kill(program.pid, signal.SIGINT)
        assert program.finish() == 130

    assert capfd.readouterr().err == ""


def test_zone_that_cannot_be_read_is_told_of(
    example: Runner, stage: Path, zone_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    zone_file.write_text("www A not-an-address\n")
    for path, why in ((zone_file, "malformed"), (stage / "nothing", "No such file")):
        with example("dns_server", str(path), "--origin=example.org") as program:
            assert program.finish() == 1
        said = capfd.readouterr().err
        assert said.startswith(f"{path}: ")
        assert why in said
        assert len(said.splitlines()) == 1


def test_dns_server_without_a_helper_says_why_and_no_more(
    zone_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = (str(zone_file), "--origin=example.org", "--helper=/nowhere/helper")
    with run_program("examples/dns_server.py", *options, as_nobody=False) as program:
        assert program.finish() == 1

    said = capfd.readouterr().err.splitlines()
    assert "/nowhere/helper" in said[0]
    assert len(said) == 2, said


@cache
def _program() -> dict[str, Any]:
    return runpy.run_path(str(PROJECT / "examples/dns_server.py"))


@cache
def _zone() -> dns.zone.Zone:
    return dns.zone.from_text(ZONE, "example.org", relativize=False)


QUERY = dns.message.make_query("www.example.org", "TXT", id=1, use_edns=0).to_wire()


@settings(deadline=None)  # the first run of it reads the program
@given(
    st.binary(max_size=80)
    | st.lists(st.tuples(st.integers(2, len(QUERY) - 1), st.integers(0, 255)), max_size=6).map(
        lambda changes: _changed(QUERY, changes)
    ),
    st.booleans(),
)
def test_no_bytes_harm_the_server(wire: bytes, by_udp: bool) -> None:
    answer = _program()["answer"](_zone(), wire, by_udp=by_udp)

    if answer is not None:
        assert answer[:2] == wire[:2]
        assert answer[2] & 0x80
        assert not wire[2] & 0x80


def _changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for place, value in changes:
        changed[place] = value
    return bytes(changed)
