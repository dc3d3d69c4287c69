"""Builders of the operator's values, with overrides."""

from typing import Any

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_api.wire import Heartbeat
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.scaling import Decision
from agentpool_operator.decide.split import hourly_cost_nanousd, split_capacity
from agentpool_operator.decide.state import PoolState
from agentpool_operator.manifests.values import PoolValues
from agentpool_operator.observe.cluster import PodFacts
from agentpool_operator.settings import RedisAccess, RuntimeImage

MODEL = {
    "name": "m",
    "endpoint": "https://models.example/v1",
    "apiKeySecretRef": {"name": "endpoint-key", "key": "token"},
}


def spec(**changes: Any) -> AgentPoolSpec:
    """A pool's spec as it is in a manifest, camelCase keys."""
    return AgentPoolSpec.model_validate({"runtime": {"models": [MODEL]}} | changes)


def values(**changes: Any) -> PoolValues:
    """A pool named ``research`` with this spec."""
    return PoolValues(
        namespace="team",
        name="research",
        uid="uid-1",
        spec=spec(**changes),
        runtime=RuntimeImage(image="runtime:1"),
        redis=RedisAccess(url="redis://redis:6379/0"),
    )


def pod(name: str = "p-1", **changes: Any) -> PodFacts:
    """A ready on-demand pod that started at second 0."""
    facts: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "capacity_type": "on-demand",
        "phase": "Running",
        "ready": True,
        "ready_since_s": 0.0,
        "started_s": 0.0,
        "leaving": False,
        "ended": False,
        "waiting_reason": "",
        "waiting_message": "",
        "waiting_container": "",
        "unschedulable": "",
        "deletion_cost": None,
    }
    return PodFacts(**(facts | changes))


def heartbeat(name: str = "p-1", at_s: float = 100.0, **changes: Any) -> Heartbeat:
    """A report of an idle agent with four slots."""
    report: dict[str, Any] = {
        "pod": name,
        "uid": f"uid-{name}",
        "at_s": at_s,
        "started_s": 1.0,
        "capacity": 4,
        "in_flight": 0,
        "queued": 0,
        "arrivals_total": 0,
        "completed_total": 0,
        "service_seconds_total": 0.0,
        "wait_seconds_total": 0.0,
    }
    return Heartbeat(**(report | changes))


def make_decision(desired: int = 3, *, reason: Reason = Reason.STEADY, **changes: Any) -> Decision:
    """A decision for this size, split and priced by the defaults."""
    policy = ScalingPolicy()
    split = changes.pop("split", split_capacity(desired, policy.spot))
    cost = hourly_cost_nanousd(split, policy.prices)
    known: dict[str, Any] = {"reasons": (reason,), "inputs": {}, "wished": desired, "state": PoolState()}
    costs = {"cost_before_nanousd": cost, "cost_after_nanousd": cost}
    return Decision(desired=desired, split=split, **(known | costs | changes))
