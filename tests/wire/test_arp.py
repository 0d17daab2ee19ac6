import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden
from aioprocket.errors import WireError
from aioprocket.wire.arp import ArpPacket
from aioprocket.wire.ethernet import mac_text

macs = st.binary(min_size=6, max_size=6).map(mac_text)
packets = st.builds(
    ArpPacket,
    operation=st.integers(0, 0xFFFF),
    sender_mac=macs,
    sender_ip=st.ip_addresses(v=4),
    target_mac=macs,
    target_ip=st.ip_addresses(v=4),
)


@given(packets, st.binary(max_size=18))
def test_packet_survives_the_way_there_and_back(packet: ArpPacket, padding: bytes) -> None:
    assert ArpPacket.parse(packet.emit() + padding) == (packet, padding)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_packet_or_a_wire_error(data: bytes) -> None:
    try:
        packet, padding = ArpPacket.parse(data)
    except WireError:
        return
    assert packet.emit() + padding == data


@pytest.mark.parametrize(
    "offset", [1, 3, 4, 5], ids=["hardware", "protocol", "hardware length", "protocol length"]
)
def test_arp_for_something_else_is_refused(offset: int) -> None:
    data = bytearray(golden.load("packets", "arp-request").data[14:])
    data[offset] ^= 0x10

    with pytest.raises(WireError, match="other than IPv4 over Ethernet"):
        ArpPacket.parse(bytes(data))


def test_packet_that_is_cut_is_refused_where_it_ends() -> None:
    with pytest.raises(WireError, match="27 bytes of 28") as caught:
        ArpPacket.parse(golden.load("packets", "arp-request").data[14:-1])

    assert caught.value.offset == 27
