"""What differs where Docker and kind are: kind makes the node, and knows best how to."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from cluster.errors import ClusterError
from cluster.images import Built, has_docker
from cluster.progress import step

_ENTRY_PORT = 30080  # a Service of this NodePort is reached at 127.0.0.1, past kind's container
_CONFIG = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "nodes": [
        {
            "role": "control-plane",
            "extraPortMappings": [
                {"containerPort": _ENTRY_PORT, "hostPort": _ENTRY_PORT, "listenAddress": "127.0.0.1"}
            ],
        }
    ],
}


def has_kind() -> bool:
    return shutil.which("kind") is not None and has_docker()


def kind_up(name: str, kubeconfig: Path) -> None:
    """Return when the node is Ready; a cluster of this name that exists is left as it is."""
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    if name in _kind("get", "clusters").split():
        _kind("export", "kubeconfig", "--name", name, "--kubeconfig", str(kubeconfig))
        return
    with step("kind create cluster"):
        named = ("--name", name, "--kubeconfig", str(kubeconfig))
        _kind("create", "cluster", *named, "--wait", "180s", "--config", "-", told=json.dumps(_CONFIG))


def kind_down(name: str) -> None:
    _kind("delete", "cluster", "--name", name)


def kind_load(name: str, images: Iterable[Built]) -> None:
    """Under their digest tag and as `:dev`."""
    for image in images:
        with step(f"load {image.name}"):
            _kind("load", "docker-image", "--name", name, image.reference, f"{image.name}:dev")


def _kind(*argv: str, told: str = "") -> str:
    done = subprocess.run(["kind", *argv], input=told, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"kind {' '.join(argv[:2])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
