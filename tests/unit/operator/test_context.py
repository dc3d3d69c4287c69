"""What is remembered of pools, and how little of it."""

from __future__ import annotations

from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.store import Store
from agentpool_operator.reconcile.context import Context


def context_of(*specs):
    store = Store()
    for number, spec in enumerate(specs):
        metadata = {"name": f"p-{number}", "namespace": "n", "uid": f"u-{number}", "generation": 1}
        store.put({"kind": "AgentPool", "metadata": metadata, "spec": {"agent": {"image": "mine:1"}} | spec})
    return Context(settings=None, store=store, api=None, readings=Readings(), clock=lambda: 0.0, link=None)


def specs_of(context):
    keys = [PoolKey(key.namespace, key.name) for key in context.store.keys("AgentPool")]
    return [context.pool_state(key, context.store.metadata("AgentPool", *key)).spec for key in keys]


def test_what_pools_say_alike_is_kept_once():
    first, second, third = specs_of(context_of({}, {"maxAgents": 9}, {"runtime": {"cache": {"ttl": "5m"}}}))
    assert first.runtime is second.runtime
    assert first.agent is third.agent
    assert (second.max_agents, third.runtime.cache.ttl) == (9, "5m")
    assert first.runtime.cache.ttl != "5m"


def test_a_pool_that_changes_changes_no_other():
    context = context_of({}, {})
    specs_of(context)
    body = context.store.get("AgentPool", "n", "p-0")
    body["metadata"]["generation"], body["spec"]["agent"] = 2, {"image": "mine:2"}
    context.store.put(body)
    assert [spec.agent.image for spec in specs_of(context)] == ["mine:2", "mine:1"]
