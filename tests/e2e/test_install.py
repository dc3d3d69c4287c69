"""The release on a real node: its own test passes, and an upgrade changes what it should and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

from cluster.paths import REPO
from cluster.toolchain import tool_path
from demo.cluster_setup import RELEASE, RELEASE_NAMESPACE, Kubectl, run
from tests.e2e.place import Place, eventually, pool


def helm(kubectl: Kubectl, *arguments: str) -> str:
    return run([tool_path("helm"), *arguments, "--namespace", RELEASE_NAMESPACE], kubectl.kubeconfig)


def test_the_releases_own_test_passes(kubectl: Kubectl) -> None:
    assert "Phase:          Succeeded" in helm(kubectl, "test", RELEASE, "--timeout", "180s")
    pods = kubectl("get", "pods", "--namespace", RELEASE_NAMESPACE, "--output", "name")
    assert "test" not in pods, "what passed leaves nothing behind"


def test_an_upgrade_brings_new_definitions_and_keeps_pools_and_redis(place: Place, tmp_path: Path) -> None:
    place.apply(pool(minAgents=1))
    place.wait("agentpool", "assistants", "Ready")
    before = place.pods()
    redis = place.kubectl("get", "pods", "--namespace", RELEASE_NAMESPACE, "--output", "name")
    newer = tmp_path / "agentpool"
    shutil.copytree(REPO / "charts" / "agentpool", newer)
    file = newer / "files" / "crds" / "agentpools.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("- ap\n", "- ap\n    - pool\n"), encoding="utf-8")
    chart = newer / "Chart.yaml"
    chart.write_text(chart.read_text(encoding="utf-8").replace("version: 0.1.0", "version: 0.1.1", 1), encoding="utf-8")
    helm(place.kubectl, "upgrade", RELEASE, str(newer), "--reuse-values", "--set", "operator.logLevel=debug", "--wait")
    eventually("the new short name", lambda: "pool" in place.kubectl("api-resources", "--api-group=agentpool.dev"))
    place.wait("agentpool", "assistants", "Ready")
    assert place.pods() == before
    now = place.kubectl("get", "pods", "--namespace", RELEASE_NAMESPACE, "--output", "name")
    assert [name for name in redis.split() if "redis" in name] == [name for name in now.split() if "redis" in name]
