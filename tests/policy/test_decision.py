"""What rules grant, deny and impose: the helper's decision, asked as `policy check` asks it."""

import ipaddress
import socket

import pytest

from aioprocket.policy import Person, decide, parse_request, request_words
from aioprocket.spec import DeviceSpec, PacketSpec, SocketSpec, Spec, TunSpec
from aioprocket.wire.kinds import Flag
from aioprocket.wire.reply import Mode, Reason
from aioprocket.wire.request import request_of

ALICE = Person(1000, (1000, 2000, 2001))


def ask(words: str, *rules: str, person: Person = ALICE) -> Reason | None:
    request, namespace = parse_request(words.split())
    text = "version 1\n" + "".join(f"allow {rule}\n" for rule in rules)
    return decide(text.encode(), request, person, namespace=namespace).reason


def test_nothing_is_granted_by_nothing() -> None:
    for kind in ("packet", "icmp", "raw6 proto=58", "tcp port=1", "tap name=aio1", "tun"):
        assert ask(kind) is Reason.KIND
    assert ask("device=net/tun") is Reason.DEVICE


@pytest.mark.hostile(101)
@pytest.mark.parametrize(
    ("who", "granted"),
    [
        ("uid=1000", True), ("uid=1001", False), ("gid=1000", True), ("gid=2000", True),
        ("gid=2001", True), ("gid=2002", False), ("all", True), ("uid=2000", False),
    ],
)  # fmt: skip
def test_who_is_known_by_account_and_by_each_group(who: str, granted: bool) -> None:
    assert ask("icmp", f"{who} icmp") is (None if granted else Reason.KIND)


@pytest.mark.parametrize(
    ("words", "rule", "reason"),
    [
        ("icmp", "icmp", None),
        ("raw4 proto=1", "icmp", None),
        pytest.param("raw4 proto=2", "icmp", Reason.PROTOCOL, marks=pytest.mark.hostile(38)),
        ("icmp6", "icmp", Reason.KIND),
        ("raw4 proto=2", "raw4 proto=2", None),
        ("icmp", "raw4 proto=2", Reason.PROTOCOL),
        ("raw6 proto=255", "raw4 raw6 proto=1,200-255", None),
        ("tcp port=80", "tcp port=80", None),
        ("tcp port=81", "tcp port=80,82", Reason.PORT),
        ("tcp", "tcp port=1-65535", Reason.PORT),
        ("udp port=80", "tcp port=80", Reason.KIND),
        ("tcp port=80 addr=127.0.0.9", "tcp port=80 addr=127.0.0.0/8", None),
        ("tcp port=80 addr=128.0.0.1", "tcp port=80 addr=127.0.0.0/8", Reason.ADDRESS),
        ("tcp port=80", "tcp port=80 addr=127.0.0.1", Reason.ADDRESS),
        ("tcp port=80 addr=::1", "tcp port=80 addr=127.0.0.1,::1", None),
        pytest.param(
            "tcp port=80 addr=::ffff:127.0.0.1",
            "tcp port=80 addr=127.0.0.1",
            Reason.ADDRESS,
            marks=pytest.mark.hostile(40),
        ),
        ("tcp port=80 addr=::", "tcp port=80 addr=0.0.0.0/0", Reason.ADDRESS),
        ("tcp port=80 listen", "tcp port=80 listen", None),
        ("tcp port=80", "tcp port=80 listen", Reason.LISTEN),
        ("packet if=eth0", "packet if=eth0", None),
        ("packet if=eth00", "packet if=eth0", Reason.INTERFACE),
        ("packet filter=locked", "packet filter=locked", None),
        pytest.param(
            "packet", "packet filter=locked", Reason.FILTER, marks=pytest.mark.hostile(50)
        ),
        ("packet mark=5", "packet", Reason.MARK),
        ("packet mark=5", "packet mark=5", None),
        ("packet mark=0", "packet mark=1-9", Reason.MARK),
        ("packet buffer=212992", "packet", None),
        ("packet buffer=212993", "packet", Reason.BUFFER),
        ("packet buffer=1M", "packet buffer=1M", None),
        ("packet priority=6", "packet", None),
        ("packet priority=7", "packet", Reason.PRIORITY),
        ("packet netns=own", "packet", Reason.NAMESPACE),
        ("packet netns=own", "packet netns=own", None),
        ("packet", "packet netns=own", Reason.NAMESPACE),
        ("packet", "packet netns=own,host", None),
        ("packet netns=/run/netns/a", "packet netns=/run/netns/a", None),
        ("packet netns=/run/netns/b", "packet netns=/run/netns/a", Reason.NAMESPACE),
        ("packet netns=/run/netns/a", "packet netns=own,host", Reason.NAMESPACE),
        ("tun name=aio0", "tun name=aio*", None),
        ("tun", "tun name=aio*", None),
        ("tun", "tun name=*", None),
        ("tun", "tun name=aio0", Reason.NAME),
        ("tun", "tun name=vpn*", Reason.NAME),
        ("tun name=vpn0", "tun name=vpn0", None),
        ("tun name=vpn00", "tun name=vpn0", Reason.NAME),
        ("tap name=aio0", "tun name=aio*", Reason.KIND),
        ("tun name=aio0 addr=10.0.0.1/24", "tun name=aio*", Reason.ADDRESS),
        ("tun name=aio0 addr=10.0.0.1/24", "tun name=aio* addr=10.0.0.0/8", None),
        ("tun name=aio0 addr=10.0.0.1/7", "tun name=aio* addr=10.0.0.0/8", Reason.ADDRESS),
        ("tun name=aio0 addr=10.0.0.1/8,fd00::1/8", "tun name=aio* addr=10.0.0.0/8,::/0", None),
        ("device=rng", "device=rng:/dev/hwrng:10:183", None),
        ("device=hwrng", "device=rng:/dev/hwrng:10:183", Reason.DEVICE),
    ],
)
def test_a_rule_grants_just_what_it_says(words: str, rule: str, reason: Reason | None) -> None:
    assert ask(words, f"uid=1000 {rule}") is reason


def test_rules_only_add_and_their_order_means_nothing() -> None:
    rules = ["uid=1000 tcp port=80", "gid=2000 tcp port=81", "all icmp", "uid=7 packet"]
    for order in (rules, rules[::-1]):
        assert ask("tcp port=80", *order) is None
        assert ask("tcp port=81", *order) is None
        assert ask("tcp port=82", *order) is Reason.PORT
        assert ask("packet", *order) is Reason.KIND


def test_a_namespace_is_that_of_the_same_rule() -> None:
    rules = ["uid=1000 packet netns=/run/netns/a", "uid=1000 udp port=1 netns=/run/netns/b"]
    assert ask("packet netns=/run/netns/a", *rules) is None
    assert ask("packet netns=/run/netns/b", *rules) is Reason.NAMESPACE


def test_the_reason_is_that_of_the_rule_which_came_nearest() -> None:
    rules = ["uid=1000 tcp port=1", "uid=1000 tcp port=80 addr=::1", "uid=1000 tcp port=2"]
    assert ask("tcp port=80", *rules) is Reason.ADDRESS


@pytest.mark.hostile(41)
def test_what_a_rule_imposes_comes_unasked() -> None:
    def imposed(words: str, rule: str) -> Flag:
        request, _ = parse_request(words.split())
        found = decide(f"version 1\nallow all {rule}\n".encode(), request, ALICE)
        assert found.reason is None
        return found.imposed

    assert imposed("packet", "packet if=lo") == Flag.INTERFACE | Flag.LOCK
    assert imposed("packet if=lo", "packet if=lo") == Flag.LOCK
    assert imposed("udp port=1", "udp port=1 if=lo") == Flag.INTERFACE | Flag.LOCK
    assert imposed("icmp6", "icmp6 if=lo") == Flag.INTERFACE | Flag.LOCK
    assert imposed("tcp port=1", "tcp port=1 if=lo") == Flag.INTERFACE
    assert imposed("icmp filter=locked", "icmp filter=locked") == Flag.LOCK
    assert imposed("packet", "packet proto=2048") == Flag.LOCK
    assert imposed("packet", "packet") == Flag(0)


def test_an_invalid_text_denies_everything() -> None:
    request, _ = parse_request(["icmp"])
    assert decide(b"version 1\nallow all icmp", request, ALICE).reason is Reason.POLICY


def test_root_gets_what_it_asks_for_whatever_the_text() -> None:
    request, _ = parse_request(["raw4", "proto=255"])
    assert decide(b"nonsense\n", request, Person(0)).reason is None


def test_without_a_text_it_depends_on_who_may_execute_the_helper() -> None:
    request, _ = parse_request(["icmp"])
    assert decide(None, request, ALICE).reason is None
    assert decide(None, request, ALICE, for_all=True).reason is Reason.EVERYBODY
    assert decide(None, request, ALICE, for_all=True, mode=Mode.SUDO).reason is None


SPECS: list[Spec] = [
    SocketSpec(family=socket.AF_INET, type=socket.SOCK_STREAM, protocol=6, port=80),
    SocketSpec(
        family=socket.AF_INET6, type=socket.SOCK_DGRAM, protocol=17, port=53,
        ip=ipaddress.ip_address("::1"), interface="lo", mark=7, receive_buffer=1 << 22,
    ),
    SocketSpec(family=socket.AF_INET, type=socket.SOCK_RAW, protocol=1, namespace="blue"),
    SocketSpec(family=socket.AF_INET, type=socket.SOCK_DGRAM, protocol=1),
    SocketSpec(family=socket.AF_INET6, type=socket.SOCK_RAW, protocol=58, priority=9),
    SocketSpec(family=socket.AF_INET6, type=socket.SOCK_RAW, protocol=89),
    PacketSpec(interface="eth0"),
    TunSpec(),
    TunSpec(name="vpn0", mode="tap", addresses=(ipaddress.ip_interface("10.1.2.3/24"),)),
    DeviceSpec(name="net/tun"),
]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_the_line_to_ask_for_grants_what_was_refused(spec: Spec) -> None:
    request = request_of(spec)
    namespace = "/run/netns/blue" if request.namespace else None
    words = request_words(request, namespace).replace("MAJOR:MINOR", "10:200")
    text = f"version 1\nallow uid=1000 {words}\n"

    assert decide(text.encode(), request, ALICE, namespace=namespace).reason is None
