import copy
import gc
import pickle
from typing import Any

import pytest

from aioprocket.packet import Packet

EVERYTHING: dict[str, Any] = {
    "timestamp_ns": 1_699_000_000_123_456_789,
    "wire_len": 1514,
    "truncated": True,
    "ifindex": 3,
    "vlan_tci": 0x6005,
    "vlan_tpid": 0x88A8,
    "direction": "otherhost",
    "ancdata": ((0, 8, b"12"), (41, 50, b"")),
}
ATTRIBUTES = ("data", "addr", *EVERYTHING)


def everything() -> Packet:
    return Packet(b"abcd", ("192.0.2.1", 7), **EVERYTHING)


def values(packet: Packet) -> list[Any]:
    return [getattr(packet, name) for name in ATTRIBUTES]


def test_packet_gives_back_what_it_was_made_of() -> None:
    packet = everything()

    assert values(packet) == [b"abcd", ("192.0.2.1", 7), *EVERYTHING.values()]


def test_packet_of_data_alone_is_an_untagged_whole_one_from_nowhere() -> None:
    packet = Packet(b"abcd")

    assert values(packet) == [b"abcd", None, 0, 4, False, 0, None, None, "in", ()]


@pytest.mark.parametrize("data", [b"abcd", bytearray(b"abcd"), memoryview(b"abcd")])
def test_packet_holds_bytes_whatever_buffer_it_was_given(data: bytes) -> None:
    packet = Packet(data)

    assert packet.data == b"abcd"
    assert type(packet.data) is bytes


def test_packet_does_not_follow_changes_of_the_buffer() -> None:
    data = bytearray(b"abcd")
    packet = Packet(data)

    data[:] = b"wxyz"

    assert packet.data == b"abcd"


def test_packet_shorter_than_on_the_wire_is_truncated() -> None:
    assert Packet(b"abcd", wire_len=5).truncated


def test_packet_with_a_vlan_and_no_tpid_is_tagged_by_802_1q() -> None:
    assert Packet(b"", vlan_tci=5).vlan_tpid == 0x8100


def test_ancdata_becomes_a_tuple_of_tuples() -> None:
    packet = Packet(b"", ancdata=iter([(1, 2, b"x")]))

    assert packet.ancdata == ((1, 2, b"x"),)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"wire_len": 3}, id="wire_len below the data"),
        pytest.param({"wire_len": 1 << 32}, id="wire_len beyond 32 bits"),
        pytest.param({"vlan_tci": 0x10000}, id="vlan_tci beyond 16 bits"),
        pytest.param({"vlan_tci": -1}, id="vlan_tci negative"),
        pytest.param({"vlan_tpid": 0, "vlan_tci": 1}, id="vlan_tpid zero"),
        pytest.param({"vlan_tpid": 0x8100}, id="vlan_tpid without vlan_tci"),
        pytest.param({"direction": "sideways"}, id="direction unknown"),
    ],
)
def test_packet_that_cannot_exist_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Packet(b"abcd", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"data": "abcd"}, "data", id="data is text"),
        pytest.param({"data": 4}, "data", id="data is a number"),
        pytest.param({"data": b"", "addr": []}, "addr", id="addr is mutable"),
        pytest.param({"data": b"", "wire_len": "4"}, "int", id="wire_len is text"),
        pytest.param({"data": b"", "ancdata": [b"x"]}, "ancdata", id="ancdata is flat"),
        pytest.param({"data": b"", "ancdata": [(1, 2)]}, "ancdata", id="ancdata lacks data"),
        pytest.param({"data": b"", "ancdata": [(1, 2, "x")]}, "bytes", id="ancdata holds text"),
        pytest.param({}, "data", id="nothing at all"),
    ],
)
def test_packet_of_the_wrong_types_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Packet(**arguments)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_packet_cannot_be_changed(name: str) -> None:
    packet = everything()

    with pytest.raises(AttributeError):
        setattr(packet, name, getattr(packet, name))


def test_packet_takes_no_further_attributes() -> None:
    with pytest.raises(AttributeError):
        Packet(b"").note = "mine"  # type: ignore[attr-defined]


def test_packet_cannot_be_subclassed() -> None:
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Derived", (Packet,), {})


def test_packet_unpacks_with_data_and_addr_first() -> None:
    data, addr, *rest = everything()

    assert [data, addr, *rest] == values(everything())


def test_packet_matches_data_and_addr_by_position() -> None:
    match everything():
        case Packet(data, (host, _), direction="otherhost"):
            assert (data, host) == (b"abcd", "192.0.2.1")
        case other:
            pytest.fail(f"no match: {other!r}")


def test_packet_has_the_length_of_its_data() -> None:
    assert len(everything()) == 4


def test_bytes_of_a_packet_are_its_data_uncopied() -> None:
    packet = everything()

    assert bytes(packet) is packet.data


def test_packet_is_a_read_only_buffer() -> None:
    with memoryview(everything()) as view:
        assert view.readonly
        assert view.tobytes() == b"abcd"


def test_view_of_a_packet_outlives_the_packet() -> None:
    view = memoryview(Packet(bytes(range(256)) * 40))

    gc.collect()

    assert view.tobytes() == bytes(range(256)) * 40


def test_packet_equals_and_hashes_by_identity() -> None:
    packet = everything()

    assert packet != everything()
    assert {packet: 1}[packet] == 1


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("packet", [everything(), Packet(b"")], ids=["full", "empty"])
def test_packet_survives_pickling(packet: Packet, protocol: int) -> None:
    twin = pickle.loads(pickle.dumps(packet, protocol))

    assert values(twin) == values(packet)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_packet_can_be_copied(duplicate: Any) -> None:
    assert values(duplicate(everything())) == values(everything())


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (Packet(b"x" * 98), "<Packet 98 bytes in>"),
        (
            Packet(b"x" * 98, ifindex=3, timestamp_ns=1_699_000_000_000_000_007),
            "<Packet 98 bytes in on 3 at 1699000000.000000007>",
        ),
        (
            Packet(b"x" * 96, wire_len=1514, direction="out", vlan_tci=0xF005),
            "<Packet 96 of 1514 bytes out vlan 5>",
        ),
    ],
    ids=["plain", "placed and timed", "cut and tagged"],
)
def test_repr_says_what_matters(packet: Packet, text: str) -> None:
    assert repr(packet) == text


def test_packet_is_no_burden_for_the_garbage_collector() -> None:
    assert not gc.is_tracked(everything())


def test_packet_documents_itself_and_every_attribute() -> None:
    assert Packet.__doc__
    assert all(getattr(Packet, name).__doc__ for name in ATTRIBUTES)


def test_a_frame_gets_its_vlan_tag_back() -> None:
    addresses, rest = bytes(range(12)), b"\x08\x00and what follows"

    frame = Packet(addresses + rest, vlan_tci=0x6007, vlan_tpid=0x88A8)

    assert frame.tagged() == addresses + bytes.fromhex("88a86007") + rest
    assert frame.data == addresses + rest


@pytest.mark.parametrize("data", [b"", b"eleven byte", b"twelve bytes"])
def test_what_has_no_tag_or_no_header_is_as_it_is(data: bytes) -> None:
    assert Packet(data).tagged() == data
    tag = b"\x81\x00\x00\x01" if len(data) >= 12 else b""
    assert Packet(data, vlan_tci=1, vlan_tpid=0x8100).tagged() == data[:12] + tag
