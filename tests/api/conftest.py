"""One control plane for all, one namespace, one Redis and one operator for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cluster.controlplane import ControlPlane
from cluster.paths import state_dir
from tests.api.faults import FaultyApi
from tests.api.pools import Pool
from tests.api.support import (
    ROOT,
    Agents,
    AuditedControlPlane,
    Clock,
    Cluster,
    Operator,
    Redis,
    apply_rights,
    chart_rights,
    condition,
    kubeconfig_of,
    until,
)

_numbers = itertools.count()
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RELEASE = "agentpool"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker has one left when the others are through."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def stop_abandoned() -> None:
    """End what runs that were killed have left: each names its folder after its process."""
    home = state_dir("test-api")
    for folder in home.parent.glob(f"{home.name}-*[0-9]"):
        if not Path(f"/proc/{folder.name.rpartition('-')[2]}").exists():
            ControlPlane(folder).stop()


@pytest.fixture(scope="session")
def plane() -> Iterator[AuditedControlPlane]:
    stop_abandoned()
    plane = AuditedControlPlane(state_dir(f"test-api-{os.getpid()}"), fake_nodes=3)
    plane.start()
    try:
        cluster = Cluster(plane)
        for file in sorted((ROOT / "crds").glob("*.yaml")):
            crd = yaml.safe_load(file.read_text())
            status, answer = cluster.apply(CRDS, crd)
            assert status in (200, 201), answer
            path = f"{CRDS}/{crd['metadata']['name']}"
            until(lambda path=path: condition(cluster.get(path), "Established"), f"{path} to be served")
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def cluster(plane: AuditedControlPlane) -> Cluster:
    return Cluster(plane)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"test-{next(_numbers)}"
    status, answer = cluster.create("/api/v1/namespaces", {"metadata": {"name": name}})
    assert status == 201, answer
    until(lambda: cluster.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), "the default account")
    yield name
    cluster.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.close()


@pytest.fixture
def agents(cluster: Cluster, redis_server: Redis, namespace: str) -> Iterator[Agents]:
    found = Agents(cluster, redis_server, namespace)
    yield found
    found.close()


@pytest.fixture
def user(namespace: str) -> str:
    """The operator's service account as the audit log names it."""
    return f"{namespace}:{RELEASE}-operator"


@pytest.fixture
def faulty(plane: AuditedControlPlane) -> Iterator[FaultyApi]:
    """A way to the API server that can be told to misbehave."""
    found = FaultyApi(plane)
    yield found
    found.close()


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


Start = Callable[..., Operator]


@pytest.fixture
def account(cluster: Cluster, namespace: str) -> str:
    """The operator's service account, with the chart's rights and no others."""
    return apply_rights(cluster, list(chart_rights(RELEASE, namespace, cluster_wide=False)))


@pytest.fixture
def kubeconfig(cluster: Cluster, namespace: str, account: str, tmp_path: Path) -> Path:
    return kubeconfig_of(cluster, namespace, account, tmp_path)


@pytest.fixture
def start(redis_server: Redis, namespace: str, account: str, kubeconfig: Path, tmp_path: Path) -> Iterator[Start]:
    """Start an operator for the test's namespace, with the chart's rights and no others."""
    started: list[Operator] = []

    def start(*, wait: bool = True, **environment: str) -> Operator:
        base = {
            "KUBECONFIG": str(kubeconfig),
            "AGENTPOOL_NAMESPACE": namespace,
            "AGENTPOOL_NAMESPACES": namespace,
            "AGENTPOOL_LEASE_NAME": account,
            "AGENTPOOL_RUNTIME_IMAGE": "runtime:1",
            "AGENTPOOL_REDIS_URL": redis_server.url,
            "AGENTPOOL_LOG_FORMAT": "text",
        }
        operator = Operator(base | environment, tmp_path)
        started.append(operator)
        if wait:
            until(lambda: operator.role() == "leader", "the operator to lead", seen=lambda: operator.log)
        return operator

    yield start
    for operator in started:
        operator.close()
        print(operator.log[-5000:])
    for operator in started:
        assert "Traceback" not in operator.log, operator.log


@pytest.fixture
def operator(start: Start) -> Operator:
    return start()


@pytest.fixture
def pool(cluster: Cluster, namespace: str) -> Pool:
    return Pool(cluster, namespace)
