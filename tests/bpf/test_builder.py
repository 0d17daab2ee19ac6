"""The builder's programs match what libpcap's do, where both can say the same."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioprocket import bpf
from aioprocket.errors import FilterError
from golden import filters

FRAMES = filters.frames()

SAME = {
    "ether proto 0x0806": bpf.arp(),
    "ether proto 0x86dd": bpf.ethertype(0x86DD),
    "tcp port 80": bpf.tcp_port(80),
    "tcp src port 443": bpf.tcp_port(443, "src"),
    "udp dst port 53": bpf.udp_port(53, "dst"),
    "udp port 547": bpf.udp_port(547),
    "ip and udp and (port 67 or port 68)": bpf.dhcp(),
    "ip proto 17 or ip6 proto 17": bpf.ip_protocol(17),
    "ip proto 58 or ip6 proto 58": bpf.ip_protocol(58),
    "ip host 192.0.2.1": bpf.host("192.0.2.1"),
    "ip src net 192.0.2.0/24": bpf.host("192.0.2.0/24", "src"),
    "ip6 dst host 2001:db8::2": bpf.host("2001:db8::2", "dst"),
    "ip6 net fe80::/10": bpf.host("fe80::/10"),
    "ip or ip6": bpf.any_of(bpf.host("0.0.0.0/0"), bpf.host("::/0")),
    "icmp[0] = 3 or icmp[0] = 8": bpf.icmp_type(3, 8),
    "ip6 and ip6[6] = 58 and (ip6[40] = 135 or ip6[40] = 136)": bpf.icmp6_type(135, 136),
    "not (tcp or udp)": bpf.negate(bpf.any_of(bpf.ip_protocol(6), bpf.ip_protocol(17))),
    "tcp port 80 and ip dst host 192.0.2.2": bpf.all_of(
        bpf.tcp_port(80), bpf.host("192.0.2.2", "dst")
    ),
    "": bpf.all_of(),
    "len < 0": bpf.any_of(),
}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(FRAMES)).data)
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, min(70, len(data) - 1)))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(60, 200))])


def untagged(data: bytes) -> bool:
    return int.from_bytes(data[12:14]) not in (0x8100, 0x88A8, 0x9100)


def theirs(expression: str) -> bpf.Program:
    return bpf.drop_all if expression == "len < 0" else bpf.compile(expression)


@pytest.mark.parametrize("expression", SAME)
def test_match_is_what_libpcap_matches(expression: str) -> None:
    match = SAME[expression]
    ours, libpcaps = bpf.compile(match), theirs(expression)
    raw = bpf.compile(match, "raw")
    live = bpf.compile(match, live=True)
    for frame in FRAMES:
        expected = libpcaps.run(frame.data)
        assert ours.run(frame.data) == live.run(frame.data) == expected
        if frame.data[12:14] in (b"\x08\x00", b"\x86\xdd"):
            assert raw.run(frame.data[14:]) == expected


def test_corpus_tells_the_matches_apart() -> None:
    matched = {
        expression: sum(map(bool, (bpf.compile(match).run(frame.data) for frame in FRAMES)))
        for expression, match in SAME.items()
    }

    assert [expression for expression, count in matched.items() if count == 0] == ["len < 0"]
    assert [text for text, count in matched.items() if count == len(FRAMES)] in ([""], ["", "x"])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SAME)), damaged().filter(untagged))
def test_damaged_packets_match_as_with_libpcap(expression: str, data: bytes) -> None:
    assert bool(bpf.compile(SAME[expression]).run(data)) == bool(theirs(expression).run(data))


@pytest.mark.parametrize("expression", [text for text in SAME if text not in ("", "len < 0")])
def test_a_tag_in_the_data_hides_nothing(expression: str) -> None:
    program = bpf.compile(SAME[expression])
    for frame in FRAMES:
        for tpid in (0x8100, 0x88A8):
            assert program.run(filters.tagged(frame, 5, tpid).data) == program.run(frame.data)


def test_vlan_is_the_outer_tags_in_the_data_or_beside_it() -> None:
    frame = FRAMES[0]
    inside = filters.tagged(frame, 5)
    beside = bpf.Ancillary(vlan_tci=0x6005, vlan_tpid=0x8100)

    for match, expected in ((bpf.vlan(), True), (bpf.vlan(5), True), (bpf.vlan(6), False)):
        in_file, live = bpf.compile(match), bpf.compile(match, live=True)
        assert bool(in_file.run(inside.data)) == expected
        assert bool(live.run(frame.data, ancillary=beside)) == expected
        assert not in_file.run(frame.data, ancillary=beside)
        assert not live.run(frame.data)
    outer = bpf.compile(bpf.vlan(6), live=True)
    assert not outer.run(inside.data, ancillary=beside)
    assert bpf.compile(bpf.vlan(5), live=True).run(inside.data)


def echo(identifier: int, kind: int) -> bytes:
    header = bytes.fromhex("4500001c0000000040010000c0000201c0000202")
    return (
        bytes(12) + b"\x08\x00" + header + bytes([kind, 0, 0, 0]) + identifier.to_bytes(2) + b"\0\1"
    )


def test_icmp_id_is_that_of_echoes_alone() -> None:
    program = bpf.compile(bpf.icmp_id(0x1234))

    assert program.run(echo(0x1234, 0))
    assert program.run(echo(0x1234, 8))
    assert not program.run(echo(0x1235, 0))
    assert not program.run(echo(0x1234, 3))
    six = [frame for frame in FRAMES if frame.data[54:55] == b"\x80" and frame.data[20] == 58]
    assert six
    for frame in six:
        assert bpf.compile(bpf.icmp_id(int.from_bytes(frame.data[58:60]))).run(frame.data)


def test_ip_options_do_not_hide_ports() -> None:
    udp = next(frame.data for frame in FRAMES if bpf.compile(bpf.udp_port(67)).run(frame.data))
    optioned = udp[:14] + b"\x47" + udp[15:34] + b"\x94\x04\0\0\1\1\1\0" + udp[34:]

    assert bpf.compile(bpf.udp_port(67, "dst")).run(optioned)


def test_later_fragments_have_no_ports() -> None:
    later = [
        frame
        for frame in FRAMES
        if bpf.compile("ip proto 17 and ip[6:2] & 0x1fff != 0").run(frame.data)
    ]

    assert later
    for frame in later:
        crafted = frame.data[:34] + b"\0\x35\0\x35" + frame.data[38:]
        assert not bpf.compile(bpf.udp_port(53)).run(crafted)
        assert bpf.compile(bpf.ip_protocol(17)).run(crafted)


@pytest.mark.parametrize("count", [1, 100, 300])
def test_program_longer_than_a_conditional_jump_is_right(count: int) -> None:
    hosts = [bpf.host(f"10.0.{number // 250}.{number % 250}", "src") for number in range(count)]
    program = bpf.compile(bpf.any_of(*hosts), "ipv4")
    packet = bytes(12) + bytes([10, 0, (count - 1) // 250, (count - 1) % 250]) + bytes(4)

    assert program.run(packet)
    assert not program.run(bytes(20))
    assert program.run(bytes(12) + bytes([10, 0, 0, 0]) + bytes(4))


def test_tests_in_a_row_longer_than_a_conditional_jump_are_right() -> None:
    wanted = [number for number in range(256) if number != 77]
    program = bpf.compile(bpf.icmp_type(*wanted, 255, 255, 255))

    assert [number for number in range(256) if program.run(echo(1, number))] == wanted


def test_same_calls_make_equal_matches() -> None:
    assert bpf.all_of(bpf.arp(), bpf.udp_port(5)) == bpf.all_of(bpf.arp(), bpf.udp_port(5))
    assert len({bpf.vlan(5), bpf.vlan(5), bpf.vlan()}) == 2
    assert bpf.host("10.0.0.0/8") != bpf.host("10.0.0.0/8", "src")


@pytest.mark.parametrize(
    "call",
    [
        lambda: bpf.udp_port(65536),
        lambda: bpf.tcp_port(True),
        lambda: bpf.tcp_port("http"),  # type: ignore[arg-type]
        lambda: bpf.udp_port(53, "both"),  # type: ignore[arg-type]
        lambda: bpf.ethertype(-1),
        lambda: bpf.vlan(4096),
        lambda: bpf.ip_protocol(256),
        lambda: bpf.host("example.com"),
        lambda: bpf.host("10.0.0.1/8"),
        lambda: bpf.icmp_id(1 << 16),
        lambda: bpf.icmp_type(256),
        lambda: bpf.icmp6_types(256),
        lambda: bpf.icmp6_types("echo"),  # type: ignore[arg-type]
        lambda: bpf.all_of("tcp"),  # type: ignore[arg-type]
        lambda: bpf.negate(bpf.drop_all),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_cannot_be_matched_is_refused(call: Any) -> None:
    with pytest.raises(FilterError):
        call()


def test_icmp6_types_are_a_program_and_an_option() -> None:
    few = bpf.icmp6_types(129, 3, 129)

    assert few.types == {3, 129}
    # struct icmp6_filter, where a set bit blocks: all but bit 3 of word 0 and bit 1 of word 4.
    option = [0xFFFFFFFF] * 8
    option[0] ^= 1 << 3
    option[4] ^= 1 << 1
    assert few.option == b"".join(word.to_bytes(4, "little") for word in option)
    assert bpf.icmp6_types().types == frozenset()
    assert bpf.icmp6_types(*range(256)).types == frozenset(range(256))
