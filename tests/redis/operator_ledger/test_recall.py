"""What is remembered of many pools is read bit by bit, and all of it before anything is decided on them."""

from __future__ import annotations

import time

from agentpool_api import keys
from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.store import Store
from agentpool_operator.reconcile.context import Context
from agentpool_operator.reconcile.pulse import RECALLED_AT_ONCE, pulse

MANY = RECALLED_AT_ONCE + 7


async def test_a_restarted_operator_recalls_every_pool_before_it_decides_on_any(link):
    store = Store()
    pools = [PoolKey("team", f"pool-{number}") for number in range(MANY)]
    for pool in pools:
        metadata = {"name": pool.name, "namespace": pool.namespace, "uid": f"u-{pool.name}", "generation": 1}
        store.put({"kind": "AgentPool", "metadata": metadata, "spec": {"agent": {"image": "mine:1"}}})
    remembered = [
        ("HSET", keys.memory(*pool), "facts", f'{{"uid": "u-{pool.name}", "service_s": 7}}') for pool in pools
    ]
    await link.run(remembered)
    clock = time.time  # noqa: TID251
    context = Context(settings=None, store=store, api=None, readings=Readings(), clock=clock, link=link)
    await pulse(context)
    assert [state.service_s for state in context.pools.values()] == [7] * MANY
