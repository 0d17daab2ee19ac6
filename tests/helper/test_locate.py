import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aioprocket.errors import HelperNotFoundError
from aioprocket.helper import helper_path, locate
from sandbox import kernel
from sandbox.accounts import NOBODY

MS_NOSUID = 2  # linux/mount.h
PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h


Diagnosis = tuple[str, str] | None
AsNobody = Callable[[Callable[[], Diagnosis]], Diagnosis]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    found = tmp_path / "aioprocket-helper"
    found.write_text("#!/bin/sh\n")
    found.chmod(0o755)
    return found


@pytest.fixture
def bundled() -> Path:
    try:
        return helper_path()
    except HelperNotFoundError:
        pytest.skip("the package is run from its sources")


def test_bundled_helper_is_a_program_without_privilege(bundled: Path) -> None:
    assert os.access(bundled, os.X_OK)
    assert locate.why_unprivileged(str(bundled)) is not None


def test_package_that_was_not_built_has_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "_BUNDLED", ("aioprocket", "_libexec", "no-such-helper"))

    with pytest.raises(HelperNotFoundError) as caught:
        helper_path()

    assert "install the package" in caught.value.hint


def test_module_prints_where_the_bundled_helper_is(bundled: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "aioprocket.helper"], stdout=subprocess.PIPE, text=True, check=True
    )

    assert said.stdout == f"{bundled}\n"


def test_installed_helper_is_looked_for_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = (str(tmp_path / "first"), str(tmp_path / "second"))
    monkeypatch.setattr(locate, "INSTALLED", places)

    assert locate.installed_helper() is None
    Path(places[1]).touch()
    assert locate.installed_helper() == places[1]
    Path(places[0]).touch()
    assert locate.installed_helper() == places[0]


def test_helper_without_setuid_bit_and_capabilities_gets_the_commands(program: Path) -> None:
    found = locate.why_unprivileged(str(program))

    assert found is not None
    reason, hint = found
    assert "neither root's setuid bit nor file capabilities" in reason
    assert f"sudo chown root {program} && sudo chmod 4750 {program}" in hint
    assert f"sudo setcap cap_net_raw,cap_net_admin,cap_net_bind_service=p {program}" in hint


@pytest.mark.realroot
def test_setuid_helper_of_another_account_has_no_privilege(program: Path) -> None:
    os.chown(program, NOBODY, NOBODY)
    program.chmod(0o4755)

    found = locate.why_unprivileged(str(program))

    assert found is not None
    assert "neither" in found[0]


@pytest.mark.realroot
@pytest.mark.parametrize("fixture", ["setuid_helper", "caps_helper"])
def test_installed_helper_has_privilege(fixture: str, request: pytest.FixtureRequest) -> None:
    assert locate.why_unprivileged(str(request.getfixturevalue(fixture))) is None


@pytest.mark.realroot
def test_file_system_that_takes_privilege_away_is_named(program: Path, tmp_path: Path) -> None:
    place = tmp_path / "nosuid"
    place.mkdir()
    kernel.mount("tmpfs", str(place), "tmpfs", MS_NOSUID, "mode=0755")
    try:
        installed = place / program.name
        shutil.copy(program, installed)
        installed.chmod(0o4755)

        found = locate.why_unprivileged(str(installed))
    finally:
        kernel.unmount(str(place))

    assert found is not None
    assert "mounted nosuid" in found[0]


@pytest.mark.realroot
def test_no_new_privileges_is_named(setuid_helper: Path, as_nobody: AsNobody) -> None:
    def why() -> Diagnosis:
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return locate.why_unprivileged(str(setuid_helper))

    found = as_nobody(why)

    assert found is not None
    reason, hint = found

    assert "no_new_privs" in reason
    assert "NoNewPrivileges=" in hint


def test_helper_that_may_be_executed_is_no_problem(program: Path) -> None:
    assert locate.why_not_executable(str(program)) is None


@pytest.mark.realroot
def test_helper_for_a_group_names_the_group_and_how_to_join(
    stage: Path, as_nobody: AsNobody
) -> None:
    installed = stage / "for-daemon"
    installed.touch()
    os.chown(installed, 0, 1)
    installed.chmod(0o4750)

    found = as_nobody(lambda: locate.why_not_executable(str(installed)))

    assert found is not None
    reason, hint = found

    assert "for the group daemon" in reason
    assert hint.startswith("sudo usermod -aG daemon nobody")


def test_missing_helper_is_no_such_file(tmp_path: Path) -> None:
    found = locate.why_not_executable(str(tmp_path / "missing"))

    assert found is not None
    assert "No such file" in found[0]
