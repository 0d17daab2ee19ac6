"""Expressions, compiled by libpcap: the same programs as tcpdump's, and errors that say where."""

import sys
from typing import Any

import cypcap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioprocket import bpf
from aioprocket.errors import FilterError
from golden import filters
from golden.filters import Frame

FRAMES = filters.frames()
OF_FILES = [golden for golden in filters.programs() if golden.linktype != "live"]
# Two of libpcap's link types begin with the number of an address family, which is another one for
# IPv6 on each system: there the programs are not the same, but what they match is.
SAME = [golden for golden in OF_FILES if golden.linktype not in ("null", "loop")]
FAMILY = [golden for golden in OF_FILES if golden.linktype in ("null", "loop")]


def named(golden: filters.Compiled) -> str:
    return f"{golden.linktype} {golden.expression}"


@pytest.mark.parametrize("golden", SAME, ids=named)
def test_program_is_that_of_tcpdump(golden: filters.Compiled) -> None:
    program = bpf.compile(golden.expression, golden.linktype)

    assert bpf.disassemble(program) == golden.text


@pytest.mark.parametrize("golden", FAMILY, ids=named)
def test_program_for_a_family_header_matches_what_tcpdumps_does(golden: filters.Compiled) -> None:
    program, theirs = bpf.compile(golden.expression, golden.linktype), bpf.assemble(golden.text)
    matched = set()
    for frame in FRAMES:
        four, six = frame.data[12:14] == b"\x08\x00", frame.data[12:14] == b"\x86\xdd"
        # AF_INET, and AF_INET6 of macOS. "null" is in the order of bytes of who wrote the file.
        order = "little" if golden.linktype == "null" else "big"
        header = ((2 if four else 30) if four or six else 99).to_bytes(4, order)  # type: ignore[arg-type]
        packet = header + frame.data[14:]
        assert program.run(packet) == theirs.run(packet)
        matched.add(program.run(packet))
    assert matched == {0, 262144}


@pytest.mark.parametrize("golden", [one for one in SAME if one.linktype == "ethernet"], ids=named)
def test_program_matches_what_libpcap_says_it_does(golden: filters.Compiled) -> None:
    program = bpf.compile(golden.expression)
    offline = cypcap.BpfProgram(list(program))
    for frame in FRAMES:
        for variant in (frame, filters.tagged(frame, 5), filters.tagged(frame, 6, 0x88A8)):
            assert bool(run(program, variant)) == by_libpcap(offline, variant)


def run(program: bpf.Program, frame: Frame) -> int:
    return program.run(frame.data, wire_len=frame.wire_len)


def by_libpcap(program: Any, frame: Frame) -> bool:
    header = cypcap.Pkthdr(caplen=len(frame.data), len=frame.wire_len)
    return bool(program.offline_filter(header, frame.data))


primitives = st.sampled_from(
    [
        golden.expression
        for golden in SAME
        if golden.linktype == "ethernet"
        and golden.expression
        and not golden.expression.startswith(("mpls", "pppoes"))  # not before everything else
    ]
    + ["ip[ip[0] & 15] > 3", "ether[ether[13]:2] < 99", "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47"]
)
expressions = st.recursive(
    primitives.map(lambda text: f"({text})"),
    lambda inner: st.builds(
        "({} {} {})".format, inner, st.sampled_from(["and", "or", "and not", "or not"]), inner
    ),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> Frame:
    frame = draw(st.sampled_from(FRAMES))
    if draw(st.booleans()):
        frame = filters.tagged(frame, draw(st.sampled_from([5, 6])))
    data = bytearray(frame.data)
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return Frame(bytes(data[: draw(st.integers(0, len(data)))]), frame.wire_len)


@settings(max_examples=300, deadline=None)
@given(expressions, st.lists(damaged(), min_size=1, max_size=10))
def test_damaged_packets_match_as_libpcap_matches_them(
    expression: str, frames: list[Frame]
) -> None:
    try:
        program = bpf.compile(expression)
    except FilterError as error:
        assert "rejects all packets" in str(error)  # noqa: PT017
        return
    offline = cypcap.BpfProgram(list(program))
    for frame in frames:
        assert bool(run(program, frame)) == by_libpcap(offline, frame)


@pytest.mark.parametrize(
    ("expression", "position", "words"),
    [
        ("tcp prt 80", 4, "'prt' is neither a keyword nor an address"),
        ("host", 4, "syntax error"),
        ("tcp port 80 and (", 17, "syntax error"),
        ("tcp and and udp", 8, "syntax error"),
        ("tcp port 80) or udp", 11, "syntax error"),
        ("tcp port 80 $ x", 12, "syntax error"),
        ("ether[0:4] = 0x12 xx", 18, "syntax error"),
        ("((tcp)", 6, "syntax error"),
        ("tcp[0", 5, "syntax error"),
        ("tcp and vlan 5000 and udp", 13, "VLAN tag 5000 greater than maximum 4095"),
        ("ip6 and ip", None, "expression rejects all packets"),
        ("port 99999", 5, "illegal port number 99999 > 65535"),
        ("port htpp or udp", 5, "unknown port 'htpp'"),
        ("tcp or ip proto foo", 16, "unknown ip proto 'foo'"),
        ("host example.com", 5, "'example.com' is neither a keyword nor an address"),
        ("tcp and src www.example.com", 12, "neither a keyword nor an address"),
        ("host 192.0.2.1 or gw", 18, "neither a keyword nor an address"),
        ("host 1.2.3.4.5", 5, "neither a keyword nor an address"),
        ("tcp port 80 é", 12, "no expression has the character 'é'"),
        ("tcp\0 or udp", 3, "no expression has the character"),
        ("ip protochain 17", 3, "a loop"),
        ("ip broadcast", 3, "netmask not known"),
        ("inbound", None, "only the kernel knows"),
        ("ether[0xfffff030:1] = 1", None, "only the kernel knows"),
    ],
)
def test_what_cannot_be_compiled_is_told_with_its_place(
    expression: str, position: int | None, words: str
) -> None:
    with pytest.raises(FilterError) as caught:
        bpf.compile(expression)

    assert words in str(caught.value)
    assert (caught.value.text, caught.value.position) == (expression, position)


@pytest.mark.parametrize(
    "expression",
    [
        "port http or https", "udp port domain", "portrange 1-1024", "ip proto \\tcp",
        "ether proto \\arp", "net 10", "net 10.0.0.0 mask 255.0.0.0",
        "src 10.0.0.1 and not dst 10.0.0.2",
        "ether host 00:11:22:33:44:55", "ether src 00-11-22-33-44-55", "ip6 net 2001:db8::/32",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "icmp6[icmp6type] = icmp6-echo",
        "not (arp or ip6)", "host 192.0.2.1 or 192.0.2.2", "ip[0]&0xf>5", "len<=64",
        "ether multicast",
    ],
)  # fmt: skip
def test_addresses_numbers_and_local_names_are_known(
    expression: str,
) -> None:
    assert len(bpf.compile(expression)) > 1


def test_no_name_of_a_host_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # Who asks the resolver, loads the compiler before: it is never reached.
    monkeypatch.setitem(sys.modules, "cypcap", None)

    for expression in (
        "host nobody.example",
        "udp and src here.example",
        "net there",
        "gateway gw",
    ):
        with pytest.raises(FilterError, match="neither a keyword nor an address"):
            bpf.compile(expression)


def test_without_cypcap_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cypcap", None)

    with pytest.raises(FilterError, match="cypcap") as caught:
        bpf.compile("ip")

    assert caught.value.hint == "pip install cypcap"
    assert bpf.compile(bpf.arp())


@pytest.mark.parametrize(
    ("names", "number"),
    [
        (("ethernet", "EN10MB", "LINKTYPE_ETHERNET", "DLT_EN10MB", 1, "1"), 1),
        (("raw", "raw-ip", "LINKTYPE_RAW", 101, 12), 101),
        (("linux_sll", "cooked", "sll", 113), 113),
        (("null", 0), 0),
    ],
)
def test_link_types_have_names_and_numbers(names: tuple[int | str, ...], number: int) -> None:
    assert {bpf.compile("ip", name) for name in names} == {bpf.compile("ip", number)}


@pytest.mark.parametrize("linktype", ["token ring", -1, 1 << 20, True, None, "9999999"])
def test_unknown_link_type_is_refused(linktype: Any) -> None:
    with pytest.raises(FilterError, match="link type"):
        bpf.compile("ip", linktype)


def test_expression_for_another_link_type_says_so() -> None:
    with pytest.raises(FilterError, match="for link type raw: ethernet addresses") as caught:
        bpf.compile("ip and ether src 02:00:00:00:00:01", "raw")
    assert caught.value.position is not None

    with pytest.raises(FilterError, match="libpcap knows more"):
        bpf.compile(bpf.arp(), "radiotap")


@pytest.mark.parametrize("snaplen", [0, -1, True, "all", 1 << 31])
def test_impossible_snaplen_is_refused(snaplen: Any) -> None:
    with pytest.raises(FilterError, match="snaplen"):
        bpf.compile("ip", snaplen=snaplen)


def test_snaplen_is_what_is_kept() -> None:
    frame = FRAMES[0].data

    assert bpf.compile("", snaplen=96).run(frame) == 96
    assert bpf.compile(bpf.all_of(), snaplen=96).run(frame) == 96


@pytest.mark.parametrize("expression", [None, 5, b"ip", ["ip"]])
def test_what_is_no_expression_is_refused(expression: Any) -> None:
    with pytest.raises(FilterError, match="an expression is a string"):
        bpf.compile(expression)
