"""Whatever stands in Redis, a reading of all pools goes on: agents share it, and one of them may write nonsense."""

from __future__ import annotations

import json
import time
import zlib

import numpy as np
import pytest

from agentpool_api import keys
from agentpool_operator.decide.history import History, to_bytes
from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.store import Store
from agentpool_operator.reconcile.context import Context
from agentpool_operator.reconcile.pulse import pulse
from agentpool_operator.reconcile.sizing import size_pool
from tests.unit.operator.make import heartbeat

NS, HUGE = "team", "9" * 5000
BAD, GOOD = PoolKey(NS, "bad"), PoolKey(NS, "good")
UIDS = {BAD: "u-bad", GOOD: "u-good"}


def now_s() -> float:
    return time.time()  # noqa: TID251


@pytest.fixture
def context(link) -> Context:
    store = Store()
    for pool, uid in UIDS.items():
        metadata = {"name": pool.name, "namespace": NS, "uid": uid, "generation": 1, "labels": {"team": "a"}}
        spec = {"agent": {"image": "mine:1"}, "minAgents": 0, "scaling": {"queue": {"stream": pool.name, "group": "g"}}}
        store.put({"kind": "AgentPool", "metadata": metadata, "spec": spec})
        labels = {"agentpool.dev/pool": pool.name, "agentpool.dev/capacity-type": "spot"}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "conditions": [ready]}
        pod = {"name": f"{pool.name}-spot-1", "namespace": NS, "uid": f"pod-{pool.name}", "labels": labels}
        store.put({"kind": "Pod", "metadata": pod, "status": status})
    return Context(settings=None, store=store, api=None, readings=Readings(), clock=now_s, link=link)


def report(pool: PoolKey, **changes) -> str:
    known = heartbeat(f"{pool.name}-spot-1", at_s=now_s(), in_flight=2).model_dump() | {"uid": f"pod-{pool.name}"}
    return json.dumps(known | changes)


def beat(**changes):
    return lambda: [("HSET", keys.heartbeats(*BAD), "x", report(BAD, **changes))]


def of_a_pod_that_is_gone(**changes):
    return lambda: [
        ("HSET", keys.heartbeats(*BAD), "x", report(BAD, **({"uid": "gone"} | changes))),
        ("HSET", keys.charged_until(*BAD), "gone", "5"),
    ]


def remembered(history: bytes | None = None, **facts):
    fields = {"facts": json.dumps({"uid": "u-bad"} | facts)} | ({"arrivals": history} if history else {})
    return lambda: [("HSET", keys.memory(*BAD), *[part for pair in fields.items() for part in pair])]


def to(key: str, *pairs):
    return lambda: [("HSET", key, *pairs)]


def wrong_kinds():
    return [
        ("SET", key(*BAD), "text")
        for key in (keys.heartbeats, keys.charged_until, keys.memory, keys.spend, keys.budget_notice)
    ]


BOMB = zlib.compress(b'{"v": 1, "end_s": 60, "recent": 0}\n' + bytes(200_000_000), 9)
NAN = History(1_800_000_000, np.array([np.nan, -5.0, np.inf] * 20, np.float32), np.array([-1.0, np.inf], np.float16))
FAR = History(10**30, np.ones(60, np.float32), np.ones(3, np.float16))


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param(beat(at_s=1e306), id="a report from the end of time"),
        pytest.param(beat(started_s=1e12), id="a process of the far future"),
        pytest.param(beat(started_s=1e300, arrivals_total=9), id="a process beyond all time"),
        pytest.param(beat(in_flight=10**400), id="work beyond measure"),
        pytest.param(beat(capacity=10**400), id="slots beyond measure"),
        pytest.param(beat(arrivals_total=10**400), id="arrivals beyond measure"),
        pytest.param(beat(service_seconds_total=1e308, completed_total=1), id="service beyond measure"),
        pytest.param(beat(capacity=0, in_flight=9), id="work without slots"),
        pytest.param(beat(last_activity_s=1e300), id="activity in the future"),
        pytest.param(beat(problems=[{"reason": "SecretMissing", "field": "f", "message": "m" * 10**6}]), id="a novel"),
        pytest.param(beat(pod="p" * 10**6), id="an endless name"),
        pytest.param(beat(uid="u" * 10**6), id="an endless uid"),
        pytest.param(of_a_pod_that_is_gone(at_s=1e306), id="gone at the end of time"),
        pytest.param(of_a_pod_that_is_gone(started_s=1e306), id="gone before it began"),
        pytest.param(to(keys.charged_until(*BAD), "pod-bad", HUGE), id="charged until a huge number"),
        pytest.param(to(keys.charged_until(*BAD), "pod-bad", "²", b"\xff", b"\xff"), id="charged until no number"),
        pytest.param(to(keys.spend(*BAD), f"{HUGE}:agents", "1", "900:agents", HUGE), id="huge buckets and amounts"),
        pytest.param(to(keys.spend(*BAD), "²:agents", "1", b"\xff:tokens", "x"), id="buckets of no time"),
        pytest.param(
            to(keys.carried(NS, "b"), "selector", "s", "lost", "²", "2026-01-01", HUGE), id="carried nonsense"
        ),
        pytest.param(remembered(BOMB), id="a history of two hundred megabytes"),
        pytest.param(remembered(to_bytes(NAN)), id="a history of no numbers"),
        pytest.param(remembered(to_bytes(FAR)), id="a history of the far future"),
        pytest.param(remembered(last_scaled_at_s=1e300, service_s=1e300, startup_s=1e300), id="figures beyond measure"),
        pytest.param(remembered(spot={"limit": -9, "failures": 10**30, "retry_at_s": 1e300}), id="nonsense about spot"),
        pytest.param(remembered(desired=10**30), id="a size beyond measure"),
        pytest.param(wrong_kinds, id="keys of other kinds"),
    ],
)
async def test_nonsense_of_one_pool_stops_no_reading_and_no_decision(context: Context, link, commands):
    budget = {"name": "b", "namespace": NS, "uid": "b", "generation": 1}
    spec = {"selector": {"matchLabels": {"team": "a"}}, "limits": {"daily": "10"}}
    context.store.put({"kind": "CostBudget", "metadata": budget, "spec": spec})
    answers = await link.run([*commands(), ("HSET", keys.heartbeats(*GOOD), "y", report(GOOD))])
    assert None not in answers
    for _ in range(2):
        await pulse(context)
        for pool in (BAD, GOOD):
            if pool in context.pools:
                decision = size_pool(context, pool, context.pools[pool], None)
                assert 0 <= decision.desired <= 20
    assert context.readings.redis_up
    assert context.readings.of(GOOD).in_flight == 2
