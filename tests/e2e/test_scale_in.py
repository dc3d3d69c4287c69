"""Agents leave under load: nothing that was begun is lost, whoever sends them away.

``SCALE_INS=200 .venv/bin/python -m pytest -s tests/e2e/test_scale_in.py`` prints the figures of docs/scaling.md.
"""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from agentpool_api import keys
from cluster.errors import ClusterError
from cluster.toolchain import tool_path
from demo.cluster_setup import RELEASE_NAMESPACE, Kubectl, example
from tests.e2e.load import Load
from tests.e2e.place import LOADED, Place, eventually, pool

SCALE_INS = int(os.environ.get("SCALE_INS", "4"))
POOL, STREAM, GROUP = "workers", "jobs", "agents"
LEAST = 2
MOST = LEAST + min(SCALE_INS, 6)
COST = "controller.kubernetes.io/pod-deletion-cost"
WORKER = (Path(__file__).parent / "worker.py").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Fleet(Place):
    """A pool whose agents answer requests and work off a queue, with the queue's Redis."""

    redis: redis.Redis

    @property
    def stream(self) -> str:
        return keys.queue(self.namespace, STREAM)

    def all_pods(self) -> list[dict[str, Any]]:
        return list(json.loads(self("get", "pods", "--output", "json"))["items"])

    def age_s(self) -> float:
        """How long the pool has been there."""
        made = self.get("agentpool", POOL)["metadata"]["creationTimestamp"]
        return (datetime.now(UTC) - datetime.fromisoformat(made)).total_seconds()  # noqa: TID251

    def resize(self, agents: int) -> None:
        self("scale", f"agentpool/{POOL}", f"--replicas={agents}")

    def wait_ready(self, agents: int, *, timeout_s: float = 180) -> None:
        eventually(f"{agents} ready agents", lambda: len(self.pods(POOL)) == agents, timeout_s)

    def load(self, **changes: Any) -> Load:
        service = self.get("service", POOL)
        port = next(port["port"] for port in service["spec"]["ports"] if port["name"] == "http")
        key = base64.b64decode(self("get", "secret", f"{POOL}-key", "--output", "jsonpath={.data.api-key}")).decode()
        # The node hears of ready agents a moment after the API server does.
        eventually("the Service to answer", lambda: is_open(service["spec"]["clusterIP"], port))
        return Load(f"http://{service['spec']['clusterIP']}:{port}/v1", key, self.redis, self.stream, **changes)

    def verdict(self, load: Load, what: str) -> None:
        """Every request whole, every stream uncut, every task done and acknowledged."""
        book = load.book

        def rest() -> int:
            (group,) = self.redis.xinfo_groups(self.stream)
            return int(group["lag"] + group["pending"])

        eventually("the queue worked off", lambda: rest() == 0, 180)
        done = self.redis.hgetall(f"{self.stream}:done")
        failed = self.redis.hgetall(f"{self.stream}:failed")
        twice = sum(int(times) > 1 for times in done.values())
        print(
            f"{what}: {book.answered} of {book.asked} requests, {book.streamed} of {book.streams} streams and "
            f"{sum(entry in done for entry in book.tasks)} of {len(book.tasks)} tasks done, {twice} done twice"
        )
        assert book.lost == []
        assert (book.answered, book.streamed) == (book.asked, book.streams)
        assert [entry for entry in book.tasks if entry not in done] == []
        assert failed == {}


@pytest.fixture(scope="module")
def fleet(kubectl: Kubectl) -> Iterator[Fleet]:
    deployment = json.loads(
        kubectl("get", "deployment", "agentpool-operator", "--namespace", RELEASE_NAMESPACE, "--output", "json")
    )
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]  # it holds a Redis client
    password = base64.b64decode(
        kubectl("get", "secret", "agentpool-redis", "-n", RELEASE_NAMESPACE, "-o", "jsonpath={.data.password}")
    ).decode()
    address = kubectl("get", "service", "agentpool-redis", "-n", RELEASE_NAMESPACE, "-o", "jsonpath={.spec.clusterIP}")
    queue = redis.Redis(address, password=password, decode_responses=True)
    fleet = Fleet(kubectl, f"test-{secrets.token_hex(3)}", queue)
    kubectl("create", "namespace", fleet.namespace)
    fleet.apply(*example("model-secret.yaml"))
    fleet.redis.xgroup_create(fleet.stream, GROUP, mkstream=True)
    fleet.apply(
        pool(
            POOL,
            minAgents=0,
            maxAgents=MOST,
            replicas=MOST,
            spot={"percent": 50},
            agent={"image": image, "command": ["python", "-c", WORKER], "concurrency": 6, "drainTimeout": "60s"},
            scaling={"queue": {"stream": STREAM, "group": GROUP}},
        )
    )
    fleet.wait_ready(MOST)
    yield fleet
    fleet.redis.close()
    kubectl("delete", "namespace", fleet.namespace, "--wait=false", "--ignore-not-found")


def victims_of(fleet: Fleet, before: set[str]) -> tuple[list[str], list[str]]:
    """Agents that were told to go, and those of them that were busier than one that stays, as the operator stamped
    them just before."""
    pods = [pod for pod in fleet.all_pods() if pod["metadata"]["name"] in before]
    leaving = [pod for pod in pods if "deletionTimestamp" in pod["metadata"]]
    wrong = []
    for victim in leaving:
        owner = victim["metadata"]["ownerReferences"][0]["uid"]
        stays = [pod for pod in pods if pod not in leaving and pod["metadata"]["ownerReferences"][0]["uid"] == owner]
        if any(cost_of(pod) < cost_of(victim) for pod in stays):
            wrong.append(f"{cost_of(victim)} in hand, others {sorted(map(cost_of, stays))}")
    return [pod["metadata"]["name"] for pod in leaving], wrong


def is_open(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


def cost_of(pod: dict[str, Any]) -> int:
    return int(pod["metadata"].get("annotations", {}).get(COST, "0"))


@pytest.mark.timeout(600 + 12 * SCALE_INS, func_only=True)
def test_random_scale_ins_under_load_lose_and_cut_nothing_and_take_idle_agents_first(fleet: Fleet) -> None:
    chance = random.Random(15)
    gone, wrong, busy = 0, [], 0
    with fleet.load() as load:
        while gone < SCALE_INS:
            fleet.resize(MOST)
            fleet.wait_ready(MOST)
            before = set(fleet.pods(POOL))
            least = max(LEAST, MOST - (SCALE_INS - gone))
            rest = min(least + chance.randint(0, 2), MOST - 1) if SCALE_INS - gone > MOST else least
            fleet.resize(rest)
            eventually("agents to leave", lambda rest=rest: len(fleet.pods(POOL, ready=False)) == rest, 120, 0.1)
            leaving, chosen_wrongly = victims_of(fleet, before)
            gone += MOST - rest
            wrong += chosen_wrongly
            busy += sum(cost_of(pod) > 0 for pod in fleet.all_pods() if pod["metadata"]["name"] in leaving)
            if SCALE_INS > 20:
                print(f"{gone} scale-ins, lost: {load.book.lost}", flush=True)
    print(f"{gone} scale-ins, {busy} of agents that were at work, {len(wrong)} of a busier agent than one that stayed")
    fleet.verdict(load, "scale-ins")
    assert wrong == []


def test_a_spot_node_that_ends_and_one_that_is_drained_lose_nothing(fleet: Fleet) -> None:
    """Half the agents get SIGTERM together, whatever the disruption budget says; the others are evicted as by
    `kubectl drain`, which tries again while the budget refuses."""
    fleet.resize(LEAST)
    fleet.wait_ready(LEAST)
    before = fleet.pods(POOL)
    half = len(before) // 2
    with fleet.load() as load:
        fleet("delete", "pod", *before[:half], "--wait=false")
        eventually("the disruption budget to know of it", lambda: not may_evict(fleet), every_s=0.1)
        refused = sum(evict(fleet, name) for name in before[half:])
        eventually("other agents", lambda: len(set(fleet.pods(POOL)) - set(before)) == LEAST, 180)
    print(f"{len(before)} agents sent away, {refused} evictions refused for a while by the disruption budget")
    fleet.verdict(load, "interruption and drain")
    assert refused > 0


def may_evict(fleet: Fleet) -> bool:
    return bool(fleet.get("poddisruptionbudget", POOL)["status"]["disruptionsAllowed"])


def evict(fleet: Fleet, name: str) -> int:
    """Evict one pod; how often it was refused."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": fleet.namespace}}
    path = f"/api/v1/namespaces/{fleet.namespace}/pods/{name}/eviction"
    refused = 0

    def is_taken() -> bool:
        nonlocal refused
        try:
            fleet.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(body))
        except ClusterError as error:
            assert "disruption budget" in str(error), error
            refused += 1
            return False
        return True

    eventually(f"the eviction of {name}", is_taken, 180, 0.5)
    return refused


def test_a_task_of_a_killed_agent_is_taken_over(fleet: Fleet) -> None:
    fleet.resize(LEAST)
    fleet.wait_ready(LEAST)
    entry = fleet.redis.xadd(fleet.stream, {"seconds": "3"})

    def holder() -> str | None:
        held = fleet.redis.xpending_range(fleet.stream, GROUP, entry, entry, 1)
        return str(held[0]["consumer"]) if held else None

    eventually("an agent to take it", holder)
    name = holder()
    with suppress(ClusterError):
        fleet("delete", "pod", str(name), "--grace-period=0", "--force")
    eventually("another to finish it", lambda: fleet.redis.hget(f"{fleet.stream}:done", entry) == "1")
    assert holder() is None


def test_one_task_wakes_the_pool_from_zero(fleet: Fleet) -> None:
    fleet.resize(0)
    eventually("no agent", lambda: not fleet.all_pods(), 180)
    fleet("patch", "agentpool", POOL, "--type=merge", '--patch={"spec":{"replicas":null,"idleTimeout":"1s"}}')
    fleet.wait("agentpool", POOL, "ScalingActive")
    eventually("the pool to rest", lambda: not fleet.all_pods(), 180)  # it was at work a moment ago
    entry = fleet.redis.xadd(fleet.stream, {"seconds": "0.5"})
    woke_s = eventually("an agent made", fleet.all_pods, 120, 0.05)
    served_s = woke_s + eventually(
        "the task done", lambda: fleet.redis.hget(f"{fleet.stream}:done", entry) == "1", 120, 0.05
    )
    print(f"one task at a pool of none: an agent made after {woke_s:.1f} s, the task done after {served_s:.1f} s")
    assert woke_s <= 3.5 * LOADED
    described = fleet("describe", "agentpool", POOL)
    assert "FirstTask" in described
    assert "queue: 1 unread" in described


@pytest.mark.timeout(300, func_only=True)
def test_a_plan_is_made_with_kubectl_from_what_the_operator_recorded(fleet: Fleet) -> None:
    def plan(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("agentpool")), "plan", "--from-pool", *arguments]
        path = f"{Path(tool_path('kubectl')).parent}:{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "KUBECONFIG": str(fleet.kubectl.kubeconfig)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)

    done = plan(POOL, "--namespace", fleet.namespace)
    while " recorded of pool" in done.stderr and fleet.age_s() < 240:  # run by itself: two minutes must be full first
        time.sleep(5)
        done = plan(POOL, "--namespace", fleet.namespace)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert f"{POOL}: 0 to {MOST} agents of 6 tasks" in done.stdout
    assert "Forecast (this pool)" in done.stdout
    unknown = plan("nobody", "--namespace", fleet.namespace)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1), unknown.stderr
    assert "not found" in unknown.stderr
