"""Many pools under load: how fast is a change applied, what does a restart cost, and what does it all take?

``POOLS=1000`` is the size the operator is made for, twenty the small default. For ``STEADY_S`` nothing may be
written.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from agentpool_api import keys
from agentpool_operator.decide.history import MINUTES, RECENT_S, History, to_bytes
from tests.api.fleet import Fleet
from tests.api.pools import Pool
from tests.api.support import LOADED, Cluster, Object, Operator, Redis, condition, now_s, resource_of, until
from tests.api.support import POOLS as POOLS_PATH

POOLS = int(os.environ.get("POOLS", "20"))
STEADY_S = float(os.environ.get("STEADY_S", "8"))
AGENTS = 5
CHANGES = min(POOLS // 2, 300)
CHANGES_PER_S = 5
MISSED = min(POOLS // 10, 50)
"""Pools changed while the operator is away."""
LARGE = POOLS > 50
MEMORY_BYTES = (300 if LARGE else 150) * 2**20
APPLIED_S, RESTART_S = 5.0, 60.0
PASSES = 'agentpool_operator_pass_seconds_count{kind="AgentPool"}'
PASS_S = 'agentpool_operator_pass_seconds_sum{kind="AgentPool"}'


@pytest.fixture
def fleet(cluster: Cluster, redis_server: Redis, namespace: str) -> Iterator[Fleet]:
    found = Fleet(cluster, redis_server, namespace, arrivals_per_s=1)
    yield found
    found.close()


def machine() -> str:
    """What else the machine does: figures of a busy one are only an upper bound."""
    return f"(load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, the cluster's own programs among it)"


def cpu_s(operator: Operator) -> float:
    fields = Path(f"/proc/{operator.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def p99(values: list[float]) -> float:
    return sorted(values)[max(math.ceil(len(values) * 0.99) - 1, 0)]


def scaled_at(requests: list[Object]) -> dict[str, float]:
    """By pool: when the API server had last taken a new size of one of its Deployments."""
    found = {}
    for entry in requests:
        if entry["verb"] == "patch" and resource_of(entry) == "deployments" and entry["responseStatus"]["code"] == 200:
            pool = entry["objectRef"]["name"].removesuffix("-spot").removesuffix("-on-demand")
            found.setdefault(pool, datetime.fromisoformat(entry["stageTimestamp"]).timestamp())
    return found


def fill_histories(redis_server: Redis, cluster: Cluster, namespace: str, names: list[str]) -> None:
    """Fourteen days of arrivals for every pool, as the operator itself would have kept them."""
    random = np.random.default_rng(7)
    minutes = np.abs(np.sin(np.arange(MINUTES) / 229) * 5 + random.normal(0, 0.3, MINUTES)).astype(np.float16)
    full = to_bytes(History(int(now_s()), np.full(RECENT_S, AGENTS, np.float32), minutes))
    pipe = redis_server.client.pipeline(transaction=False)
    for name in names:
        pipe.hset(keys.memory(namespace, name), "arrivals", full)
    pipe.execute()


@pytest.mark.slow
@pytest.mark.timeout(1800 + 3 * POOLS)
def test_many_pools_are_served_in_time_in_little_memory_and_nothing_is_written_in_vain(
    start, cluster: Cluster, namespace, user, redis_server: Redis, fleet: Fleet
):
    for number in range(math.ceil(POOLS * (AGENTS + 1) / 500)):
        cluster.plane.add_fake_node(f"many-{number}")
    operator = start()
    names = [f"pool-{number}" for number in range(POOLS)]
    pools = [Pool(cluster, namespace, name) for name in names]
    folder = POOLS_PATH.format(namespace)
    began = time.monotonic()
    for pool in pools:
        pool.apply(minAgents=AGENTS, maxAgents=20)

    def all_are(type_: str, *expected: str) -> bool:
        time.sleep(POOLS / 250)
        assert operator.process.poll() is None, operator.log[-2000:]
        found = [condition(pool, type_) for pool in cluster.items(f"{folder}?resourceVersion=0")]
        return found.count(expected) == POOLS

    until(lambda: all_are("Ready", "True", "AgentsReady"), "all pools", 300 + POOLS)
    print(f"\n{POOLS} pools ready after {time.monotonic() - began:.1f} s {machine()}")
    until(lambda: all_are("Progressing", "False", "Stable"), "rest", 300 + POOLS / 5)
    until(lambda: fleet.pods == POOLS * AGENTS, "a report of every agent")

    # Ten seconds after the first report arrivals are known, and with them that fewer agents would do.
    until(lambda: all_are("ScalingLimited", "True", "TooFewAgents"), "arrivals to be known", 120 + POOLS / 5)

    def at_rest() -> bool:
        before = len(cluster.writes(user))
        time.sleep(5)
        return len(cluster.writes(user)) == before

    until(at_rest, "rest", 600 + POOLS / 5)

    passes, took_s, used_s = operator.metric(PASSES), operator.metric(PASS_S), cpu_s(operator)
    before, began = len(cluster.writes(user)), time.monotonic()
    time.sleep(STEADY_S)
    span_s, count = time.monotonic() - began, operator.metric(PASSES) - passes
    print(
        f"steady: {count / span_s:.0f} passes/s of {(operator.metric(PASS_S) - took_s) / max(count, 1) * 1000:.2f} ms, "
        f"{(cpu_s(operator) - used_s) / span_s:.2f} cores, memory {operator.rss_bytes() / 2**20:.0f} MiB {machine()}"
    )
    assert cluster.writes(user)[before:] == []

    before = len(cluster.requests(user))
    asked: dict[str, float] = {}
    for pool in pools[:CHANGES]:
        due_s = time.monotonic() + 1 / CHANGES_PER_S
        cluster.patch(pool.path, {"spec": {"minAgents": AGENTS + 1}})
        asked[pool.name] = now_s()
        time.sleep(max(due_s - time.monotonic(), 0))

    def missing() -> set[str]:
        return asked.keys() - scaled_at(cluster.requests(user)[before:]).keys()

    def applied() -> bool:
        time.sleep(0.5)
        return not missing()

    until(applied, "all changes", 120, seen=missing)
    requests = cluster.requests(user)[before:]
    at = scaled_at(requests)
    by_spec = [at[name] - asked[name] for name in asked]
    print(f"changed spec -> applied: p50 {np.median(by_spec):.2f} s, p99 {p99(by_spec):.2f} s of {len(by_spec)}")
    calls = Counter(
        f"{entry['verb']} {resource_of(entry)}"
        for entry in requests
        if entry["verb"] != "watch" and entry["objectRef"]["resource"] != "leases"
    )
    print(f"API calls for each of {len(at)} decisions: {sum(calls.values()) / len(at):.1f} {dict(calls)}")
    print(f"memory {operator.rss_bytes() / 2**20:.0f} MiB {machine()}")
    assert p99(by_spec) < APPLIED_S * LOADED

    assert operator.terminate() == 0
    fill_histories(redis_server, cluster, namespace, names)
    operator = start()

    def all_forecast() -> bool:
        time.sleep(POOLS / 250)
        found = [condition(pool, "ForecastReady") for pool in cluster.items(f"{folder}?resourceVersion=0")]
        return found.count(("False", "HistoryTooShort")) == 0

    until(all_forecast, "forecasts from the histories", 120 + POOLS / 5)
    until(at_rest, "rest", 600 + POOLS / 5)
    assert operator.terminate() == 0
    missed = pools[-MISSED:]
    for pool in missed:
        cluster.patch(pool.path, {"spec": {"minAgents": AGENTS + 2}})
    before, writes, began = len(cluster.requests(user)), len(cluster.writes(user)), time.monotonic()
    again = start()

    def converged() -> bool:
        time.sleep(0.2)
        done = scaled_at(cluster.requests(user)[before:])
        return again.metric(PASSES) >= POOLS and {pool.name for pool in missed} <= done.keys()

    until(converged, "what was missed", RESTART_S * LOADED)
    print(f"restarted and converged after {time.monotonic() - began:.1f} s {machine()}")
    time.sleep(30 if LARGE else 5)
    others = set(names) - {pool.name for pool in missed}
    in_vain = [write for write in cluster.writes(user)[writes:] if write.split()[-1] in others]
    print(f"with 14 days of history: memory {again.rss_bytes() / 2**20:.0f} MiB")
    print(f"{len(in_vain)} writes to the {len(others)} pools that did not change")
    assert again.rss_bytes() < MEMORY_BYTES
    assert len(in_vain) < len(others), "a restart is no reason to write to every pool"
