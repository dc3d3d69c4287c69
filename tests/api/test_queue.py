"""A pool that follows a Redis Stream, on a real API server and a real Redis."""

from __future__ import annotations

import time

import pytest

from agentpool_api import keys
from tests.api.pools import Pool
from tests.api.support import LOADED, PASSES, Agents, Operator, Redis, until, watch

SPEC = {
    "minAgents": 0,
    "warmAgents": 0,
    "idleTimeout": "1s",
    "spot": {"percent": 0},
    "agent": {"image": "mine:1", "concurrency": 1},
    "scaling": {"queue": {"stream": "jobs", "group": "agents"}},
}


@pytest.fixture
def key(namespace: str) -> str:
    return keys.queue(namespace, "jobs")


def test_one_task_wakes_a_pool_at_zero_within_seconds_and_done_it_rests_again(
    operator: Operator, pool: Pool, redis_server: Redis, key: str, agents: Agents
):
    agents.extra = {"last_activity_s": None}
    redis_server.client.xgroup_create(key, "agents", mkstream=True)
    pool.apply(**SPEC, replicas=0).wait_replicas(0, 0)
    pool.apply(**SPEC)
    pool.wait_condition("QueueAvailable", "True", "QueueRead")
    pool.wait_condition("ScalingActive", "True", "PolicyActive")
    until(lambda: pool.replicas() == (0, 0), "the rest of a pool without work", seen=lambda: pool.status)
    began = time.monotonic()
    entry = redis_server.client.xadd(key, {"task": "one"})
    until(lambda: pool.replicas() == (1, 0), "an agent", seen=lambda: pool.status)
    woke_s = time.monotonic() - began
    print(f"one task to a size of 1: {woke_s:.2f} s")
    assert woke_s < 3 * LOADED
    # The status follows what was done.
    until(lambda: pool.status["decisions"][0]["reason"] == "FirstTask", "its reason", seen=lambda: pool.status)
    decision = pool.status["decisions"][0]
    assert "queue: 1 unread, 0 pending" in decision["inputs"]
    until(lambda: pool.status["queue"]["key"] == key, "the queue in the status")
    assert operator.metric("agentpool_pool_queue_lag") == 1
    redis_server.client.xreadgroup("agents", "pod-1", {key: ">"})
    until(lambda: operator.metric("agentpool_pool_queue_pending") == 1, "the task in work")
    watch(operator, 3, 1)
    assert pool.replicas() == (1, 0), "a task in work keeps its agent, however long it takes"
    redis_server.client.xack(key, "agents", entry)
    until(lambda: pool.replicas() == (0, 0), "rest again", seen=lambda: pool.status)


def test_a_queue_that_is_not_there_or_no_stream_says_so_and_moves_nothing(
    operator: Operator, pool: Pool, redis_server: Redis, key: str
):
    pool.apply(**SPEC)
    pool.wait_condition("QueueAvailable", "False", "StreamMissing")
    redis_server.client.xadd(key, {"task": "one"})
    pool.wait_condition("QueueAvailable", "False", "GroupMissing")
    redis_server.client.delete(key)
    redis_server.client.set(key, "no stream")
    pool.wait_condition("QueueAvailable", "False", "NotAStream")
    assert any(event["reason"] == "NotAStream" for event in until(pool.events, "events"))
    assert {decision["toAgents"] for decision in pool.status["decisions"]} <= {0, 1}, "the one a new pool begins with"


@pytest.mark.parametrize(
    ("queue", "word"),
    [
        ({"stream": "a:b", "group": "g"}, "spec.scaling.queue.stream"),
        ({"stream": "{other}", "group": "g"}, "spec.scaling.queue.stream"),
        ({"stream": "jobs"}, "spec.scaling.queue.group"),
        ({"stream": "jobs", "group": "two words"}, "spec.scaling.queue.group"),
    ],
)
def test_a_name_that_could_leave_the_namespace_is_refused(pool: Pool, queue: dict[str, str], word: str):
    body = {"apiVersion": "agentpool.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": "p"}}
    spec = {"agent": {"image": "mine:1"}, "scaling": {"queue": queue}}
    status, answer = pool.cluster.apply(pool.folder, body | {"spec": spec})
    assert status == 422
    assert word in answer["message"]


def test_passes_between_two_readings_do_not_decide_again(start, pool: Pool, agents: Agents):
    """A pool that starts has a dozen events in a second, but no new figures."""
    operator = start(AGENTPOOL_PERIOD="60s")
    pool.apply(warmAgents=3, minAgents=1).wait_ready()
    until(lambda: operator.metric(PASSES) >= 2, "more passes than readings")
    time.sleep(2)
    assert len(pool.status["decisions"]) == 1
