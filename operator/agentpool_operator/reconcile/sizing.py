"""How large should a pool be now? Gathers what the decision takes, and keeps what it hands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from agentpool_api.pool_status import AgentPoolStatus
from agentpool_api.quantity import duration_s
from agentpool_operator.decide.behavior import Wish
from agentpool_operator.decide.budget import PoolCeiling
from agentpool_operator.decide.scaling import Decision, decide
from agentpool_operator.decide.split import split_capacity
from agentpool_operator.decide.spot import decide_spot
from agentpool_operator.decide.state import PoolState as ScalingState
from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.observe.pool import observe_load, observe_spot, observe_startup
from agentpool_operator.reconcile.context import Context, PoolState
from agentpool_operator.reconcile.memory import read_memory, with_memory

log = structlog.get_logger(__name__)

NEW_S = 120.0
"""Of a pool younger than this nothing need be remembered."""


def recall(context: Context, key: PoolKey, raw: Mapping[bytes, bytes]) -> None:
    """Take in what Redis remembers of a pool that this process has not decided on before."""
    body, state = context.store.get("AgentPool", *key), context.pools.get(key)
    if body is None or state is None:
        return
    state.recalled = True
    found = read_memory(raw, state.uid)
    if found is None:
        if context.clock() - (_unix_s(body["metadata"].get("creationTimestamp")) or 0.0) > NEW_S:
            log.warning("nothing is remembered of the pool's arrivals, its forecast begins anew", pool=key.name)
        return
    facts, history = found
    state.scaling = with_memory(state.scaling or begin_scaling(body, context.clock()), facts, history)
    state.spot = facts.spot if state.spot.limit is None else state.spot
    state.service_s = facts.service_s if state.service_s is None else state.service_s
    state.startup_s = facts.startup_s if state.startup_s is None else state.startup_s
    state.saved.minutes_end_s = history.end_s or 0


def begin_scaling(body: Mapping[str, Any], now_s: float) -> ScalingState:
    """What the API server alone remembers of a pool. Its creation was its first waking; a pool of which it is not
    known when it last worked may have worked just now. The size it has is its first wish."""
    status = body.get("status") or {}
    created_s = _unix_s(body["metadata"].get("creationTimestamp"))
    desired = status.get("desiredAgents")
    return ScalingState(
        desired=desired,
        last_scaled_at_s=_unix_s(status.get("lastScaleTime")),
        last_active_at_s=created_s if desired is None else now_s,
        woken_at_s=created_s,
        wishes=() if desired is None else (Wish(now_s, desired),),
    )


def size_pool(context: Context, key: PoolKey, state: PoolState, ceiling: PoolCeiling | None) -> Decision:
    """Decide, once per reading of Redis unless what is asked for changed, and remember for the next time.

    Passes come with every event of a pod; deciding in each would count the same traffic again and again.
    """
    readings, pods = context.readings, context.store.pods_of(key)
    stats = readings.of(key)
    # Passes between two readings of Redis see the moment of the first: arrivals are known up to then.
    now_s = readings.read_s if stats.arrivals_by_s is not None else context.clock()
    scaling = state.scaling or begin_scaling(context.store.get("AgentPool", *key) or {"metadata": {}}, now_s)
    if stats.last_activity_s is not None and stats.last_activity_s > (scaling.last_active_at_s or 0.0):
        scaling = replace(scaling, last_active_at_s=stats.last_activity_s)
    state.startup_s = observe_startup(pods, state.startups) or state.startup_s
    load = observe_load(
        pods,
        stats,
        desired=scaling.desired or 0,
        concurrency=state.spec.agent.concurrency,
        service_s=state.service_s,
        startup_s=state.startup_s,
        now_s=now_s,
        budget_ceiling=ceiling.agents if ceiling else None,
    )
    state.service_s = load.service_s
    state.spot = decide_spot(
        state.spot,
        observe_spot(pods),
        wanted=split_capacity(scaling.desired or 0, state.policy.spot).spot,
        fallback_after_s=duration_s(state.spec.spot.fallback_after),
        now_s=context.clock(),
    )
    grounds = (readings.number, state.generation, load.budget_ceiling, state.spot.limit)
    if state.decided is not None and state.decided[0] == grounds:
        return state.decided[1]
    decision = decide(state.policy, load, scaling, now_s=now_s, spot_limit=state.spot.limit)
    state.scaling, state.decided = decision.state, (grounds, decision)
    if decision.desired != scaling.desired:
        state.changed_by = decision
    return decision


def told_decision(state: PoolState, decision: Decision, before: AgentPoolStatus) -> Decision:
    """The decision a change of the status is explained with: the one that made the change, which a pass that failed
    may have left untold."""
    changed = state.changed_by
    is_untold = before.desired_agents != decision.desired
    return changed if is_untold and changed is not None and changed.desired == decision.desired else decision


def _unix_s(text: str | None) -> float | None:
    """The time in a status; none where somebody wrote something else there."""
    try:
        return datetime.fromisoformat((text or "").replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
