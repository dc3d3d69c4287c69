"""Which pass does a key ask for?"""

from __future__ import annotations

import time

from agentpool_operator import metrics
from agentpool_operator.observe.cluster import ObjectKey, PoolKey
from agentpool_operator.reconcile.agentpool import reconcile_pool
from agentpool_operator.reconcile.context import Context
from agentpool_operator.reconcile.costbudget import reconcile_budget


async def reconcile(context: Context, key: ObjectKey) -> None:
    """One pass over the object a key names. Passes of one key never overlap; the period asks for the next."""
    started_s = time.perf_counter()
    try:
        if key.kind == "AgentPool":
            await reconcile_pool(context, PoolKey(key.namespace, key.name))
        else:
            await reconcile_budget(context, key)
    except Exception as error:
        metrics.PASS_ERRORS.labels(key.kind, type(error).__name__).inc()
        raise
    finally:
        metrics.PASS_SECONDS.labels(key.kind).observe(time.perf_counter() - started_s)
