"""The laboratory itself: what every other test relies on."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab import forks, leaks, must, order, state, traffic
from lab.accounts import Unprivileged
from lab.programs import PROJECT
from sandbox import kernel, links
from sandbox.namespaces import Namespace


def test_missing_tool_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOPROCKET_MUST_TEST", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no-such-tool"):
        must.require("no-such-tool")


@pytest.mark.parametrize("demanded", ["no-such-tool", "netns, no-such-tool", "all"])
def test_missing_tool_fails_where_it_must_be_tested(
    demanded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOPROCKET_MUST_TEST", demanded)

    with pytest.raises(pytest.fail.Exception, match="no-such-tool"):
        must.require("no-such-tool")


def test_leaked_descriptor_is_found() -> None:
    reading, writing = os.pipe()

    with pytest.raises(AssertionError, match="pipe:"), leaks.no_leaks():
        duplicate = os.dup(reading)

    for fd in (reading, writing, duplicate):
        os.close(fd)


def test_leaked_child_is_found() -> None:
    with pytest.raises(AssertionError, match="child processes left behind"), leaks.no_leaks():
        child = subprocess.Popen(["sleep", "60"])

    child.kill()
    child.wait()


@pytest.mark.parametrize("fault", [AssertionError, KeyboardInterrupt, SystemExit])
def test_a_fork_that_goes_wrong_does_not_go_on_as_this_process(
    fault: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    ours = os.getpid()

    def fail() -> None:
        raise fault("on purpose")

    with pytest.raises(AssertionError):
        forks.in_child(fail)

    assert os.getpid() == ours
    assert "on purpose" in capfd.readouterr().err


def test_a_fork_ends_with_its_block() -> None:
    before = leaks.children()  # of other tests of this process, which may end meanwhile
    with forks.beside(signal.pause):
        [mine] = leaks.children() - before
    assert mine not in leaks.children()


@pytest.mark.netns
def test_network_is_private() -> None:
    assert [name for _, name in socket.if_nameindex() if name not in ("lo", "sit0", "tunl0")] == []


@pytest.mark.netns
def test_frames_of_a_flood_cross_the_cable(veth: tuple[str, str]) -> None:
    sender, receiver = veth

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as tap:
        tap.bind((receiver, 3))
        tap.settimeout(10)
        with traffic.flood(sender, 5):
            frames = [tap.recv(2048) for _ in range(5)]

    assert frames == [traffic.frame(number) for number in range(5)]


@pytest.mark.netns
def test_cable_into_another_network(namespace: Namespace) -> None:
    links.add_veth("near", "far", peer_namespace=namespace.fd)
    with namespace.entered():
        links.add_address("far", "10.9.0.2/24")
        links.set_up("far")
        inside = [name for _, name in socket.if_nameindex()]
    outside = [name for _, name in socket.if_nameindex()]
    links.delete_link("near")

    assert "far" in inside
    assert "far" not in outside


@pytest.mark.netns
def test_named_network_is_where_ip_netns_looks(named_namespace: str, namespace: Namespace) -> None:
    assert Path("/run/netns", named_namespace).stat().st_ino == os.fstat(namespace.fd).st_ino


@pytest.mark.netns
def test_unprivileged_child_has_no_capability(as_nobody: Unprivileged) -> None:
    def look() -> int:
        with pytest.raises(PermissionError):
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        return kernel.effective_capabilities()

    assert as_nobody(look) == 0


@pytest.mark.netns
def test_failure_of_an_unprivileged_child_comes_back(as_nobody: Unprivileged) -> None:
    def fail() -> None:
        assert os.getpid() == 0

    with pytest.raises(AssertionError, match="== 0"):
        as_nobody(fail)


@pytest.mark.realroot
def test_nobody_can_start_the_interpreter(as_nobody: Unprivileged) -> None:
    def start() -> bytes:
        return subprocess.check_output(
            [sys.executable, "-c", "import os, anyio; print(os.getuid())"]
        )

    assert as_nobody(start) == b"65534\n"


@pytest.mark.netns
@pytest.mark.asyncio
async def test_links_change_while_a_loop_runs(veth: tuple[str, str]) -> None:
    links.set_down(veth[0])

    assert asyncio.get_running_loop().get_debug()


ENTER_AND_READ = """
import os, sys
from pathlib import Path
from sandbox import kernel
from sandbox.accounts import drop_privileges
from sandbox.reach import make_reachable

tree = Path(sys.argv[1])
kernel.unshare(kernel.CLONE_NEWNS)
kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
make_reachable([tree])
drop_privileges(change_account=True)
print((tree / "inside" / "file").read_text(), os.statvfs(tree / "inside").f_flag & os.ST_RDONLY)
"""


@pytest.mark.realroot
@pytest.mark.parametrize("closed", [".", "tree"], ids=["above", "itself"])
def test_tree_in_a_closed_folder_becomes_reachable(tmp_path: Path, closed: str) -> None:
    # pytest makes tmp_path with mode 0700, below a folder with mode 0700.
    inside = tmp_path / "tree" / "inside"
    inside.mkdir(parents=True)
    (inside / "file").write_text("content")
    (tmp_path / closed).chmod(0o700)
    command = [sys.executable, "-c", ENTER_AND_READ, str(tmp_path / "tree")]

    output = subprocess.check_output(
        command, env=os.environ | {"PYTHONPATH": str(PROJECT / "demo")}, text=True
    )

    assert output == f"content {os.ST_RDONLY}\n"
    assert (tmp_path / closed).stat().st_mode & 0o777 == 0o700


def test_what_a_file_of_tests_leaves_changed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(AssertionError, match=r"\{'\$LEFT': \"None became 'here'\"\}"),
        state.unchanged_state(),
    ):
        monkeypatch.setenv("LEFT", "here")


@pytest.mark.parametrize("name", order.LONGEST)
def test_file_that_is_handed_out_early_exists(name: str) -> None:
    assert (order.TESTS / name).is_file()
