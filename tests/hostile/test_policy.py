"""The policy's file: what it grants in each way, and how it can be spoiled."""

import errno
import os
import select
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from helper_client import BY_FILE, DROP, Kind, Reason, Stage
from hostile.ways import CAPABILITIES, Way, as_account
from lab.forks import beside
from lab.policies import system_log
from lab.traffic import frame
from sandbox.accounts import NOBODY

ICMP, IGMP = 1, 2
LO4 = socket.inet_aton("127.0.0.1")
LO6 = socket.inet_pton(socket.AF_INET6, "::1")
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")
ME = f"uid={NOBODY}"
GOOD = f"version 1\nallow {ME} icmp icmp6 packet\n"
# asm-generic/socket.h, linux/mroute.h
SO_BINDTOIFINDEX, SO_LOCK_FILTER, MRT_INIT = 62, 44, 200
ETH_P_LOCAL: Final = 0x88B5

Answer = tuple[Stage, int]
GRANTED: Final[Answer] = (Stage.OK, 0)


def install(file: Path, text: str | bytes = GOOD) -> None:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(0o644)


def rules(file: Path, *lines: str) -> None:
    install(file, "version 1\n" + "".join(f"allow {line}\n" for line in lines))


def refused(reason: Reason) -> Answer:
    return Stage.POLICY, reason | BY_FILE


def ask(way: Way, kind: Kind = Kind.RAW4, **fields: Any) -> Answer:
    if kind is Kind.RAW4:
        fields.setdefault("protocol", ICMP)
    with way.session() as running:
        reply = running.open(kind, **fields)
        return reply.stage, reply.detail if reply.stage is Stage.POLICY else 0


# By number: a rule, and requests with their answers.
DECIDED: list[tuple[int, str, list[tuple[Kind, dict[str, Any], Answer]]]] = [
    (38, f"{ME} icmp", [
        (Kind.RAW4, {"protocol": ICMP}, GRANTED),
        (Kind.RAW4, {"protocol": IGMP}, refused(Reason.PROTOCOL)),
        (Kind.RAW4, {"protocol": 255}, refused(Reason.PROTOCOL)),
    ]),
    (40, f"{ME} tcp port=79-80 addr=127.0.0.0/8", [
        (Kind.TCP4, {"port": 80, "address": LO4}, GRANTED),
        (Kind.TCP4, {"port": 81, "address": LO4}, refused(Reason.PORT)),
        (Kind.TCP4, {"port": 65535, "address": LO4}, refused(Reason.PORT)),
        (Kind.TCP4, {"address": LO4}, refused(Reason.PORT)),
        (Kind.TCP4, {"port": 80}, refused(Reason.ADDRESS)),
        (Kind.TCP4, {"port": 80, "address": bytes([10, 0, 0, 1])}, refused(Reason.ADDRESS)),
        (Kind.TCP6, {"port": 80, "address": LO6}, refused(Reason.ADDRESS)),
        (Kind.TCP6, {"port": 80, "address": MAPPED}, refused(Reason.ADDRESS)),
        (Kind.UDP4, {"port": 80, "address": LO4}, refused(Reason.KIND)),
    ]),
    (47, f"{ME} device=nothing:/dev/zero:1:5", [
        (Kind.DEVICE, {"device": "nothing"}, GRANTED),
        (Kind.DEVICE, {"device": "zero"}, refused(Reason.DEVICE)),
        (Kind.DEVICE, {"device": "nothing/x"}, refused(Reason.DEVICE)),
        (Kind.DEVICE, {"device": "net/tun"}, refused(Reason.DEVICE)),
    ]),
    (50, f"{ME} packet filter=locked", [
        (Kind.PACKET, {}, refused(Reason.FILTER)),
        (Kind.PACKET, {"filter": [DROP]}, GRANTED),
    ]),
    (57, f"{ME} packet mark=7 priority=2 buffer=8192", [
        (Kind.PACKET, {"mark": 7, "priority": 2, "receive_buffer": 8192}, GRANTED),
        (Kind.PACKET, {"mark": 8}, refused(Reason.MARK)),
        (Kind.PACKET, {"priority": 3}, refused(Reason.PRIORITY)),
        (Kind.PACKET, {"receive_buffer": 8193}, refused(Reason.BUFFER)),
    ]),
    (95, "uid=0 icmp", [(Kind.RAW4, {"protocol": ICMP}, refused(Reason.KIND))]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "requests"),
    [
        pytest.param(rule, requests, marks=pytest.mark.hostile(number), id=rule)
        for number, rule, requests in DECIDED
    ],
)
def test_what_a_rule_says_is_granted_and_no_more(
    way: Way, policy_file: Path, rule: str, requests: list[tuple[Kind, dict[str, Any], Answer]]
) -> None:
    rules(policy_file, rule)
    assert [ask(way, kind, **fields) for kind, fields, _ in requests] == [
        answer for _, _, answer in requests
    ]


@pytest.mark.hostile(41)
@pytest.mark.hostile(45)
def test_the_interface_of_a_rule_is_imposed(
    way: Way, policy_file: Path, veth: tuple[str, str]
) -> None:
    rules(policy_file, f"{ME} udp port=53 if={veth[0]}", f"{ME} icmp if=nosuch0")
    with way.session() as running:
        with running.granted_socket(Kind.UDP4, port=53) as opened:
            bound = opened.getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX)
            assert bound == socket.if_nametoindex(veth[0])
            assert opened.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER) == 1
        assert running.open(Kind.UDP4, port=53, interface=veth[1]).stage is Stage.POLICY
        missing = running.open(Kind.RAW4, protocol=ICMP)
        assert missing.refusal == (Stage.INTERFACE, errno.ENODEV)


@pytest.mark.hostile(52)
def test_bound_elsewhere_it_sees_nothing(
    way: Way, policy_file: Path, veth: tuple[str, str]
) -> None:
    near, far = veth
    rules(policy_file, f"{ME} packet if={far}")
    with way.session() as running, running.granted_socket(Kind.PACKET) as opened:

        def wander(name: str) -> None:
            opened.bind((name, ETH_P_LOCAL))

        with (
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender,
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as witness,
        ):
            for source, to, seen in ((near, far, True), (far, near, False)):
                as_account(lambda to=to: wander(to))  # type: ignore[misc]
                witness.bind((to, ETH_P_LOCAL))
                sender.bind((source, 0))
                for number in (1, 2):
                    sender.send(frame(number))
                witness.settimeout(20)
                assert [witness.recv(2048) for _ in (1, 2)] == [frame(1), frame(2)]
                assert bool(select.select([opened], [], [], 20 * seen)[0]) == seen
                while select.select([opened], [], [], 0)[0]:
                    opened.recv(2048)


@pytest.mark.hostile(48)
def test_a_device_that_became_something_else_is_not_opened(way: Way, policy_file: Path) -> None:
    rules(policy_file, "all device=zero:/dev/zero:1:5", "all device=wrong:/dev/null:1:5")
    assert ask(way, Kind.DEVICE, device="wrong") == (Stage.DEVICE, 0)
    device = Path("/dev/zero")
    changes: list[Callable[[], None]] = [
        lambda: device.symlink_to("other"),
        device.touch,
        lambda: os.mknod(device, stat.S_IFBLK | 0o666, os.makedev(1, 5)),
        lambda: os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    ]
    for make in changes:
        with system_log():  # of which sudo, too, would fill what nobody reads
            device.rename("/dev/other")
            make()
            assert ask(way, Kind.DEVICE, device="zero") == (Stage.DEVICE, 0)


@pytest.mark.hostile(54)
def test_a_granted_igmp_socket_can_control_routing_as_is_said(way: Way, policy_file: Path) -> None:
    manual = Path(__file__).parents[2] / "packaging/man/aioprocket-policy.5"
    assert "IGMP (2) is control of multicast routing." in manual.read_text()
    rules(policy_file, f"{ME} raw4 proto=2")
    with way.session() as running, running.granted_socket(Kind.RAW4, protocol=IGMP) as opened:
        # It asks for no capability but that with which the socket was made.
        as_account(lambda: opened.setsockopt(socket.SOL_IP, MRT_INIT, 1))


@pytest.mark.hostile(113)
def test_no_number_of_other_decisions_hides_a_grant(way: Way, policy_file: Path) -> None:
    rules(policy_file, f"{ME} packet", f"{ME} icmp", f"{ME} udp port=53")
    lines: list[str] = []
    with system_log() as log, way.session() as running:

        def decide(kind: Kind, **fields: Any) -> None:
            running.open(kind, **fields)
            running.release()
            lines.extend(log.lines())  # of which there is room for ten

        decide(Kind.PACKET)
        for _ in range(200):
            decide(Kind.RAW4, protocol=IGMP)
        decide(Kind.PACKET)
        for _ in range(200):
            decide(Kind.RAW4, protocol=ICMP)
        decide(Kind.UDP4, port=53)
    granted = [line.partition(" granted ")[2] for line in lines]
    assert len([each for each in granted if each.startswith("kind=packet line=2")]) == 2
    assert len([each for each in granted if each.startswith("kind=udp4 port=53 line=4")]) == 1
    assert len([line for line in lines if " denied " in line]) < 200


@pytest.mark.hostile(96)
@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "version 1\n"], ids=repr)
def test_a_file_without_rules_grants_nothing(way: Way, policy_file: Path, text: str) -> None:
    install(policy_file, text)
    stage, detail = ask(way)
    assert (stage, detail & ~BY_FILE in (Reason.KIND, Reason.POLICY)) == (Stage.POLICY, True)


def symlink(file: Path) -> None:
    file.rename(file.with_name("real"))
    file.symlink_to("real")


def other(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        file.unlink()
        make(file)

    return spoil


def text(new: str | bytes) -> Callable[[Path], None]:
    return lambda file: install(file, new)


FULL = GOOD + "allow uid=7 icmp\n" * 256
SPOILT: dict[int, dict[str, Callable[[Path], None]]] = {
    97: {
        "symbolic link": symlink,
        "hard link": lambda file: file.with_name("other").hardlink_to(file),
        "FIFO": other(lambda file: os.mkfifo(file, 0o644)),
        "folder": other(Path.mkdir),
        "device": other(lambda file: os.mknod(file, stat.S_IFCHR | 0o644, os.makedev(1, 5))),
        "64 KiB and a byte": text(GOOD + ("#" * 100 + "\n") * 660),
        "NUL": text(GOOD + "#\0\n"),
        "CRLF": text(GOOD.replace("\n", "\r\n")),
        "byte order mark": text("\ufeff" + GOOD),
        "no newline at the end": text(GOOD[:-1]),
        "513 bytes in a line": text(GOOD + "#" * 513 + "\n"),
        "257 rules": text(FULL),
    },
    98: {
        "another's": lambda file: os.chown(file, NOBODY, 0),
        "a group can write": lambda file: file.chmod(0o664),
        "others can write": lambda file: file.chmod(0o646),
        "another's folder": lambda file: os.chown(file.parent, NOBODY, 0),
        "a group's folder": lambda file: file.parent.chmod(0o775),
        "everybody's folder": lambda file: file.parent.chmod(0o1777),
    },
    100: {
        line: text(f"{GOOD}allow {line}\n")
        for line in (
            f"{ME} {ME} icmp", "all icmp colour=red", "uid=-1 icmp", "uid=4294967296 icmp",
            "uid=4294967295 icmp", "uid=1000x icmp", "all tcp port=1-", "all tcp port=80-79",
            "all tcp port=0-65535", "all tcp port=80 port=81", "", "all", "icmp", "all raw4",
            "all raw4 proto=256", "all tcp", "uid=1 gid=1 icmp", "all icmp icmp",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "number", [pytest.param(each, marks=pytest.mark.hostile(each)) for each in SPOILT]
)
def test_any_doubt_about_the_file_denies_everything(
    way: Way, policy_file: Path, number: int
) -> None:
    folder = policy_file.parent
    for name, spoil in SPOILT[number].items():
        install(policy_file)
        assert ask(way) == GRANTED, name
        spoil(policy_file)
        stage, detail = ask(way)
        assert (stage, detail & ~BY_FILE) == (Stage.POLICY, Reason.POLICY), name
        os.chown(folder, 0, 0)
        folder.chmod(0o755)
        for left in folder.iterdir():
            left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()


@pytest.mark.hostile(98)
def test_a_folder_behind_a_symbolic_link_denies_everything(way: Way, policy_file: Path) -> None:
    install(policy_file)
    real = policy_file.parent.rename("/etc/aioprocket-real")
    policy_file.parent.symlink_to(real)
    try:
        stage, detail = ask(way)
        assert (stage, detail & ~BY_FILE) == (Stage.POLICY, Reason.POLICY)
    finally:
        policy_file.parent.unlink()
        real.rename(policy_file.parent)


@pytest.mark.hostile(99)
def test_replaced_while_it_is_read_it_is_the_old_or_the_new_one(
    way: Way, policy_file: Path
) -> None:
    texts = (f"version 1\nallow {ME} udp port=1-9\n" + "#\n" * 9000, GOOD)
    install(policy_file)

    def replace() -> None:
        while True:
            for each in texts:
                install(policy_file.with_name("new"), each)
                os.rename(policy_file.with_name("new"), policy_file)

    with beside(replace):
        for _ in range(40):
            with way.session() as running:
                found = [
                    running.open(Kind.RAW4, protocol=ICMP),
                    running.open(Kind.UDP4, port=9),
                    running.open(Kind.UDP4, port=10),
                ]
                answers = [reply.stage is Stage.OK for reply in found]
                assert answers in ([True, False, False], [False, True, False])
                running.release()


@pytest.mark.hostile(101)
def test_a_group_of_the_callers_counts(way: Way, policy_file: Path) -> None:
    rules(policy_file, f"gid={NOBODY} icmp", "gid=0 udp port=53")
    assert ask(way) == GRANTED
    # Root's group, which sudo and the broker have, is not the caller's.
    assert ask(way, Kind.UDP4, port=53) == refused(Reason.KIND)


@pytest.mark.hostile(102)
def test_of_as_many_groups_as_the_kernel_allows_each_counts(way: Way, policy_file: Path) -> None:
    most = 1 << 16  # NGROUPS_MAX
    groups = range(100_000, 100_000 + most)
    rules(policy_file, f"gid={groups[-1]} icmp", f"gid={groups[-1] + 1} udp port=53")
    with way.session(groups=groups) as running:
        running.granted(Kind.RAW4, protocol=ICMP)
        denied = running.open(Kind.UDP4, port=53)
        assert (denied.stage, denied.detail) == refused(Reason.KIND)


@pytest.mark.hostile(103)
def test_a_file_that_root_alone_can_read_is_read_before_the_drop(
    way: Way, policy_file: Path
) -> None:
    install(policy_file)
    policy_file.chmod(0o600)
    stage, detail = ask(way)
    if way.name == CAPABILITIES:
        # It never was root: what it cannot read, it takes for a denial.
        assert (stage, detail & ~BY_FILE) == (Stage.POLICY, Reason.POLICY)
    else:
        assert (stage, detail) == GRANTED
