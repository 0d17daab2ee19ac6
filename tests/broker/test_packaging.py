"""The recipes: what can be known of them without the machine they are for."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from lab.brokers import running_broker
from lab.must import require

PACKAGING: Final = Path(__file__).parents[2] / "packaging"
SERVICE: Final = PACKAGING / "systemd/aioprocket.service"
SOCKET: Final = "/run/aioprocket/broker.sock"


def _documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((PACKAGING / name).read_text()))


def _pods() -> Iterator[dict[str, Any]]:
    for name in ("kubernetes/broker.yaml", "kubernetes/client.yaml"):
        for document in _documents(name):
            assert {"apiVersion", "kind", "metadata"} <= set(document)
            if document["kind"] == "DaemonSet":
                labels = document["spec"]["template"]["metadata"]["labels"]
                assert document["spec"]["selector"]["matchLabels"] == labels
                yield document["spec"]["template"]["spec"]
            elif document["kind"] == "Pod":
                yield document["spec"]


def test_systemd_understands_the_units(helper_binary: Path, tmp_path: Path) -> None:
    installed = "/usr/local/libexec/aioprocket-helper"
    for unit in (PACKAGING / "systemd").iterdir():
        text = unit.read_text().replace(installed, str(helper_binary))
        (tmp_path / unit.name).write_text(text)
    units = [str(unit) for unit in sorted(tmp_path.iterdir())]
    command = [require("systemd-analyze"), "verify", "--man=no", *units]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_every_mount_of_a_pod_is_of_a_volume_that_it_has() -> None:
    for pod in _pods():
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_clients_have_no_capability_and_the_brokers_socket() -> None:
    *_, pod = _pods()
    [client] = pod["containers"]
    assert client["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert client["env"] == [{"name": "AIOPROCKET_HELPER", "value": f"unix:{SOCKET}"}]
    [composed] = _documents("compose/compose.yaml")
    service = composed["services"]["ping"]
    assert service["cap_drop"] == ["ALL"]
    assert service["environment"] == {"AIOPROCKET_HELPER": f"unix:{SOCKET}"}


def test_the_broker_has_the_same_capabilities_everywhere() -> None:
    pod, _ = _pods()
    [broker] = pod["containers"]
    assert set(broker["securityContext"]["capabilities"]["add"]) == set(_capabilities())


def test_no_recipe_has_a_limit_of_memory_that_one_client_could_fill_for_all() -> None:
    # What lies in the sockets that a broker has handed over is charged to it.
    assert not re.search(r"^Memory(Max|High)=", SERVICE.read_text(), re.MULTILINE)
    pod, _ = _pods()
    [broker] = pod["containers"]
    assert "limits" not in broker["resources"]


def _capabilities() -> list[str]:
    line = re.search(r"^CapabilityBoundingSet=(.*)$", SERVICE.read_text(), re.MULTILINE)
    assert line is not None
    return [name.removeprefix("CAP_") for name in line[1].split()]


@pytest.mark.netns
@pytest.mark.realroot
def test_the_policy_of_the_recipe_is_one(stage: Path, helper_binary: Path) -> None:
    from lab.policies import hide_etc, system_log

    [text] = [
        document["data"]["policy"]
        for document in _documents("kubernetes/broker.yaml")
        if document["kind"] == "ConfigMap"
    ]
    folder = stage / "recipe"
    folder.mkdir(mode=0o755)
    with hide_etc() as etc, system_log() as log:
        (etc / "policy").write_text(text)
        (etc / "policy").chmod(0o644)
        with running_broker(helper_binary, folder / "socket") as broker, broker.session():
            assert not [line for line in log.lines() if "invalid" in line]
    (folder / "socket").unlink()
    folder.rmdir()
