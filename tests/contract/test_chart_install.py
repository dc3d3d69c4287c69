"""A real API server takes the chart: every object, by install, upgrade and uninstall. Nothing runs here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.controlplane import ControlPlane
from cluster.toolchain import tool_path

CHART = Path(__file__).parents[2] / "charts" / "agentpool"
NAMESPACE = "agentpool-system"
RELEASE = ("agentpool", "--namespace", NAMESPACE)


class Tools:
    """helm and kubectl against one control plane."""

    def __init__(self, kubeconfig: Path) -> None:
        self._environment = os.environ | {"KUBECONFIG": str(kubeconfig)}

    def helm(self, *arguments: str) -> str:
        return self._run("helm", *arguments)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self._run("kubectl", *arguments, stdin=stdin)

    def _run(self, tool: str, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [tool_path(tool), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=200,
            env=self._environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    with ControlPlane(tmp_path_factory.mktemp("chart") / "state", controllers=False) as plane:
        yield Tools(plane.kubeconfig)


@pytest.fixture
def release(tools: Tools) -> Iterator[Tools]:
    tools.helm("install", *RELEASE, str(CHART), "--create-namespace")
    yield tools
    tools.helm("uninstall", *RELEASE, "--ignore-not-found")


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="defaults"),
        pytest.param(["watchNamespaces={default,kube-public}", "rbac.aggregate=false"], id="named namespaces"),
        pytest.param(["redis.url=rediss://r:1/0", "redis.caSecret.name=ca", "operator.replicas=2"], id="own Redis"),
        pytest.param(["redis.persistence.enabled=true", "images.pullSecrets={regcred}"], id="volume"),
    ],
)
def test_the_api_server_accepts_every_object(release: Tools, values: list[str]) -> None:
    settings = [part for value in values for part in ("--set", value)]
    rendered = release.helm("template", *RELEASE, str(CHART), "--kube-version", "1.34.4", *settings)
    release.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", stdin=rendered)


def test_the_password_of_redis_outlives_an_upgrade(release: Tools) -> None:
    query = ("get", "secret", "agentpool-redis", "--namespace", NAMESPACE, "--output", "jsonpath={.data.password}")
    before = release.kubectl(*query)
    release.helm("upgrade", *RELEASE, str(CHART), "--set", "operator.logLevel=debug")
    assert len(before) >= 32
    assert release.kubectl(*query) == before


def test_an_upgrade_brings_the_resource_definitions_of_its_chart(release: Tools, tmp_path: Path) -> None:
    newer = tmp_path / "agentpool"
    shutil.copytree(CHART, newer)
    file = newer / "files" / "crds" / "costbudgets.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("- cb\n", "- cb\n    - budget\n"), encoding="utf-8")
    release.helm("upgrade", *RELEASE, str(newer))
    query = ("get", "crd", "costbudgets.agentpool.dev", "--output", "jsonpath={.spec.names.shortNames}")
    assert release.kubectl(*query) == '["cb","budget"]'


def test_uninstalling_leaves_the_resource_definitions_and_a_new_install_takes_them_back(release: Tools) -> None:
    release.helm("uninstall", *RELEASE)
    assert "agentpools.agentpool.dev" in release.kubectl("get", "crd", "--output", "name")
    assert release.kubectl("get", "deployments,services,secrets", "--namespace", NAMESPACE, "--output", "name") == ""
    release.helm("install", *RELEASE, str(CHART))


def test_uninstalling_takes_the_resource_definitions_when_they_shall_not_be_kept(release: Tools) -> None:
    release.helm("upgrade", *RELEASE, str(CHART), "--set", "crds.keep=false")
    release.helm("uninstall", *RELEASE, "--wait")  # the API server clears away a definition's objects before it
    assert "agentpool.dev" not in release.kubectl("get", "crd", "--output", "name")
