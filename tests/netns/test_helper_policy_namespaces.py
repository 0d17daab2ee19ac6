"""The namespaces that rules let an account enter through the setuid helper."""

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import aioprocket
from helper_client import BY_FILE, Kind, Reason, Session, Stage
from lab.policies import ACCOUNT, Asked, Policy, answers, run_as
from sandbox import links
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


def test_who_may_read_a_networks_packets_may_ask_what_it_is_like(
    policy: Policy, asked: Asked, named_namespace: str
) -> None:
    path = f"/run/netns/{named_namespace}"

    def ask(helper: Session) -> tuple[Stage, int]:
        with opened_path(path) as fd:
            reply = helper.open(Kind.ROUTE, [fd], namespace=True)
            return reply.stage, reply.detail & ~BY_FILE

    for rule, expected in (
        (f"packet netns={path}", (Stage.OK, 0)),
        (f"packet proto=0x806 netns={path}", (Stage.OK, 0)),
        (f"icmp6 netns={path}", (Stage.OK, 0)),
        # Of one interface it cannot be, nor behind a filter.
        (f"packet if=lo netns={path}", (Stage.POLICY, Reason.INTERFACE)),
        (f"packet filter=locked netns={path}", (Stage.POLICY, Reason.FILTER)),
        (f"udp port=53 netns={path}", (Stage.POLICY, Reason.KIND)),
        ("packet", (Stage.NAMESPACE, 0)),
    ):
        policy(f"uid={ACCOUNT} {rule}")
        assert asked(ask) == expected, rule


def test_a_neighbour_in_a_namespace_that_a_rule_grants_is_found(
    policy: Policy, everybodys_helper: Path, named_namespace: str, namespace: Namespace
) -> None:
    links.add_veth("nvb", "nva", peer_namespace=namespace.fd)
    try:
        with namespace.entered():
            links.set_address("nva", "02:00:00:00:00:0a")
            links.add_address("nva", "10.77.0.1/30")
            links.set_up("nva")
        links.set_address("nvb", "02:00:00:00:00:0b")
        links.add_address("nvb", "10.77.0.2/30")
        links.set_up("nvb")
        grant = f"uid={ACCOUNT} packet netns=/run/netns/{named_namespace}"

        def as_account(ask: Callable[[Path, str], Coroutine[Any, Any, Any]]) -> Any:
            asked = partial(ask, everybodys_helper, named_namespace)
            return run_as(lambda: asyncio.run(asked()), ACCOUNT, ACCOUNT)

        policy(grant)
        assert as_account(_ask) == ("02:00:00:00:00:0b", ["10.77.0.2"], None)

        policy(f"{grant} if=nva")
        said = as_account(_refused)
        assert "another interface" in said
        assert f"packet netns=/run/netns/{named_namespace}" in said
    finally:
        links.delete_link("nvb")


async def _ask(helper: Path, name: str) -> tuple[object, ...]:
    where: dict[str, Any] = {"namespace": name, "helper": str(helper)}
    found = await aioprocket.arp("10.77.0.2", interface="nva", timeout=1, retries=30, **where)
    async with aioprocket.scan("nva", timeout=5, family=4, **where) as scan:
        listed = [str(each.ip) async for each in scan]
    async with aioprocket.Pinger(**where) as pinger:
        sweep = pinger.sweep(["10.77.0.2"], path="link", timeout=20)
        (echo,) = [each async for each in sweep]
    return found and found.hwaddr, listed, echo.error and echo.error.kind


async def _refused(helper: Path, name: str) -> str:
    try:
        await aioprocket.arp("10.77.0.2", interface="nva", namespace=name, helper=str(helper))
    except aioprocket.NotPermittedError as error:
        return f"{error} {error.hint}"
    return ""
