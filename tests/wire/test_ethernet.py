from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden
from aioprocket.errors import WireError
from aioprocket.wire.ethernet import (
    BROADCAST,
    EthernetHeader,
    VlanTag,
    mac_bytes,
    mac_text,
)

SOURCE = "02:00:00:00:00:01"

macs = st.binary(min_size=6, max_size=6).map(mac_text)
tags = st.builds(
    VlanTag,
    id=st.integers(0, 0xFFF),
    priority=st.integers(0, 7),
    drop_eligible=st.booleans(),
    tpid=st.sampled_from([0x8100, 0x88A8]),
)
headers = st.builds(
    EthernetHeader,
    destination=macs,
    source=macs,
    protocol=st.integers(0, 0xFFFF).filter(lambda protocol: protocol not in (0x8100, 0x88A8)),
    tags=st.lists(tags, max_size=3).map(tuple),
)


@given(headers, st.binary(max_size=64))
def test_header_survives_the_way_there_and_back(header: EthernetHeader, payload: bytes) -> None:
    assert EthernetHeader.parse(header.emit(payload)) == (header, payload)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_header_or_a_wire_error(data: bytes) -> None:
    try:
        header, payload = EthernetHeader.parse(data)
    except WireError:
        return
    assert header.emit(payload) == data


def test_hardware_address_is_written_in_lower_case() -> None:
    assert mac_text(mac_bytes("AA:bb:0C:00:00:0F")) == "aa:bb:0c:00:00:0f"


@pytest.mark.parametrize(
    "text",
    ["", "02:00:00:00:00", "02:00:00:00:00:01:02", "02-00-00-00-00-01", "2:0:0:0:0:1",
     "0g:00:00:00:00:01", "02:00:00:00:00:01\n"],
)  # fmt: skip
def test_other_text_is_no_hardware_address(text: str) -> None:
    with pytest.raises(WireError, match="is not a hardware address"):
        mac_bytes(text)


@given(tags)
def test_tag_survives_the_way_through_a_packets_tci(tag: VlanTag) -> None:
    assert VlanTag.from_tci(tag.tci, tag.tpid) == tag


def test_tci_has_priority_drop_eligibility_and_id_in_this_order() -> None:
    assert VlanTag(id=0xABC, priority=5, drop_eligible=True).tci == 0b101_1_101010111100


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": 4096}, "id 4096 of VlanTag"),
        ({"id": -1}, "id -1 of VlanTag"),
        ({"id": 1, "priority": 8}, "priority 8 of VlanTag"),
        ({"id": 1, "tpid": 0x0800}, "tpid 0x0800"),
    ],
)
def test_tag_that_cannot_be_sent_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(WireError, match=words):
        VlanTag(**fields)


@pytest.mark.parametrize(
    ("destination", "source", "protocol", "words"),
    [
        ("x", SOURCE, 0x0800, "'x' is not a hardware address"),
        (BROADCAST, "y", 0x0800, "'y' is not a hardware address"),
        (BROADCAST, SOURCE, 0x10000, "protocol 65536 of EthernetHeader"),
        (BROADCAST, SOURCE, 0x8100, "belongs in tags"),
    ],
)
def test_header_that_cannot_be_sent_is_refused(
    destination: str, source: str, protocol: int, words: str
) -> None:
    with pytest.raises(WireError, match=words):
        EthernetHeader(destination=destination, source=source, protocol=protocol)


@pytest.mark.parametrize("size", [0, 13, 14, 17, 21])
def test_frame_that_ends_in_its_header_is_refused_where_it_ends(size: int) -> None:
    tagged = golden.load("packets", "icmp-echo-request").data[:size]

    with pytest.raises(WireError) as caught:
        EthernetHeader.parse(tagged)

    assert caught.value.offset == size
