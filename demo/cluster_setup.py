"""How does a machine get to a cluster that runs agentpool, a pool and a model endpoint? Each step can be repeated."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.errors import ClusterError
from cluster.images import Built
from cluster.kind import has_kind, kind_up
from cluster.load import build_and_load
from cluster.node import Node
from cluster.paths import REPO, state_dir
from cluster.progress import step
from cluster.toolchain import install_tools, tool_path

CLUSTER = "demo"
RELEASE = "agentpool"
RELEASE_NAMESPACE = "agentpool-system"
POOL = "assistants"
BUDGET = "support"
DEMO_LABEL = "agentpool.dev/demo"
SIMULATED_MODEL = "simulated-model"
KIND_ENTRY_PORT = 30080
"""NodePort that kind maps to the host; see cluster/kind.py."""

_WAIT_S = 300


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model endpoint of the user's in place of the simulation: MODEL_ENDPOINT, MODEL_NAME, MODEL_API_KEY."""

    url: str
    model: str | None
    api_key: str

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> Endpoint | None:
        """None: use the simulation. Raises ClusterError when a part is missing."""
        url = environ.get("MODEL_ENDPOINT")
        if not url:
            return None
        if not url.startswith(("http://", "https://")):
            raise ClusterError(f"MODEL_ENDPOINT is {url!r}; write it like https://models.example.com/v1")
        if not environ.get("MODEL_API_KEY"):
            raise ClusterError("MODEL_ENDPOINT needs its key: set MODEL_API_KEY too")
        return Endpoint(url, environ.get("MODEL_NAME"), environ["MODEL_API_KEY"])


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl for one cluster."""

    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard output. Raises ClusterError with kubectl's words."""
        return run([tool_path("kubectl"), *arguments], self.kubeconfig, stdin)

    def apply(self, namespace: str, *manifests: Mapping[str, Any]) -> None:
        self("apply", "--namespace", namespace, "--filename", "-", stdin=yaml.safe_dump_all(manifests))


def run(command: list[str], kubeconfig: Path, stdin: str | None = None) -> str:
    """Standard output of a tool. Raises ClusterError with its last words."""
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        check=False,
    )
    if done.returncode:
        name = Path(command[0]).name
        raise ClusterError(f"{name} {command[1]} failed: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def bring_up_cluster(name: str) -> tuple[Kubectl, list[Built]]:
    """A cluster, and the images in it; what is there already is kept."""
    state = state_dir(name)
    if has_kind():
        kind_up(name, state / "kubeconfig")
    else:
        install_tools()
        Node(state).up()
    return Kubectl(state / "kubeconfig"), build_and_load(name, state)


def install_release(kubectl: Kubectl, images: Iterable[Built]) -> None:
    """helm upgrade --install, and wait until the operator and Redis are ready."""
    values = []
    for image in images:
        part = image.name.removeprefix("agentpool-")
        repository, tag = image.reference.rsplit(":", 1)
        values += ["--set", f"images.{part}.repository={repository},images.{part}.tag={tag}"]
    chart = str(REPO / "charts" / "agentpool")
    with step("helm upgrade --install"):
        run(
            [
                *(tool_path("helm"), "upgrade", "--install", RELEASE, chart),
                *("--namespace", RELEASE_NAMESPACE, "--create-namespace", "--wait", "--timeout", f"{_WAIT_S}s"),
                *values,
            ],
            kubectl.kubeconfig,
        )


def apply_examples(kubectl: Kubectl, namespace: str, endpoint: Endpoint | None, speed: float) -> None:
    """The examples in a namespace of their own, and the simulated endpoint unless there is a real one.

    Earlier runs' namespaces go: their spend would count as today's.
    """
    kubectl("delete", "namespace", "--selector", DEMO_LABEL, "--wait=false", "--ignore-not-found")
    labels = {DEMO_LABEL: "true"}
    kubectl.apply(
        namespace, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    )
    if endpoint is None:
        with step("simulated model endpoint"):
            kubectl.apply(namespace, *example("model-secret.yaml"), *simulation(kubectl, speed))
            wait = f"--timeout={_WAIT_S}s"
            kubectl("rollout", "status", f"deployment/{SIMULATED_MODEL}", "--namespace", namespace, wait)
    with step("AgentPool and CostBudget of examples/"):
        pool = example("agentpool.yaml")
        secrets = example("model-secret.yaml")
        if endpoint is not None:
            model = pool[0]["spec"]["runtime"]["models"][0]
            model["endpoint"] = endpoint.url
            model["upstreamModel"] = endpoint.model or model["name"]
            secrets[0]["stringData"]["api-key"] = endpoint.api_key
        kubectl.apply(namespace, *secrets, *example("costbudget.yaml"), *pool)
        kubectl(
            *("wait", f"agentpool/{POOL}", "--for=condition=Ready", "--namespace", namespace),
            f"--timeout={_WAIT_S}s",
        )


def example(name: str) -> list[dict[str, Any]]:
    """Manifests of a file in examples/."""
    return list(yaml.safe_load_all((REPO / "examples" / name).read_text(encoding="utf-8")))


def simulation(kubectl: Kubectl, speed: float) -> list[dict[str, Any]]:
    """The simulated endpoint: the runtime image's Python with demo/simulated_endpoint.py from a ConfigMap."""
    operator = json.loads(
        kubectl("get", "deployment", f"{RELEASE}-operator", "--namespace", RELEASE_NAMESPACE, "--output", "json")
    )
    environment = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    image = next(entry["value"] for entry in environment if entry["name"] == "AGENTPOOL_RUNTIME_IMAGE")
    script = (REPO / "demo" / "simulated_endpoint.py").read_text(encoding="utf-8")
    text = (REPO / "demo" / "simulated_endpoint.yaml").read_text(encoding="utf-8")
    config, deployment, service = yaml.safe_load_all(text)
    config["data"] = {"simulated_endpoint.py": script}
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["image"] = image
    container["env"].append({"name": "SPEED", "value": str(speed)})
    return [config, deployment, service]


def entry_url(kubectl: Kubectl, namespace: str) -> str:
    """Base URL of the pool's Service as the host reaches it.

    A local node's Service addresses are the host's own. kind's are not: there a NodePort that it maps to the host
    leads to the same pods. (A port-forward would lead to a single one.)
    """
    service = json.loads(kubectl("get", "service", POOL, "--namespace", namespace, "--output", "json"))
    port = next(port for port in service["spec"]["ports"] if port["name"] == "http")
    if not has_kind():
        return f"http://{service['spec']['clusterIP']}:{port['port']}/v1"
    ports = [{"name": "http", "port": port["port"], "targetPort": port["targetPort"], "nodePort": KIND_ENTRY_PORT}]
    kubectl.apply(
        namespace,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"{POOL}-entry"},
            "spec": {"type": "NodePort", "selector": service["spec"]["selector"], "ports": ports},
        },
    )
    return f"http://127.0.0.1:{KIND_ENTRY_PORT}/v1"


def pool_key(kubectl: Kubectl, namespace: str) -> str:
    """The key that the operator made for the pool's callers."""
    encoded = kubectl(
        *("get", "secret", f"{POOL}-key", "--namespace", namespace, "--output", "jsonpath={.data.api-key}")
    )
    return base64.b64decode(encoded).decode()
