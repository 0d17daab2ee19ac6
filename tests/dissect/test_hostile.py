"""Any bytes have a summary, which is short, safe to print, and soon there."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden
from aioprocket import dissect
from aioprocket.dissect import LINKTYPES, Summary
from aioprocket.dissect.addresses import ipv6
from aioprocket.dissect.dns import name_at
from aioprocket.errors import WireError

PACKETS = golden.good("dissect") + golden.good("packets")
ETHERNET, RAW = 1, 101
# A multiple of what they take on a slow machine, far below what a loop without a bound takes.
SOON = 2.0


def udp6(port: int, payload: bytes) -> bytes:
    header = bytes.fromhex("60000000") + (8 + len(payload)).to_bytes(2) + b"\x11\x40" + bytes(32)
    return header + port.to_bytes(2) * 2 + (8 + len(payload)).to_bytes(2) + b"\0\0" + payload


def check(summary: Summary) -> None:
    shown = [summary.source, summary.destination, summary.protocol, summary.info]
    for each in summary.layers:
        for value in each.fields.values():
            shown += map(str, value) if isinstance(value, tuple) else [str(value)]
    assert all(text.isprintable() for text in shown)
    assert summary.protocol


@given(st.binary(max_size=200), st.sampled_from(sorted(LINKTYPES)))
def test_any_bytes_have_a_summary(data: bytes, linktype: int) -> None:
    check(dissect.summarize(data, linktype))


@given(st.sampled_from(PACKETS), st.data())
def test_damaged_packet_has_a_summary(packet: golden.Golden, choice: st.DataObject) -> None:
    data = bytearray(packet.data)
    for _ in range(choice.draw(st.integers(0, 4))):
        data[choice.draw(st.integers(0, len(data) - 1))] = choice.draw(st.integers(0, 255))
    size = choice.draw(st.integers(0, len(data)))
    linktype = dict(packet.meaning).get("linktype")

    check(dissect.summarize(bytes(data[:size]), int(linktype or ETHERNET)))


@pytest.mark.parametrize("packet", golden.good("dissect"), ids=golden.name_of)
def test_packet_cut_anywhere_keeps_what_is_known(packet: golden.Golden) -> None:
    linktype = int(packet["linktype"])
    whole = dissect.summarize(packet.data, linktype)

    for size in range(len(packet.data)):
        cut = dissect.summarize(packet.data[:size], linktype)
        check(cut)
        for one, other in zip(cut.layers[:-1], whole.layers, strict=False):
            assert one == other


@given(st.binary(max_size=64), st.integers(0, 0xFFFFFFFF))
def test_of_an_unknown_linktype_the_number_is_said(data: bytes, linktype: int) -> None:
    summary = dissect.summarize(data, linktype)

    if linktype not in LINKTYPES:
        assert (summary.protocol, summary.layers) == (f"linktype {linktype}", ())


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",  # points at itself
        b"\x01a\xc0\x0c",  # at its own beginning
        b"\xc0\x0e\xc0\x0c",  # at another that points back
        b"\xff\xff",  # beyond the message
        b"\x40",  # a label of a kind that does not exist
        b"\x3f" + b"a" * 62,  # a label that the message is too short for
        (b"\x3f" + b"a" * 63) * 5 + b"\0",  # more than 255 bytes
    ],
    ids=["itself", "its beginning", "a circle", "beyond", "kind", "cut", "too long"],
)
def test_name_that_leads_nowhere_is_incomplete(name: bytes) -> None:
    header = bytes.fromhex("1234 0100 0001 0000 0000 0000")

    summary = dissect.summarize(udp6(53, header + name + b"\0\1\0\1"), RAW)

    assert (summary.protocol, summary.complete) == ("DNS", False)


def response(*records: bytes) -> bytes:
    header = bytes.fromhex("1234 8000 0000") + len(records).to_bytes(2) + bytes(4)
    return udp6(53, header + b"".join(records))


@pytest.mark.parametrize(
    ("most", "more"),
    [
        (b"\1a" * 127, b"\1a" * 128),
        ((b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61,
         (b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62),
    ],
    ids=["labels", "bytes"],
)  # fmt: skip
def test_name_is_as_long_as_a_name_can_be(most: bytes, more: bytes) -> None:
    # RFC 1035, section 2.3.4: 255 bytes, of which the last is the zero.
    name, end = name_at(most + b"\0", 0)

    assert (len(name), end) == (253, 255)
    with pytest.raises(WireError):
        name_at(more + b"\0", 0)


def test_name_follows_no_more_pointers_than_it_can_have_labels() -> None:
    # Each leads to the one before it, as it must; a message has room for 32,000 of them.
    chain = b"\1a\0" + b"".join((0xC000 | at).to_bytes(2) for at in (0, *range(3, 3 + 2 * 5000, 2)))

    assert name_at(chain, 3 + 2 * 126) == ("a", 3 + 2 * 127)
    with pytest.raises(WireError):
        name_at(chain, 3 + 2 * 127)


def test_names_of_one_message_are_bounded_together() -> None:
    # Each record costs two bytes of the packet, and all the labels of the name that it points to.
    name = b"\1a" * 126 + b"\0"
    record = b"\xc0\x0c" + bytes.fromhex("0005 0001 00000000 0002 c00c")
    first = name + record[2:]

    whole = dissect.summarize(response(first, *[record] * 7), RAW)
    more = dissect.summarize(response(first, *[record] * 8), RAW)

    assert (whole.complete, more.complete) == (True, False)
    assert whole.info == more.info.removesuffix(", incomplete")


@pytest.mark.parametrize(
    "data",
    [
        bytes(12) + b"\x81\x00\x00\x05" * 16000,
        bytes(12) + b"\x08\x00" + (b"\x45\0\0\x14" + bytes(5) + b"\x04" + bytes(10)) * 3000,
        bytes(12) + b"\x86\xdd" + bytes.fromhex("60000000ffff0040") + bytes(32) + bytes(60000),
        bytes(12) + b"\x08\x00" + b"\x45\0\xff\xff" + bytes(5) + b"\x2f" + bytes(10)
        + (b"\0\0\x08\0" + b"\x45\0\xff\xff" + bytes(5) + b"\x2f" + bytes(10)) * 2500,
    ],
    ids=["tags", "IP in IP", "extension headers", "GRE in GRE"],
)  # fmt: skip
def test_headers_in_headers_come_to_an_end(data: bytes) -> None:
    began = time.process_time()

    summary = dissect.summarize(data)

    assert time.process_time() - began < SOON
    assert len(summary.layers) <= 24
    assert len(summary.info) < 500


def test_name_cannot_give_orders_to_a_terminal() -> None:
    label = b"\x1b]0;owned\x07\xc2\x9b\xe2\x80\xae\xff\\"
    name = bytes([len(label)]) + label + b"\0"
    header = bytes.fromhex("1234 0100 0001 0000 0000 0000")

    summary = dissect.summarize(udp6(53, header + name + b"\0\1\0\1"), RAW)

    assert summary.info == r"query 4660 A \x1b]0;owned\x07\x9b\u202e\xff\\"


def test_name_in_another_script_stays_readable() -> None:
    label = "Büro-プリンタ".encode()
    header = bytes.fromhex("0000 0100 0001 0000 0000 0000")
    packet = udp6(5353, header + bytes([len(label)]) + label + b"\0\0\1\0\1")

    assert dissect.summarize(packet, RAW).info == "query 0 A Büro-プリンタ"


def test_tag_that_the_kernel_took_out_is_shown_first() -> None:
    packet = golden.load("dissect", "udp").data

    summary = dissect.summarize(packet, vlan_tci=0x6007, vlan_tpid=0x88A8)

    assert summary.vlans == (7,)
    assert summary.layers[0].name == "vlan"
    assert dict(summary.layers[0].fields) == {"id": 7, "priority": 3, "tpid": 0x88A8}


def test_padding_is_no_payload() -> None:
    # A frame of 60 bytes with a segment that carries nothing.
    packet = golden.load("dissect", "tcp-reset").data + bytes(6)

    assert dissect.summarize(packet).info == "RST seq 0 win 0 len 0"


def test_result_cannot_be_changed() -> None:
    summary: Any = dissect.summarize(golden.load("dissect", "udp").data)

    with pytest.raises(AttributeError):
        summary.info = ""
    with pytest.raises(TypeError):
        summary.layers[0].fields["source"] = ""


def dhcp(options: bytes) -> bytes:
    return udp6(67, b"\1\1\6\0" + bytes(232) + b"\x63\x82\x53\x63" + options)


def dhcpv6(options: bytes) -> bytes:
    return udp6(547, b"\7\0\0\1" + options)


def option6(code: int, value: bytes) -> bytes:
    return code.to_bytes(2) + len(value).to_bytes(2) + value


@pytest.mark.parametrize("filling", [b"\0", b"\x37\0"], ids=["padding", "options"])
def test_options_of_dhcp_are_read_up_to_the_256th(filling: bytes) -> None:
    name = b"\x0c\4lamp\xff"

    near, far = (dissect.summarize(dhcp(filling * n + name), RAW) for n in (255, 256))

    assert (near.info.endswith('"lamp"'), far.info.endswith('"lamp"')) == (True, False)


def test_option_of_dhcp_is_read_once_however_often_it_is_there() -> None:
    names = b"".join(b"\x0c\4%04d" % number for number in range(100))

    assert dissect.summarize(dhcp(names + b"\xff"), RAW).info.endswith('"0000"')


def test_options_and_addresses_of_dhcpv6_are_bounded() -> None:
    leased = option6(3, bytes(12) + option6(5, bytes(24)) * 1000)
    name = option6(39, b"\0\4lamp\0")

    said = dissect.summarize(dhcpv6(leased * 2 + name), RAW)
    late = dissect.summarize(dhcpv6(option6(8, b"") * 64 + name), RAW)

    assert said.layers[-1].fields["addresses"] == ("::",) * 16
    assert "lamp" in said.info
    assert "lamp" not in late.info


def test_texts_and_identifiers_of_dhcpv6_are_cut() -> None:
    status = option6(13, b"\0\0" + b"\x1b" * 60_000)
    client = option6(1, bytes(60_000))

    fields = dissect.summarize(dhcpv6(status), RAW).layers[-1].fields
    assert fields["message"] == r"\x1b" * 255 + "…"
    fields = dissect.summarize(dhcpv6(client), RAW).layers[-1].fields
    assert len(str(fields["client_id"])) == 130 * 3 - 1


def test_of_servers_in_a_router_advertisement_only_those_shown_are_read() -> None:
    servers = b"".join(number.to_bytes(16) for number in range(1000, 1000 + 16 * 127))
    options = b"".join(
        b"\x19\xff" + bytes(6) + servers[at : at + 2032] for at in range(0, len(servers), 2032)
    )
    packet = bytes.fromhex("60000000") + (16 + len(options)).to_bytes(2) + b"\x3a\xff" + bytes(32)
    before = ipv6.cache_info().misses

    said = dissect.summarize(packet + b"\x86\0\0\0" + bytes(12) + options, RAW)

    assert len(said.layers[-1].fields["dns_servers"]) == 16 * 4  # type: ignore[arg-type]
    assert ipv6.cache_info().misses - before <= 16 * 4 + 1
