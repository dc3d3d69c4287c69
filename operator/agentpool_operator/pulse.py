"""What happens every period? Redis is read for all pools at once, and every pool and budget gets a pass."""

from __future__ import annotations

from agentpool_api import keys
from agentpool_operator import metrics
from agentpool_operator.errors import RedisUnavailableError
from agentpool_operator.observe.cluster import ObjectKey, PoolKey, key_of
from agentpool_operator.reconcile.context import Context
from agentpool_operator.redis_link import RedisLink


async def beat(context: Context, link: RedisLink) -> list[ObjectKey]:
    """Read Redis once; returns the objects that are due for a pass."""
    pools = [PoolKey(*key_of(body)[1:]) for body in context.store.of_kind("AgentPool")]
    try:
        with metrics.REDIS_SECONDS.time():
            answers = await link.run([("HGETALL", keys.heartbeats(*pool)) for pool in pools] or [("PING",)])
    except RedisUnavailableError:
        context.readings.lose_redis()
    else:
        found = dict(zip(pools, answers, strict=False))
        context.readings.take_heartbeats(found, context.store, now_s=context.clock())
    return [key_of(body) for kind in ("AgentPool", "CostBudget") for body in context.store.of_kind(kind)]
