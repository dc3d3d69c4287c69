"""What is remembered of many pools is read bit by bit, and all of it."""

from __future__ import annotations

import time

from agentpool_api import keys
from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.store import Store
from agentpool_operator.reconcile.context import Context
from agentpool_operator.reconcile.pulse import RECALLED_PER_PULSE, pulse

MANY = RECALLED_PER_PULSE + 7


async def test_a_restarted_operator_recalls_every_pool_a_part_of_them_at_a_time(link):
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
    known = []
    for _ in range(2):
        await pulse(context)
        known.append(sum(state.service_s == 7 for state in context.pools.values()))
    assert known == [RECALLED_PER_PULSE, MANY]
