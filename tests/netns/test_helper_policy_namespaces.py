"""The namespaces that rules let an account enter through the setuid helper."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helper_client import Kind, Reason, Session, Stage
from lab.policies import ACCOUNT, Asked, Policy, answers
from sandbox.namespaces import Namespace

pytestmark = [pytest.mark.netns, pytest.mark.realroot]


@contextmanager
def opened_path(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def in_namespace(path: str) -> Callable[[Session], Stage]:
    """Ask for a packet socket in a namespace that is opened by its path."""

    def ask(helper: Session) -> Stage:
        with opened_path(path) as fd:
            return helper.open(Kind.PACKET, [fd], namespace=True).stage

    return ask


def test_a_namespace_that_a_rule_names_may_be_entered_and_no_other(
    policy: Policy, asked: Asked, named_namespace: str
) -> None:
    path = f"/run/netns/{named_namespace}"
    policy(f"uid={ACCOUNT} packet netns={path}", f"uid={ACCOUNT} udp port=53")

    assert asked(in_namespace(path)) is Stage.OK
    assert asked(in_namespace("/proc/self/ns/net")) is Stage.NAMESPACE
    assert asked(in_namespace("/etc/passwd")) is Stage.NAMESPACE
    assert asked(answers((Kind.PACKET, {}))) == [Reason.NAMESPACE]


def test_without_netns_in_a_rule_no_namespace_is_entered(
    policy: Policy, asked: Asked, named_namespace: str
) -> None:
    policy(f"uid={ACCOUNT} packet netns=host,own")

    assert asked(in_namespace(f"/run/netns/{named_namespace}")) is Stage.NAMESPACE


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_a_namespace_behind_a_folder_that_others_can_write_is_none(
    policy: Policy, asked: Asked, named_namespace: str, mode: int
) -> None:
    path = f"/run/netns/{named_namespace}"
    policy(f"uid={ACCOUNT} packet netns={path}")
    os.chmod("/run/netns", mode)

    assert asked(in_namespace(path)) is Stage.NAMESPACE


def test_a_namespace_behind_a_symbolic_link_is_none(
    policy: Policy, asked: Asked, named_namespace: str
) -> None:
    Path("/run/link").symlink_to("netns")
    Path("/run/netns/link").symlink_to(named_namespace)
    policy(f"uid={ACCOUNT} packet netns=/run/link/{named_namespace},/run/netns/link")

    assert asked(in_namespace(f"/run/netns/{named_namespace}")) is Stage.NAMESPACE


def test_a_device_in_a_namespace_that_a_rule_names_keeps_its_ipv6(
    policy: Policy, asked: Asked, named_namespace: str, tun_device: Path
) -> None:
    path = f"/run/netns/{named_namespace}"
    policy(f"uid={ACCOUNT} tun name=aio* netns={path},own")

    def answers(helper: Session) -> list[tuple[Stage, int]]:
        with open(path, "rb") as namespace:
            return [
                helper.open(Kind.TUN, [namespace.fileno()], namespace=True, mtu=mtu).refusal
                for mtu in (1279, 1280)
            ]

    # Its master is somebody else, and may raise the MTU later.
    assert asked(answers) == [(Stage.ADDRESS, errno.EPERM), (Stage.OK, 0)]


def test_own_namespaces_are_granted_by_own(
    policy: Policy, asked: Asked, namespace: Namespace
) -> None:
    # Root made this one: it is not the account's.
    policy(f"uid={ACCOUNT} packet netns=own")

    def ask(helper: Session) -> Stage:
        return helper.open(Kind.PACKET, [namespace.fd], namespace=True).stage

    assert asked(ask) is Stage.NAMESPACE
