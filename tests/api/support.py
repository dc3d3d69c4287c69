"""A real API server with an audit log, a real Redis, and the operator as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
import yaml

from cluster import processes
from cluster.components import control_plane as component_commands
from cluster.controlplane import ControlPlane
from cluster.toolchain import tool_path
from tests.abandoned import RUN as RUN_BY
from tests.abandoned import redis_command
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "agentpool"
POOLS = "/apis/agentpool.dev/v1alpha1/namespaces/{}/agentpools"
BUDGETS = "/apis/agentpool.dev/v1alpha1/namespaces/{}/costbudgets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
CORE = "/api/v1/namespaces/{}"

PASSES = 'agentpool_operator_pass_seconds_count{kind="AgentPool"}'
WRITES = "agentpool_operator_api_writes_total"

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}

Object = dict[str, Any]

PATIENCE_S = 90.0
"""How long a test waits for what takes a second or two on a machine with nothing else to do."""
LOADED = 10.0
"""By how much a busy machine may miss the goals of a quiet one, which docs/benchmarks.md states."""


def until(
    condition: Callable[[], Any], what: str, deadline_s: float = PATIENCE_S, *, seen: Callable[[], Any] = lambda: ""
) -> Any:
    """The first true answer. Fails with ``what`` was waited for, the last answer, and what is ``seen`` then."""
    end = time.monotonic() + deadline_s
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited {deadline_s:g} s for {what}; last: {answer!r} {seen()}"
        time.sleep(0.1)


def rest(operator: Operator, quiet_s: float = 3.0) -> None:
    """Wait until the operator has written nothing for a while."""

    def is_quiet() -> bool:
        before = operator.metric(WRITES)
        time.sleep(quiet_s)
        return operator.metric(WRITES) == before

    until(is_quiet, "the operator to rest")


def watch(operator: Operator, seconds: float, passes: int) -> None:
    """Wait so long, and until the operator has looked at its pools so many times."""
    end, before = time.monotonic() + seconds, operator.metric(PASSES)
    until(
        lambda: time.monotonic() >= end and operator.metric(PASSES) - before >= passes,
        f"{passes} passes",
        seconds + PATIENCE_S,
    )


def now_s() -> float:
    """Unix seconds."""
    return time.time()  # noqa: TID251 - the fake agents' clock


class AuditedControlPlane(ControlPlane):
    """A control plane that writes down every request of a service account."""

    @property
    def audit_log(self) -> Path:
        return self.state / "audit.log"

    def _spawn(self, component: str) -> None:
        has_controllers = "kube-controller-manager" in self._components
        argv = component_commands(self.state, self.ports, self.host, service_accounts=has_controllers)[component]
        if component == "kube-apiserver":
            policy = self.state / "audit.yaml"
            policy.write_text(yaml.safe_dump(AUDIT_POLICY))
            argv += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-mode=blocking"]
            argv += ["--audit-log-maxsize=2000"]  # MB, before it would begin anew
        if component == "kube-controller-manager":
            argv.append("--horizontal-pod-autoscaler-sync-period=2s")
        processes.spawn(self.state, component, argv)


class Cluster:
    """What a test does to the cluster, as its administrator."""

    def __init__(self, plane: AuditedControlPlane) -> None:
        self.plane = plane
        self._audited: dict[str, list[Object]] = defaultdict(list)
        self._audit_bytes = 0

    def get(self, path: str) -> Object | None:
        """The object; None when it is not there. A server that is too busy to say is asked again."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                status, answer = self.plane.api.call("GET", path)
            except (OSError, http.client.HTTPException) as error:
                status, answer = 0, error
            if status in (200, 404):
                return dict(answer) if status == 200 else None
            assert time.monotonic() < end, f"{path}: {status} {answer}"
            time.sleep(0.2)

    def items(self, path: str) -> list[Object]:
        found = self.get(path)
        return list(found["items"]) if found else []

    def apply(self, path: str, body: Object) -> tuple[int, Object]:
        name = body["metadata"]["name"]
        query = "fieldManager=test&force=true"
        return self.plane.api.call("PATCH", f"{path}/{name}?{query}", body, "application/apply-patch+yaml")

    def patch(self, path: str, patch: Object) -> Object:
        status, answer = self.plane.api.call("PATCH", path, patch, "application/merge-patch+json")
        assert status == 200, answer
        return dict(answer)

    def delete(self, path: str) -> None:
        status, answer = self.plane.api.call("DELETE", path)
        assert status in (200, 202, 404), answer

    def create(self, path: str, body: Object) -> tuple[int, Object]:
        return self.plane.api.call("POST", path, body)

    def requests(self, user: str) -> list[Object]:
        """Audited requests of a service account, ``namespace:name``."""
        if self.plane.audit_log.exists():
            with self.plane.audit_log.open("rb") as log:  # goes on from where it was read to: it grows to 100 MB
                log.seek(self._audit_bytes)
                for line in log:
                    if line.endswith(b"\n"):  # the last one may be half written
                        self._audit_bytes += len(line)
                        entry = json.loads(line)
                        self._audited[entry["user"]["username"]].append(entry)
        return list(self._audited[f"system:serviceaccount:{user}"])

    def writes(self, user: str) -> list[str]:
        """Writes of a service account but those of its Lease, as ``verb resource/subresource name``."""
        return [
            f"{entry['verb']} {resource_of(entry)} {entry['objectRef'].get('name', '')}"
            for entry in self.requests(user)
            if entry["verb"] not in ("get", "list", "watch") and entry["objectRef"]["resource"] != "leases"
        ]


def resource_of(entry: Object) -> str:
    """Resource of an audited request, with its subresource."""
    reference = entry["objectRef"]
    return "/".join(filter(None, (reference["resource"], reference.get("subresource"))))


def condition(body: Object | None, type_: str) -> tuple[str, str] | None:
    """Status and reason of a condition; None while there is none."""
    for found in ((body or {}).get("status") or {}).get("conditions") or []:
        if found["type"] == type_:
            return found["status"], found["reason"]
    return None


class Redis:
    """One redis-server process that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        argv = redis_command(self.port)
        self._process = subprocess.Popen(argv, cwd=self._folder, stdout=subprocess.DEVNULL)
        self.client = redis.Redis(port=self.port, decode_responses=True)

        def answers() -> bool:
            with suppress(redis.RedisError):
                return bool(self.client.ping())
            return False

        until(answers, "redis-server")

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.client.close()
        with suppress(ProcessLookupError):
            self.thaw()
        self.kill()


class Agents:
    """Reports in the place of the pods kwok pretends to run: once a second, for every pod of the namespace."""

    def __init__(self, cluster: Cluster, server: Redis, namespace: str) -> None:
        self._cluster, self._redis, self._namespace = cluster, server, namespace
        self.in_flight = 0
        self.in_flight_of: dict[str, int] = {}
        """Of single pods; the others have `in_flight`."""
        self.extra: Object = {}
        self.ahead_s = 0.0
        """How far their clocks are ahead of ours."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            with suppress(redis.RedisError, OSError):
                self.beat()

    def beat(self) -> None:
        for pod in self._cluster.items(f"{CORE.format(self._namespace)}/pods"):
            metadata = pod["metadata"]
            report = {
                "pod": metadata["name"],
                "uid": metadata["uid"],
                "at_s": now_s() + self.ahead_s,
                "started_s": 1.0,
                "capacity": 4,
                "in_flight": self.in_flight_of.get(metadata["name"], self.in_flight),
                "queued": 0,
                "arrivals_total": 0,
                "completed_total": 0,
                "service_seconds_total": 0.0,
                "wait_seconds_total": 0.0,
                "last_activity_s": now_s(),
            } | self.extra
            pool = metadata["labels"]["agentpool.dev/pool"]
            key = f"agentpool:{{{self._namespace}}}:heartbeats:{pool}"
            self._redis.client.hset(key, metadata["name"], json.dumps(report))


RUN = """
import pathlib, runpy, sys, time
sys.modules["kubernetes"] = None  # installed for the tests only; with it kopf would take 80 MB more
real, ahead = time.time, pathlib.Path(sys.argv[1])
time.time = lambda: real() + float(ahead.read_text() or 0) if ahead.exists() else real()
runpy.run_module("agentpool_operator", run_name="__main__")
"""


class Clock:
    """The wall clock of the operators of a test."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self._ahead_s = 0.0

    def step_s(self, seconds: float) -> None:
        """Move it, at once."""
        self._ahead_s += seconds
        new = self.file.with_suffix(".new")
        new.write_text(str(self._ahead_s))
        new.rename(self.file)


DOCKERFILE = ROOT / "operator" / "Dockerfile"
IMAGE_ENVIRONMENT = dict(re.findall(r"(MALLOC_\w+)=(\w+)", DOCKERFILE.read_text(encoding="utf-8")))
"""What the image says of memory: tests measure what is deployed."""


class Operator:
    """The operator as a process, as a service account with the rights of the chart and no others."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.port = free_port()
        self._log = folder / f"operator-{self.port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(Clock(folder).file)],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}",
                    RUN_BY: os.environ[RUN_BY],
                    **IMAGE_ENVIRONMENT,
                    **environment,
                    "AGENTPOOL_HTTP_PORT": str(self.port),
                },
                cwd=ROOT / "operator",
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def http(self, path: str) -> tuple[int, str]:
        """Status and text; 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def role(self) -> str:
        status, text = self.http("/readyz")
        return text.strip() if status == 200 else ""

    def metric(self, name: str) -> float:
        """Sum of the series whose line begins with ``name``."""
        status, text = self.http("/metrics")
        assert status == 200, f"the operator does not serve its metrics: {self.log[-2000:]}"
        lines = text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def rss_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kilobytes,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
        return int(kilobytes) * 1024

    def terminate(self, deadline_s: float = PATIENCE_S) -> int:
        self.process.terminate()
        return self.process.wait(deadline_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def chart_rights(release: str, namespace: str, *, cluster_wide: bool) -> Iterator[Object]:
    """The service account and roles of the chart, as it renders them."""
    watched = [] if cluster_wide else [f"--set=watchNamespaces={{{namespace}}}"]
    shown = ["--show-only=templates/serviceaccount.yaml", "--show-only=templates/rbac.yaml"]
    argv = [str(tool_path("helm")), "template", release, str(CHART), f"--namespace={namespace}", *watched, *shown]
    text = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    yield from (body for body in yaml.safe_load_all(text) if body)


def apply_rights(cluster: Cluster, bodies: list[Object]) -> str:
    """Apply them; returns the name of the service account."""
    paths = {
        "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
        "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
        "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
        "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    }
    for body in bodies:
        path = paths[body["kind"]].format(body["metadata"].get("namespace", ""))
        status, answer = cluster.apply(path, body)
        assert status in (200, 201), answer
    (account,) = [
        body["metadata"]["name"] for body in bodies if body["kind"] == "ServiceAccount" and _is_operator(body)
    ]
    return str(account)


def _is_operator(body: Object) -> bool:
    return body["metadata"]["labels"].get("app.kubernetes.io/component") == "operator"


def kubeconfig_of(cluster: Cluster, namespace: str, account: str, folder: Path) -> Path:
    """Credentials of a service account, by a token of the API server's."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    status, answer = cluster.create(path, body)
    assert status == 201, answer
    admin = yaml.safe_load(cluster.plane.kubeconfig.read_text())
    user = admin["contexts"][0]["context"]["user"]
    admin["users"] = [{"name": user, "user": {"token": answer["status"]["token"]}}]
    file = folder / f"{account}.kubeconfig"
    file.write_text(yaml.safe_dump(admin))
    return file
