"""What the setuid helper tells the system's log of the rules' decisions."""

import socket
import threading
import time
from pathlib import Path
from typing import Final

import pytest

from helper_client import Kind, Session, Stage
from lab.policies import ACCOUNT, Asked, Policy, answers, system_log

pytestmark = [pytest.mark.netns, pytest.mark.realroot]

LOOPBACK: Final = socket.inet_aton("127.0.0.1")


def test_decisions_are_told_to_the_log(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} tcp port=80", f"uid={ACCOUNT} packet if=lo")
    with system_log() as log:
        asked(
            lambda helper: [
                helper.open(Kind.TCP4, port=80, address=LOOPBACK, backlog=1).stage,
                helper.open(Kind.PACKET).stage,
                helper.open(Kind.RAW4, protocol=2).stage,
            ]
        )
        lines = [line.partition("]: ")[2] for line in log.lines()]

    common = rf"uid={ACCOUNT} pid="
    assert all(line.startswith(common) for line in lines)
    assert [line.partition(" mode=")[2] for line in lines] == [
        "setuid granted kind=tcp4 port=80 addr=127.0.0.1 line=2",
        "setuid granted kind=packet if=lo locked line=3",
        "setuid denied reason=kind kind=raw4 proto=2",
    ]


def test_without_a_log_all_is_served(policy: Policy, asked: Asked) -> None:
    policy(f"uid={ACCOUNT} udp port=53")
    with system_log():
        Path("/dev/log").unlink()
        assert asked(answers((Kind.UDP4, {"port": 53}))) == [0]


def test_a_flood_of_requests_does_not_flood_the_log(policy: Policy, asked: Asked) -> None:
    policy("uid=1 icmp")
    count = 4000
    lines: list[str] = []
    done = threading.Event()

    def drain() -> None:
        while not done.wait(0.001):
            lines.extend(log.lines())

    def flood(helper: Session) -> tuple[int, float]:
        began = time.monotonic()
        for _ in range(count):
            assert helper.open(Kind.RAW4, protocol=1).stage is Stage.POLICY
        # Until a later second, whose first line tells how many were withheld.
        ended = time.monotonic()
        sent = count
        while time.monotonic() < ended + 1.1:
            helper.open(Kind.RAW4, protocol=1)
            sent += 1
        return sent, time.monotonic() - began

    with system_log() as log:
        reader = threading.Thread(target=drain)
        reader.start()
        try:
            sent, seconds = asked(flood)
        finally:
            done.set()
            reader.join()
        lines.extend(log.lines())

    told = [int(line.partition("lines-withheld=")[2] or 0) for line in lines]
    # The first and the last second may have begun before and end after.
    assert len(lines) <= 64 * (seconds + 2)
    assert sum(told) + len(lines) <= sent
    assert sent <= 64 * seconds or any(told)
