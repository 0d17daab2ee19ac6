"""One private machine for the whole run: see lab/ and the demo's sandbox for how.

Before the first test this process leaves the machine's network for an empty one of its own. As
real root it stays root (mark ``realroot``); an ordinary user becomes root of a user namespace,
which is enough for everything marked ``netns``.
"""

import asyncio
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from lab import (
    accounts,
    deadline,
    helpers,
    hosts,
    leaks,
    must,
    order,
    policies,
    programs,
    state,
    traffic,
)
from sandbox import kernel, links
from sandbox.namespaces import Forbidden, Namespace, enter_private, new_network
from sandbox.reach import interpreter_trees, make_reachable

T = TypeVar("T")

# How long one input takes says more of what else the machine does than of a test.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# For a further run of tests that have run in full: --hypothesis-profile=ci-quick
settings.register_profile("ci-quick", max_examples=10)

_privilege = pytest.StashKey[str]()
_forbidden = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    # What a shell starts in the background ignores Ctrl-C, and so would the programs under test.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        config.stash[_privilege] = enter_private()
        policies.hide_the_machines()
    except Forbidden as reason:
        config.stash[_privilege] = "none"
        config.stash[_forbidden] = str(reason)
    # libuv opens a pipe for signals with a process's first loop and keeps it: not a test's leak.
    uvloop.new_event_loop().close()
    if config.stash[_privilege] == "root":
        # Else the account nobody could not even start the interpreter, where that lies below
        # /root. The folder for temporary files may lie there as well.
        make_reachable(interpreter_trees(), writable=(config.rootpath, Path(tempfile.gettempdir())))


def pytest_report_header(config: pytest.Config) -> str:
    reason = config.stash.get(_forbidden, "")
    return f"private network: {config.stash[_privilege]}" + (f" ({reason})" if reason else "")


@pytest.hookimpl(tryfirst=True)  # then pytest puts together what shares a costly fixture
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order.longest_first(items)
    for item in items:
        deadline.give_deadline(item)


def pytest_runtest_setup(item: pytest.Item) -> None:
    privilege = item.config.stash[_privilege]
    if item.get_closest_marker("netns") and privilege == "none":
        must.unavailable("netns", item.config.stash[_forbidden])
    if item.get_closest_marker("realroot") and privilege != "root":
        must.unavailable("realroot", f"this run is {privilege}, not real root")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"debug": True, "use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"debug": True, "use_uvloop": True}), id="asyncio+uvloop"),
        pytest.param(("trio", {}), id="trio"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    with leaks.no_leaks():
        yield


@pytest.fixture(autouse=True, scope="module")
def state_is_handed_on() -> Iterator[None]:
    """The next file of this process finds it as this one did, whatever order they come in."""
    with state.unchanged_state():
        yield


@pytest.fixture
def veth() -> Iterator[tuple[str, str]]:
    """Two interfaces joined by a cable that carries frames; the kernel sends none on its own."""
    pair = ("v0", "v1")
    links.add_veth(*pair)
    try:
        for ifname in pair:
            links.disable_ipv6(ifname)
            links.set_up(ifname)
        traffic.settle(pair)
        yield pair
    finally:
        with suppress(OSError):  # the test may have removed it: that is a case of its own
            links.delete_link("v0")


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A second, empty network beside the one that tests run in."""
    with new_network() as network:
        yield network


@pytest.fixture
def far(namespace: Namespace) -> Iterator[Namespace]:
    """Another host, at the other end of a cable: `lab.hosts`."""
    with hosts.joined(namespace):
        yield namespace


@pytest.fixture
def example(is_root: bool, unprivileged_helper: Path) -> programs.Runner:
    """Run a program of ``examples/`` as a user without privilege."""

    @contextmanager
    def run(name: str, *arguments: str) -> Iterator[programs.Program]:
        arguments += (f"--helper={unprivileged_helper}",)
        path = f"examples/{name}.py"
        with programs.run_program(path, *arguments, as_nobody=is_root) as program:
            yield program

    return run


@pytest.fixture
def ping_sockets(namespace: Namespace) -> Iterator[None]:
    """The test is in another network, where group 0 may have ping sockets."""
    # Not in this one: what the kernel starts with, "1 0" for nobody, cannot be written back where
    # gid 1 is not mapped.
    with namespace.entered():
        Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 0")
        yield


@pytest.fixture
def named_namespace(namespace: Namespace) -> Iterator[str]:
    """The name of that network, as ``ip netns`` would know it."""
    with _private_run():
        name = Path("/run/netns/aiotest")
        name.parent.mkdir(mode=0o755)
        name.touch()
        kernel.mount(namespace.path, str(name), None, kernel.MS_BIND)
        yield name.name


@contextmanager
def _private_run() -> Iterator[None]:
    kernel.mount("tmpfs", "/run", "tmpfs", 0, "mode=0755")
    try:
        yield
    finally:
        kernel.unmount("/run")


@pytest.fixture
def flood() -> Callable[..., Any]:
    """`lab.traffic.flood`: frames by number, sent from a child process."""
    return traffic.flood


@pytest.fixture(scope="session")
def helper_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The helper without any privilege."""
    return helpers.find_helper() or helpers.build_helper(tmp_path_factory.mktemp("helper"))


@pytest.fixture(scope="session")
def stage() -> Iterator[Path]:
    """A folder that every account may enter, where setuid bits and file capabilities count."""
    folder = Path(tempfile.mkdtemp(prefix=state.STAGES))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        kernel.mount("tmpfs", str(folder), "tmpfs", 0, "mode=0755")
        stack.callback(kernel.unmount, str(folder))
        yield folder


@pytest.fixture(scope="session")
def is_root(request: pytest.FixtureRequest) -> bool:
    """Whether this run has real root, and can become nobody."""
    return request.config.stash[_privilege] == "root"


@pytest.fixture(scope="session")
def unprivileged_helper(is_root: bool, request: pytest.FixtureRequest) -> Path:
    """The helper as a program without privilege runs it, here."""
    # In a user namespace it gets its capabilities by being executed as the namespace's root.
    name = "setuid_helper" if is_root else "helper_binary"
    path = request.getfixturevalue(name)
    assert isinstance(path, Path)
    return path


@pytest.fixture
def tun_device(is_root: bool) -> Iterator[Path]:
    """/dev/net/tun, open to everybody, as it is on most machines."""
    device = Path("/dev/net/tun")
    if not device.exists():
        must.unavailable("tun", f"no {device}: modprobe tun")
    if not is_root:
        if not os.access(device, os.R_OK | os.W_OK):
            must.unavailable("tun", f"{device} is closed to us")
        yield device
        return
    number = device.stat().st_rdev
    kernel.mount("tmpfs", str(device.parent), "tmpfs", 0, "mode=0755")
    try:
        os.mknod(device, stat.S_IFCHR, number)
        device.chmod(0o666)
        yield device
    finally:
        kernel.unmount(str(device.parent))


@pytest.fixture(scope="session")
def setuid_helper(helper_binary: Path, stage: Path) -> Path:
    """An installed helper: root's, setuid, for the group nogroup. Needs the mark realroot."""
    return helpers.install_setuid(helper_binary, stage)


@pytest.fixture(scope="session")
def caps_helper(helper_binary: Path, stage: Path) -> Path:
    """An installed helper with file capabilities, for the group nogroup. Needs realroot."""
    return helpers.install_caps(helper_binary, stage)


@pytest.fixture
def sudo_helper(helper_binary: Path, stage: Path) -> Iterator[Path]:
    """A helper that ``sudo -n`` runs for nobody without a password. Needs realroot and sudo."""
    with helpers.installed_for_sudo(helper_binary, stage) as installed:
        yield installed


@pytest.fixture(scope="module")
def private_etc() -> Iterator[Path]:
    """The policy's folder, in a copy of /etc that only this file sees. Needs realroot."""
    with policies.hide_etc() as folder:
        yield folder


@pytest.fixture
def policy_file(private_etc: Path) -> Iterator[Path]:
    """Where the policy's file goes; there is none yet, and none afterwards."""
    yield private_etc / "policy"
    shutil.rmtree(private_etc)
    private_etc.mkdir(mode=0o755)


@pytest.fixture(scope="session")
def everybodys_helper(helper_binary: Path, stage: Path) -> Path:
    """A setuid helper that everybody may execute: without a policy it denies all. Realroot."""
    return policies.install_for_everybody(helper_binary, stage)


@pytest.fixture
def as_nobody(is_root: bool) -> Callable[[Callable[[], T]], T]:
    """Call a function in a child process that has no privilege; see `lab.accounts`.

    As real root the child is nobody; in a user namespace it stays who we are, without
    capabilities, and has them again in every program it starts.
    """
    return partial(accounts.run_unprivileged, change_account=is_root)
