import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aioprocket.errors import HelperNotFoundError
from aioprocket.helper import diagnose, helper_path, install, locate
from lab.must import unavailable
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
        unavailable("package", "the package is run from its sources")


def test_bundled_helper_is_a_program_without_privilege(bundled: Path) -> None:
    assert os.access(bundled, os.X_OK)
    assert diagnose.why_unprivileged(str(bundled)) is not None


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


def unprivileged_hint(path: Path) -> str:
    found = diagnose.why_unprivileged(str(path))
    assert found is not None
    reason, hint = found
    assert "neither root's setuid bit nor file capabilities" in reason
    return hint


@pytest.mark.realroot
def test_installed_helper_for_a_group_gets_its_privilege_in_place(program: Path) -> None:
    os.chown(program, 0, NOBODY)
    program.chmod(0o750)

    assert unprivileged_hint(program) == f"sudo chmod 4750 {program}"


@pytest.mark.realroot
def test_helper_of_roots_own_group_is_given_to_another(program: Path) -> None:
    program.chmod(0o750)

    hint = unprivileged_hint(program)

    assert f"sudo chgrp aioprocket {program} && sudo chmod 4750 {program}" in hint
    assert "usermod -aG root" not in hint


@pytest.mark.realroot
def test_helper_that_looks_installed_for_sudo_names_sudo_first(program: Path) -> None:
    assert unprivileged_hint(program).startswith('helper="sudo"')


@pytest.mark.realroot
@pytest.mark.parametrize("whose", ["file", "folder"])
@pytest.mark.hostile(104, "once")
def test_file_that_others_can_replace_is_never_to_be_made_privileged(
    whose: str, program: Path
) -> None:
    os.chown(program if whose == "file" else program.parent, NOBODY, NOBODY)

    hint = unprivileged_hint(program)

    assert "sudo install -D -o root -g aioprocket -m 4750" in hint
    assert str(program) not in hint.replace(str(helper_path()), "")


@pytest.mark.realroot
def test_bundled_helper_is_installed_and_never_made_privileged_in_place(bundled: Path) -> None:
    assert unprivileged_hint(bundled) == install.how_to_install()


def test_install_lines_name_a_group_for_the_purpose(bundled: Path) -> None:
    assert install.how_to_install().splitlines()[1:3] == [
        "  sudo groupadd --system --force aioprocket",
        f"  sudo install -D -o root -g aioprocket -m 4750 {bundled} {locate.INSTALLED[0]}",
    ]


@pytest.mark.realroot
def test_nobody_is_told_to_join_roots_group(stage: Path, as_nobody: AsNobody) -> None:
    installed = stage / "for-root"
    installed.touch()
    installed.chmod(0o4750)

    found = as_nobody(lambda: diagnose.why_not_executable(str(installed)))

    assert found is not None
    assert "usermod -aG root" not in found[1]
    assert "chgrp aioprocket" in found[1]


@pytest.mark.realroot
def test_setuid_helper_of_another_account_has_no_privilege(program: Path) -> None:
    os.chown(program, NOBODY, NOBODY)
    program.chmod(0o4755)

    found = diagnose.why_unprivileged(str(program))

    assert found is not None
    assert "neither" in found[0]


@pytest.mark.realroot
@pytest.mark.parametrize("fixture", ["setuid_helper", "caps_helper"])
def test_installed_helper_has_privilege(fixture: str, request: pytest.FixtureRequest) -> None:
    assert diagnose.why_unprivileged(str(request.getfixturevalue(fixture))) is None


@pytest.mark.realroot
@pytest.mark.hostile(69, "once")
def test_file_system_that_takes_privilege_away_is_named(program: Path, tmp_path: Path) -> None:
    place = tmp_path / "nosuid"
    place.mkdir()
    kernel.mount("tmpfs", str(place), "tmpfs", MS_NOSUID, "mode=0755")
    try:
        installed = place / program.name
        shutil.copy(program, installed)
        installed.chmod(0o4755)

        found = diagnose.why_unprivileged(str(installed))
    finally:
        kernel.unmount(str(place))

    assert found is not None
    assert "mounted nosuid" in found[0]


@pytest.mark.realroot
@pytest.mark.hostile(69, "once")
def test_no_new_privileges_is_named(setuid_helper: Path, as_nobody: AsNobody) -> None:
    def why() -> Diagnosis:
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return diagnose.why_unprivileged(str(setuid_helper))

    found = as_nobody(why)

    assert found is not None
    reason, hint = found

    assert "no_new_privs" in reason
    assert "NoNewPrivileges=" in hint


def test_helper_that_may_be_executed_is_no_problem(program: Path) -> None:
    assert diagnose.why_not_executable(str(program)) is None


@pytest.mark.realroot
def test_helper_for_a_group_names_the_group_and_how_to_join(
    stage: Path, as_nobody: AsNobody
) -> None:
    installed = stage / "for-daemon"
    installed.touch()
    os.chown(installed, 0, 1)
    installed.chmod(0o4750)

    found = as_nobody(lambda: diagnose.why_not_executable(str(installed)))

    assert found is not None
    reason, hint = found

    assert "for the group daemon" in reason
    assert hint.startswith("sudo usermod -aG daemon nobody")


def test_missing_helper_is_no_such_file(tmp_path: Path) -> None:
    found = diagnose.why_not_executable(str(tmp_path / "missing"))

    assert found is not None
    assert "No such file" in found[0]
