"""What is said of a packet against what tcpdump says of it: values, whatever the words."""

import re
from typing import Any

import pytest

import golden
from aioprocket import dissect
from aioprocket.dissect import Summary

PACKETS = golden.good("dissect")
# tcpdump writes a letter for each flag of TCP, in its own order.
FLAGS = {"S": "SYN", "F": "FIN", "R": "RST", "P": "PSH", ".": "ACK", "U": "URG", "E": "ECE",
         "W": "CWR"}  # fmt: skip

every_packet = pytest.mark.parametrize("packet", PACKETS, ids=golden.name_of)


def summary_of(name: str) -> Summary:
    packet = golden.load("dissect", name)
    return dissect.summarize(packet.data, int(packet["linktype"]))


def layer(summary: Summary, name: str) -> dict[str, Any]:
    return dict(next(each.fields for each in summary.layers if each.name == name))


def said(summary: Summary) -> str:
    """All that a line shows, ports as tcpdump writes them."""
    ends = (
        (summary.source, summary.source_port),
        (summary.destination, summary.destination_port),
    )
    addresses = [f"{address}.{port}" if port is not None else address for address, port in ends]
    return " ".join((*addresses, *map(str, summary.vlans), summary.protocol, summary.info))


@every_packet
def test_values_that_tcpdump_shows_are_shown(packet: golden.Golden) -> None:
    text = re.sub(r"[,:\"]+(\s|$)", " ", said(summary_of(packet.name))).lower()

    for value in packet["values"].lower().split():
        assert value in packet["tcpdump"].lower()
        assert re.search(rf"(^|[\s:\".]){re.escape(value)}($|[\s:\",.])", text), text


@every_packet
def test_whole_packet_is_complete(packet: golden.Golden) -> None:
    assert summary_of(packet.name).complete


@pytest.mark.parametrize(
    "packet", [each for each in PACKETS if each.name.startswith("tcp")], ids=golden.name_of
)
def test_fields_of_tcp_are_those_of_tcpdump(packet: golden.Golden) -> None:
    shown = re.search(
        r"Flags \[(\S+)\].*? seq (\d+)\S*(?:, ack (\d+))?, win (\d+).*length (\d+)(?:: HTTP)?$",
        packet["tcpdump"],
    )
    assert shown
    fields = layer(summary_of(packet.name), "tcp")

    assert set(fields["flags"].split()) == {FLAGS[letter] for letter in shown[1]}
    assert [fields["seq"], fields["window"], fields["length"]] == [int(shown[n]) for n in (2, 4, 5)]
    assert fields["ack"] == int(shown[3] or 0)


@pytest.mark.parametrize(
    "packet",
    [each for each in PACKETS if "(tos" in each["tcpdump"] and "ICMP " not in each["tcpdump"]],
    ids=golden.name_of,
)
def test_fields_of_ipv4_are_those_of_tcpdump(packet: golden.Golden) -> None:
    header = re.search(
        r"\(tos 0x(\w+), ttl (\d+), id (\d+), offset (\d+), flags \[(.*?)\], "
        r"proto \S+ \((\d+)\), length (\d+)",
        packet["tcpdump"],
    )
    assert header
    fields = layer(summary_of(packet.name), "ipv4")

    assert fields["tos"] == int(header[1], 16)
    assert (fields["ttl"], fields["id"]) == (int(header[2]), int(header[3]))
    assert fields.get("fragment_offset", 0) == int(header[4])
    assert fields["dont_fragment"] == ("DF" in header[5])
    assert fields.get("more_fragments", False) == ("+" in header[5])
    assert (fields["protocol"], fields["length"]) == (int(header[6]), int(header[7]))


def test_options_of_a_syn() -> None:
    # tcpdump: options [mss 1460,sackOK,TS val 5 ecr 0,nop,wscale 7]
    fields = layer(summary_of("tcp-syn"), "tcp")

    assert (fields["mss"], fields["sack_permitted"], fields["window_scale"]) == (1460, True, 7)
    assert (fields["timestamp"], fields["timestamp_echo"]) == (5, 0)


def test_tags_are_layers_from_the_outside_in() -> None:
    # tcpdump: 802.1Q-QinQ … vlan 100, p 3, ethertype 802.1Q (0x8100), vlan 5, p 0
    summary = summary_of("vlan-qinq")

    assert summary.vlans == (100, 5)
    assert [dict(each.fields) for each in summary.layers if each.name == "vlan"] == [
        {"id": 100, "priority": 3, "tpid": 0x88A8},
        {"id": 5, "priority": 0, "tpid": 0x8100},
    ]


def test_dns_answers_are_separate_values() -> None:
    fields = layer(summary_of("dns-response"), "dns")

    assert (fields["id"], fields["response"], fields["rcode"]) == (4660, True, 0)
    assert fields["questions"] == ("A www.example.org",)
    assert fields["answers"] == (
        "www.example.org CNAME example.org",
        "example.org A 203.0.113.80",
        "example.org MX 10 mail.example.org",
    )


def test_dhcp_says_who_asks_for_what() -> None:
    asked = layer(summary_of("dhcp-discover"), "dhcp")
    given = layer(summary_of("dhcp-ack"), "dhcp")

    assert (asked["client"], asked["host_name"]) == ("02:00:00:00:00:01", "lamp-kitchen")
    assert (asked["type"], asked["requested"], asked["asks_for"]) == (1, "192.0.2.77", (1, 3, 6))
    assert (given["type"], given["given"], given["lease"]) == (5, "192.0.2.77", 86400)
    assert (given["routers"], given["dns_servers"]) == (("192.0.2.254",), ("192.0.2.53",))


def test_dhcpv6_says_the_name() -> None:
    # The bytes are scapy's, fqdn='lamp'; tcpdump does not show it.
    assert layer(summary_of("dhcpv6-solicit"), "dhcpv6")["host_name"] == "lamp"


def test_router_advertisement_says_what_it_offers() -> None:
    fields = layer(summary_of("nd-router-advertisement"), "icmpv6")

    assert (fields["managed"], fields["other"]) == (False, True)
    assert (fields["hop_limit"], fields["lifetime"], fields["mtu"]) == (64, 1800, 1400)
    assert (fields["prefixes"], fields["dns_servers"]) == (("2001:db8:5::/64",), ("2001:db8::53",))


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("icmp-port-unreachable", "UDP 198.51.100.2:5000 > 192.0.2.1:33434"),
        ("icmpv6-port-unreachable", "UDP [2001:db8::2]:5000 > [2001:db8::1]:33434"),
    ],
)
def test_error_says_what_it_is_about(name: str, quoted: str) -> None:
    summary = summary_of(name)

    assert summary.info == f"port unreachable for {quoted}"
    assert summary.source_port is None
