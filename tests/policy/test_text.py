"""What is a policy: the helper's C against a second reading of the man page."""

import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aioprocket.policy import BUILT_IN, PolicyText, find_fault
from policy.reference import Invalid, parse

VERSION = "version 1\n"
patient = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


def fault(text: str | bytes) -> tuple[int, str] | None:
    return find_fault(text.encode() if isinstance(text, str) else text)


def is_valid_by_reference(text: bytes) -> bool:
    try:
        parse(text)
    except Invalid:
        return False
    return True


@pytest.mark.parametrize(
    "rule",
    [
        "all icmp",
        "gid=993  icmp icmp6",
        "uid=1000 packet if=eth0 filter=locked",
        "uid=1000 tcp port=80,443 addr=127.0.0.1 listen",
        "uid=1000 tun name=aio* netns=own",
        "uid=1001 device=hwrng:/dev/hwrng:10:183",
        "uid=0 packet proto=0x0806,0x88cc-0x88d0",
        "uid=4294967294 raw4 proto=0-255",
        "all udp tcp port=1-65535 addr=::1,10.0.0.0/8 if=lo mark=0-0xffffffff buffer=1023M",
        "all\ttap\tname=*\taddr=0.0.0.0/0,::/0\tnetns=host,own,/run/netns/blue # all",
        "all icmp max=1000000 priority=4294967295",
    ],
)
def test_a_rule_is_valid(rule: str) -> None:
    assert fault(f"{VERSION}allow {rule}\n") is None
    assert is_valid_by_reference(f"{VERSION}allow {rule}\n".encode())


@pytest.mark.hostile(100)
@pytest.mark.parametrize(
    "rule",
    [
        "",
        "icmp",
        "uid=1000",
        "all",
        "uid=-1 icmp",
        "uid=4294967295 icmp",
        "uid=4294967296 icmp",
        "uid=1000x icmp",
        "uid=0x10 icmp",
        "uid=01 icmp",
        "uid= icmp",
        "uid=alice icmp",
        "uid=1 uid=1 icmp",
        "uid=1 gid=1 icmp",
        "uid=1 all icmp",
        "all icmp icmp",
        "all icmp color=red",
        "all ICMP",
        "all deny icmp",
        "all udp",
        "all udp port=",
        "all udp port=0",
        "all udp port=1-",
        "all udp port=-1",
        "all udp port=80-79",
        "all udp port=80-80",
        "all udp port=0-65535",
        "all udp port=65536",
        "all udp port=1,,2",
        "all udp port=1,2,",
        "all udp port=1,2,3,4,5,6,7,8,9",
        "all udp port=*",
        "all udp port=1 port=2",
        "all icmp port=1",
        "all icmp tcp port=1",
        "all udp port=1 listen",
        "all tcp port=1 listen=yes",
        "all tcp port=1 filter=locked",
        "all packet filter",
        "all packet filter=open",
        "all packet addr=127.0.0.1",
        "all packet raw4 proto=1",
        "all raw4",
        "all raw4 proto=256",
        "all packet proto=65536",
        "all udp port=1 addr=10.0.0.1/8",
        "all udp port=1 addr=10.0.0/8",
        "all udp port=1 addr=010.0.0.1",
        "all udp port=1 addr=10.0.0.0/33",
        "all udp port=1 addr=fe80::1%lo",
        "all udp port=1 addr=localhost",
        "all packet if=",
        "all packet if=..",
        "all packet if=-rf",
        "all packet if=a/b",
        "all packet if=eth*",
        "all packet if=sixteen-letters-",
        "all tun",
        "all tun name=",
        "all tun name=a*b",
        "all tun name=**",
        "all tun name=aio%d",
        "all tun name=aio* if=eth0",
        "all packet netns=",
        "all packet netns=other",
        "all packet netns=run/netns/x",
        "all packet netns=/run/../x",
        "all packet netns=/run//x",
        "all packet netns=/run/x/",
        "all packet netns=/",
        "all packet mark=",
        "all packet mark=4294967296",
        "all packet mark=2-1",
        "all packet buffer=0",
        "all packet buffer=1G",
        "all packet buffer=1024M",
        "all packet buffer=M",
        "all icmp max=0",
        "all icmp max=1000001",
        "all device=mem",
        "all device=mem:/dev/mem:1",
        "all device=mem:/dev/../mem:1:1",
        "all device=mem:/proc/kmem:1:1",
        "all device=mem:mem:1:1",
        "all device=../mem:/dev/mem:1:1",
        "all device=mem:/dev/mem:4096:1",
        "all device=mem:/dev/mem:1:1048576",
        "all device=mem:/dev/mem:1:1:1",
        "all device=mem:/dev/mem:1:1 port=1",
    ],
)
def test_a_rule_is_invalid_and_so_is_the_whole(rule: str) -> None:
    text = f"{VERSION}allow all icmp\nallow {rule}\nallow all icmp6\n"
    found = fault(text)
    assert found is not None
    assert found[0] == 3
    assert not is_valid_by_reference(text.encode())


@pytest.mark.hostile(97)
@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("allow all icmp\n", 1, id="no version"),
        pytest.param("version 2\n", 1, id="another version"),
        pytest.param("version 1 2\n", 1, id="two versions"),
        pytest.param(VERSION * 2, 2, id="version twice"),
        pytest.param(VERSION + "deny all icmp\n", 2, id="deny"),
        pytest.param(VERSION + "allow all icmp", 0, id="no newline"),
        pytest.param(VERSION + "allow all icmp\r\n", 2, id="CRLF"),
        pytest.param("\ufeff" + VERSION, 1, id="byte order mark"),
        pytest.param(VERSION + "# \u00e9\n", 2, id="not ASCII in a comment"),
        pytest.param(VERSION + "\0\n", 2, id="NUL"),
        pytest.param(VERSION + "\x1b[2J\n", 2, id="escape"),
        pytest.param(VERSION + "#" * 513 + "\n", 2, id="513 bytes"),
        pytest.param(VERSION + "allow all icmp\n" * 257, 258, id="257 rules"),
        pytest.param(VERSION + "\n" * 65536, 0, id="64 KiB and more"),
    ],
)
def test_a_text_is_invalid_at_its_line(text: str, line: int) -> None:
    found = fault(text)
    assert found is not None
    assert found[0] == line
    assert not is_valid_by_reference(text.encode())


def test_seventeen_namespaces_are_too_many() -> None:
    rules = [f"allow all packet netns=/run/netns/n{number}\n" for number in range(17)]
    assert fault(VERSION + "".join(rules[:16]) + rules[0]) is None
    assert fault(VERSION + "".join(rules)) is not None


@pytest.mark.parametrize("text", ["", "\n", "# only\n \t\n", VERSION, f"\n# x\n{VERSION}\n"])
def test_a_text_without_rules_is_valid(text: str) -> None:
    assert fault(text) is None
    assert is_valid_by_reference(text.encode())


def test_what_is_built_in_is_valid_text() -> None:
    assert fault(BUILT_IN) is None
    assert len(parse(BUILT_IN.encode())) == len(PolicyText(BUILT_IN).rules()) > 0


numbers = st.one_of(
    st.integers(0, 5).map(str),
    st.sampled_from(
        ["", "00", "0x", "0x1F", "0xff", "255", "256", "65535", "65536", "4294967294", "4294967295",
         "4294967296", "99999999999", "-1", "1x", "512M", "1024M", "4K"]
    ),
)  # fmt: skip
ranges = st.one_of(numbers, st.tuples(numbers, numbers).map("-".join))
lists = st.lists(ranges, min_size=1, max_size=9).map(",".join)
networks = st.sampled_from(
    ["127.0.0.1", "10.0.0.0/8", "10.0.0.1/8", "::1", "fe80::/10", "::/0", "0.0.0.0/0", "1.2.3",
     "::ffff:1.2.3.4", "1.2.3.4/32", "1.2.3.4/33", "::/129", "/8", "1.2.3.4/", "1:2:3:4:5:6:7:8"]
)  # fmt: skip
names = st.text("aZ0._-*/%:", max_size=17)
paths = st.lists(st.sampled_from(["", ".", "..", "a", "run", "x" * 30]), max_size=4).map("/".join)
values = {
    "uid": numbers, "gid": numbers, "port": lists, "proto": lists, "mark": ranges,
    "priority": numbers, "buffer": numbers, "max": numbers, "if": names, "name": names,
    "addr": st.lists(networks, min_size=1, max_size=9).map(",".join),
    "netns": st.lists(st.one_of(st.sampled_from(["host", "own"]), paths), max_size=3).map(",".join),
    "filter": st.sampled_from(["locked", "", "open"]),
    "device": st.tuples(names, paths.map("/dev/{}".format), numbers, numbers).map(":".join),
}  # fmt: skip
conditions = st.one_of(*(each.map(f"{key}={{}}".format) for key, each in values.items()))
kinds = st.sampled_from(
    ["packet", "icmp", "icmp6", "raw4", "raw6", "tcp", "udp", "tun", "tap", "listen", "all"]
)
likely = st.sampled_from(
    ["all icmp", "uid=7 tcp port=80", "gid=7 tun name=aio*", "all raw4 proto=1", "uid=1 packet"]
)
rules = st.tuples(likely, st.lists(st.one_of(kinds, conditions), max_size=4)).map(
    lambda parts: " ".join(["allow", parts[0], *parts[1]])
)
texts = st.lists(st.one_of(rules, st.just("# words"), st.just("")), max_size=6).map(
    lambda lines: VERSION + "".join(f"{line}\n" for line in lines)
)


@patient
@given(texts)
@example(VERSION + "allow all icmp max=1 max=1\n")
def test_c_and_the_reference_find_the_same_texts_valid(text: str) -> None:
    assert (fault(text) is None) == is_valid_by_reference(text.encode())


@patient
@given(texts, st.integers(0), st.integers(0, 255))
def test_they_agree_about_damaged_texts(text: str, at: int, byte: int) -> None:
    damaged = bytearray(text.encode())
    damaged[at % len(damaged)] = byte
    assert (fault(bytes(damaged)) is None) == is_valid_by_reference(bytes(damaged))


@patient
@given(st.binary(max_size=200))
def test_they_agree_about_nonsense(noise: bytes) -> None:
    text = VERSION.encode() + noise
    assert (fault(text) is None) == is_valid_by_reference(text)


def test_valid_texts_are_not_rare_among_those_that_are_made() -> None:
    # Else the tests above would agree about nothing but nonsense.
    choice = random.Random(1)
    words = ["max=3", "mark=1-2", "netns=own", "if=lo", "buffer=1M", "priority=7"]
    found = [
        fault(f"{VERSION}allow all icmp {' '.join(choice.sample(words, 3))}\n") for _ in range(50)
    ]
    assert found.count(None) == 50


def test_rules_come_and_go_and_comments_stay() -> None:
    old = PolicyText(
        "# Who may what.\nversion 1\n\n# The web\nallow uid=7 tcp port=80  # bob\n"
        "allow gid=9 icmp\n  # the end\n"
    )
    new = old.with_rule("uid=8", ("udp", "port=53"), "eve")
    assert new.text == old.text + "allow uid=8 udp port=53  # eve\n"
    assert new.without_rules("uid=8") == old
    assert old.without_rules("uid=7").text == old.text.replace(
        "allow uid=7 tcp port=80  # bob\n", ""
    )
    assert old.without_rules("uid=7", ("port=80", "tcp")) == old.without_rules("uid=7")
    assert old.without_rules("uid=7", ("tcp", "port=81")) == old
    assert old.with_rule("gid=9", ("icmp",)) == old


@pytest.mark.parametrize("start", ["", "# words\n"])
def test_the_first_rule_brings_the_version(start: str) -> None:
    text = PolicyText(start).with_rule("all", ("icmp",)).text
    assert text.startswith(start)
    assert fault(text) is None
    assert PolicyText(text).with_rule("all", ("icmp6",)).text == text + "allow all icmp6\n"
