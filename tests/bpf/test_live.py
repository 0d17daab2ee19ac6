"""VLANs on live frames: the tag is not in the data, and libpcap's own live programs say what then.

The goldens are what ``tcpdump -d -i veth`` compiled, on a machine where its libpcap opened the
interface. Programs here are other ones; what they match must be the same.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioprocket import bpf
from aioprocket.errors import FilterError
from golden import filters
from golden.filters import Frame

FRAMES = filters.frames()
LIVE = [golden for golden in filters.programs() if golden.linktype == "live"]

PLAIN = bpf.Ancillary(ifindex=3)
TAGS = [(5, 0x8100), (7, 0x8100), (7, 0x88A8), (0, 0x8100), (9, 0x9100)]


def beside(frame: Frame, tag: tuple[int, int] | None, pkttype: int = 0) -> bpf.Ancillary:
    """What the kernel knows of a frame whose tag it has taken out."""
    protocol = int.from_bytes(frame.data[12:14])
    number, tpid = tag or (0, 0)
    return bpf.Ancillary(
        protocol, pkttype, ifindex=3, hatype=1, vlan_tci=0x6000 | number, vlan_tpid=tpid
    ) if tag else bpf.Ancillary(protocol, pkttype, ifindex=3, hatype=1)  # fmt: skip


def variants() -> list[tuple[Frame, bpf.Ancillary]]:
    """Each frame without a tag; with one, which the kernel holds; with one of two in the data."""
    found = []
    for frame in FRAMES:
        for inside in (None, (9, 0x8100), (5, 0x8100), (6, 0x88A8)):
            data = frame if inside is None else filters.tagged(frame, *inside)
            found += [(data, beside(data, tag)) for tag in (None, *TAGS)]
        found.append((frame, beside(frame, (5, 0x8100), pkttype=4)))
    return found


VARIANTS = variants()


@pytest.mark.parametrize("golden", LIVE, ids=lambda golden: golden.expression)
def test_live_program_matches_what_libpcaps_does(golden: filters.Compiled) -> None:
    ours, theirs = bpf.compile(golden.expression, live=True), bpf.assemble(golden.text)

    for frame, ancillary in VARIANTS:
        expected = theirs.run(frame.data, wire_len=frame.wire_len, ancillary=ancillary)
        assert expected == ours.run(frame.data, wire_len=frame.wire_len, ancillary=ancillary), (
            frame.data.hex(),
            ancillary,
        )


def test_goldens_would_tell_a_program_for_files_apart() -> None:
    differing = [
        golden.expression for golden in LIVE if "vlan" in golden.expression and _differs(golden)
    ]

    assert len(differing) > 20


def _differs(golden: filters.Compiled) -> bool:
    theirs = bpf.assemble(golden.text)
    try:
        in_file = bpf.compile(golden.expression)
    except FilterError:
        return True
    return any(
        bool(theirs.run(frame.data, ancillary=ancillary)) != bool(in_file.run(frame.data))
        for frame, ancillary in VARIANTS
    )


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(LIVE),
    st.sampled_from(FRAMES),
    st.sampled_from([None, *TAGS]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4),
    st.integers(0, 200),
)
def test_damaged_live_frames_match_as_with_libpcaps(
    golden: filters.Compiled,
    frame: Frame,
    tag: tuple[int, int] | None,
    damage: list[tuple[int, int]],
    length: int,
) -> None:
    data = bytearray(frame.data)
    for place, value in damage:
        data[place % len(data)] = value
    cut = Frame(bytes(data[:length]), frame.wire_len)
    ancillary = beside(cut, tag)
    ours, theirs = bpf.compile(golden.expression, live=True), bpf.assemble(golden.text)

    assert ours.run(cut.data, ancillary=ancillary) == theirs.run(cut.data, ancillary=ancillary)


def test_frame_in_a_file_and_the_same_frame_live_both_match() -> None:
    expression = "vlan 5 and tcp port 80"
    in_file, live = bpf.compile(expression), bpf.compile(expression, live=True)
    frames = [frame for frame in FRAMES if bpf.compile("tcp port 80").run(frame.data)]

    assert frames
    for frame in frames:
        assert in_file.run(filters.tagged(frame, 5).data)
        assert live.run(frame.data, ancillary=beside(frame, (5, 0x8100)))
        assert not live.run(frame.data, ancillary=beside(frame, (6, 0x8100)))
        assert not live.run(frame.data, ancillary=beside(frame, None))


def test_expression_without_vlan_needs_no_other_program() -> None:
    assert bpf.compile("tcp port 80", live=True) == bpf.compile("tcp port 80")


def test_vlan_of_a_packet_inside_another_is_in_the_data() -> None:
    expression = "geneve and vlan 5"

    assert bpf.compile(expression, live=True) == bpf.compile(expression)
    assert bpf.compile("vlan 5 and geneve", live=True) != bpf.compile("vlan 5 and geneve")


def test_words_that_look_like_vlan_are_left_alone() -> None:
    for expression in ("port vlan-x", "vlan.example", "\\vlan"):
        with pytest.raises(FilterError):
            bpf.compile(expression, live=True)


@pytest.mark.parametrize("expression", ["vlan 5000", "vlan (", "vlan 5 and", "vlan and foo"])
def test_fault_is_told_in_the_words_of_the_caller(expression: str) -> None:
    with pytest.raises(FilterError) as caught:
        bpf.compile(expression, live=True)

    assert caught.value.text == expression
    assert caught.value.position is not None
