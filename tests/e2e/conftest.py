"""One real node, one release of the chart and one simulated model endpoint for the whole session."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from cluster.errors import ClusterError
from cluster.kind import has_kind, kind_down
from cluster.node import Node
from cluster.paths import state_dir
from demo.cluster_setup import Kubectl, bring_up_cluster, example, install_release, simulation
from tests.e2e.place import MODELS, Place

CLUSTER = "e2e"
SPEED = 10.0
"""The simulated endpoint answers so many times faster than a model would."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bringing the node up is not part of a test's time."""
    for item in items:
        if item.path.parent.name == "e2e":
            item.add_marker(pytest.mark.timeout(600, func_only=True))


@pytest.fixture(scope="session")
def kubectl() -> Iterator[Kubectl]:
    """kubectl of a node that runs the release and, in a namespace of its own, the simulated endpoint."""
    take_down()  # what a killed run may have left
    try:
        kubectl, images = bring_up_cluster(CLUSTER)
        install_release(kubectl, images)
        kubectl.apply(MODELS, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MODELS}})
        kubectl.apply(MODELS, *example("model-secret.yaml"), *simulation(kubectl, SPEED))
        kubectl("rollout", "status", "deployment/simulated-model", "--namespace", MODELS, "--timeout=180s")
        yield kubectl
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)
    finally:
        take_down()


def take_down() -> None:
    """Remove the session's cluster; fine when there is none."""
    if has_kind():
        kind_down(CLUSTER)
    Node(state_dir(CLUSTER)).down()


@pytest.fixture
def place(kubectl: Kubectl) -> Iterator[Place]:
    """A namespace of the test's own, with the Secret of the model endpoint."""
    place = Place(kubectl, f"test-{secrets.token_hex(3)}")
    kubectl("create", "namespace", place.namespace)
    place.apply(*example("model-secret.yaml"))
    yield place
    kubectl("delete", "namespace", place.namespace, "--wait=false", "--ignore-not-found")
