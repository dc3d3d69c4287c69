"""One pass over one pool: see, decide, act. A second pass over the same world writes nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError

from agentpool_api.agentpool import Mode
from agentpool_api.conditions import PoolCondition, set_condition
from agentpool_api.labels import POOL_LABEL
from agentpool_api.pool_status import AgentPoolStatus
from agentpool_operator.act.apply import (
    apply_objects,
    apply_replicas,
    apply_secrets,
    forget_missing,
    publish_size,
    unwritten,
)
from agentpool_operator.act.events import pool_occurrences, post_events
from agentpool_operator.act.status import patch_status
from agentpool_operator.act.victims import costs_to_stamp, stamp_victims
from agentpool_operator.decide.budget import PoolCeiling
from agentpool_operator.decide.facts import Trouble
from agentpool_operator.decide.policy import PolicyKind
from agentpool_operator.decide.pool_conditions import decide_pool_conditions
from agentpool_operator.decide.pool_status import decide_pool_status
from agentpool_operator.decide.scaling import Decision
from agentpool_operator.decide.split import CapacitySplit
from agentpool_operator.errors import ManifestRefusedError
from agentpool_operator.kinds import AGENT_POOL
from agentpool_operator.manifests.pool import make_pool_objects
from agentpool_operator.manifests.values import CAPACITY_TYPES, Manifest, PoolValues, digest
from agentpool_operator.observe.cluster import ObjectKey, PoolKey
from agentpool_operator.observe.pool import missing_secrets, observe_pool
from agentpool_operator.reconcile import pool_metrics
from agentpool_operator.reconcile.context import Context, PoolState, Refusal, Settled, Shown
from agentpool_operator.reconcile.selection import budget_ceiling
from agentpool_operator.reconcile.sizing import size_pool, told_decision

log = structlog.get_logger(__name__)

REFUSED_RETRY_S = 60.0
"""What was refused is tried again so often, for the refusal may have had a cause outside of the manifest."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass decided and how it went."""

    decision: Decision
    ceiling: PoolCeiling | None
    refused: Trouble | None


async def reconcile_pool(context: Context, key: PoolKey) -> None:
    """Make the world match one pool. Raises OperatorError when a retry may help."""
    metadata = context.store.metadata("AgentPool", *key)
    if metadata is None:
        context.pools.pop(key, None)
        pool_metrics.forget(key)
        return
    if "deletionTimestamp" in metadata:
        return  # what belongs to it goes with it
    try:
        state = context.pool_state(key, metadata)
    except ManifestRefusedError as error:
        await _report_unreadable(context, key, error)
        return
    ceiling = budget_ceiling(context.store, metadata, state.spec)
    decision = size_pool(context, key, state, ceiling)
    refused = None
    if state.spec.mode is Mode.ENFORCE:
        refused = await _act(context, key, state, decision.split)
    await _report(context, key, state, Outcome(decision, ceiling, refused))
    is_unset = state.policy.policy is PolicyKind.EXTERNAL and state.policy.replicas is None
    if is_unset and state.spec.mode is Mode.ENFORCE and state.published != state.generation:
        await _publish_size(context, key, state, decision)


async def _publish_size(context: Context, key: PoolKey, state: PoolState, decision: Decision) -> None:
    """Have whoever sets the size from outside find the present one. What a budget takes for a while is no size to
    begin from: at zero an autoscaler stands still."""
    body = context.store.get("AgentPool", *key)
    if body is not None and body["metadata"]["uid"] == state.uid:
        await publish_size(context.api, body, max(decision.desired, state.policy.min_agents))
        state.published = state.generation


def _status_of(body: dict[str, Any]) -> AgentPoolStatus:
    try:
        return AgentPoolStatus.model_validate(body.get("status") or {})
    except ValidationError:
        log.warning("status unreadable, written anew", pool=body["metadata"]["name"])
        return AgentPoolStatus()


def _shown(context: Context, key: PoolKey, state: PoolState) -> Shown:
    version = context.store.version(ObjectKey("AgentPool", *key))
    if state.shown is None or state.shown.version != version:
        body = context.store.get("AgentPool", *key) or {}
        status = _status_of(body)
        state.shown = Shown(version, status, is_exact=status.manifest() == body.get("status"))
    return state.shown


async def _act(context: Context, key: PoolKey, state: PoolState, split: CapacitySplit) -> Trouble | None:
    """Apply everything. What is refused is returned as trouble; what ran before runs on, in the size asked for."""
    values = _values(context, key, state)
    now_s = context.clock()
    source = digest([state.generation, split.on_demand, split.spot, asdict(values.runtime), values.redis.digest])
    missing = missing_secrets(
        values.key_secret_name, values.redis_secret_name, context.store.pods_of(key), context.readings.of(key)
    )
    is_lost = forget_missing(state.applied, missing, now_s)
    if not is_lost and state.settled is not None and state.settled.holds(source, context.store):
        return None
    await _stamp_victims(context, key, split)
    refusal, state.settled = state.refused, None
    if refusal is None or refusal.digest != source or refusal.is_due(now_s):
        try:
            objects = make_pool_objects(values, split)
            pending = unwritten([(each, _live(context, values, each)) for each in objects], state.applied)
            if pending or is_lost:  # objects that stand were written after the Secrets they name
                await apply_secrets(context.api, values, state.applied, now_s=now_s)
            async for written in apply_objects(context.api, state.uid, pending, state.applied):
                context.store.put(written)
        except ManifestRefusedError as error:
            trouble = Trouble(reason=error.reason, message=error.message)
            state.refused = refusal = Refusal(source, trouble, now_s, 0.0 if error.passes else REFUSED_RETRY_S)
        else:
            state.refused = None
            made = [ObjectKey(each["kind"], key.namespace, each["metadata"]["name"]) for each in objects]
            state.settled = Settled(source, {each: context.store.version(each) for each in made})
            return None
    for name, replicas in zip(_deployment_names(values), (split.on_demand, split.spot), strict=True):
        deployment = context.store.get("Deployment", key.namespace, name)
        if deployment is not None:
            await apply_replicas(context.api, deployment, replicas)
    return refusal.trouble


def _live(context: Context, values: PoolValues, manifest: Manifest) -> dict[str, Any] | None:
    return context.store.get(manifest["kind"], values.namespace, manifest["metadata"]["name"])


async def _stamp_victims(context: Context, key: PoolKey, split: CapacitySplit) -> None:
    in_flight = context.readings.of(key).in_flight_by_pod
    for capacity_type, replicas in zip(CAPACITY_TYPES, (split.on_demand, split.spot), strict=True):
        deployment = context.store.get("Deployment", key.namespace, f"{key.name}-{capacity_type}")
        if deployment is None or deployment["spec"].get("replicas", 1) <= replicas:
            continue  # it does not shrink, or has been told to: who goes is chosen
        pods = [
            (pod.name, pod.deletion_cost)
            for pod in context.store.pods_of(key)
            if pod.capacity_type == capacity_type and not pod.leaving and not pod.ended
        ]
        costs = costs_to_stamp(pods, in_flight, shrinks_to=replicas)
        await stamp_victims(context.api, key.namespace, list(costs.items()))


async def _report(context: Context, key: PoolKey, state: PoolState, outcome: Outcome) -> None:
    """Write the status and tell what changed."""
    metadata = context.store.metadata("AgentPool", *key)
    if metadata is None or metadata["uid"] != state.uid:
        return
    shown, spec = _shown(context, key, state), state.spec
    before = shown.status
    now = datetime.fromtimestamp(context.clock(), UTC)
    facts = observe_pool(
        context.store,
        context.readings,
        key,
        generation=state.generation,
        spot_enabled=spec.spot.enabled,
        preview=spec.mode is Mode.PREVIEW,
        queue_named=spec.scaling.queue is not None,
        deployments=_deployment_names(_values(context, key, state)),
        refused=outcome.refused,
    )
    conditions = decide_pool_conditions(
        before.conditions, facts, state.policy, outcome.decision, outcome.ceiling, state.spot, now=now
    )
    status = decide_pool_status(
        before,
        facts,
        state.policy,
        told_decision(state, outcome.decision, before),
        conditions,
        selector=f"{POOL_LABEL}={key.name}",
        now=now,
    )
    pool_metrics.show(key, status, context.readings.of(key), now_s=now.timestamp())
    body = None if shown.is_exact and status == before else context.store.get("AgentPool", *key)
    if body is None:
        return
    written = await patch_status(context.api, AGENT_POOL, body, status)
    if written is not None:
        context.store.put(written)
        pool_metrics.count_change(key, before, status)
        occurrences = pool_occurrences(before, status)
        await post_events(context.api, body, occurrences, instance=context.settings.identity, now=now)


async def _report_unreadable(context: Context, key: PoolKey, error: ManifestRefusedError) -> None:
    """Say that the spec cannot be read. Nothing else is touched: what ran before runs on."""
    body = context.store.get("AgentPool", *key)
    if body is None:
        return
    before = _status_of(body)
    conditions = set_condition(
        before.conditions,
        PoolCondition.READY,
        False,
        error.reason,
        error.message,
        observed_generation=body["metadata"].get("generation"),
        now=datetime.fromtimestamp(context.clock(), UTC),
    )
    written = await patch_status(context.api, AGENT_POOL, body, before.model_copy(update={"conditions": conditions}))
    if written is not None:
        context.store.put(written)


def _values(context: Context, key: PoolKey, state: PoolState) -> PoolValues:
    return PoolValues(
        namespace=key.namespace,
        name=key.name,
        uid=state.uid,
        spec=state.spec,
        runtime=context.settings.runtime,
        redis=context.settings.agents_redis,
    )


def _deployment_names(values: PoolValues) -> list[str]:
    return [values.deployment_name(capacity_type) for capacity_type in CAPACITY_TYPES]
