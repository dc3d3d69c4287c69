"""How is a decision told to a user? One sentence for its reason, one line with the figures it came from."""

from __future__ import annotations

from collections.abc import Mapping

from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.scaling import Decision


def explain(decision: Decision, policy: ScalingPolicy, budget: str = "the budget") -> str:
    """Why the size is what it is: what had the last word, and what shaped the wish before it."""
    rule, size = policy.rule, decision.desired
    sentences: Mapping[Reason, str] = {
        Reason.STEADY: "the agents there are enough",
        Reason.FORECAST: f"the work expected when a new agent would serve needs {size}",
        Reason.CURRENT_LOAD: f"the work in hand needs {size}",
        Reason.UTILIZATION_HIGH: f"utilisation is at or over {rule.scale_up_at:.0%}",
        Reason.UTILIZATION_LOW: f"utilisation is at or under {rule.scale_down_at:.0%}",
        Reason.COOLDOWN: f"resting for {rule.cooldown_s:g} s after the last change",
        Reason.TOLERANCE: "the wish differs by less than scaling.behavior tolerates",
        Reason.STABILIZED: "an earlier wish still holds",
        Reason.RATE_LIMITED: "scaling.behavior allows only part of the change",
        Reason.IDLE: f"no work for {policy.idle_timeout_s:g} s",
        Reason.WARM: f"{size} agents kept while the pool is in use and little is known of it",
        Reason.WOKEN: "the first work woke the pool",
        Reason.SCHEDULE: "a schedule's bounds hold",
        Reason.BOUNDS: f"minAgents {policy.min_agents}, maxAgents {policy.max_agents}",
        Reason.EXTERNAL: f"{size if policy.replicas is None else policy.replicas} set through the scale subresource",
        Reason.PAUSED: "spec.pause holds this direction",
        Reason.METRICS_MISSING: "the load is not known, so the size stays",
        Reason.COST_TARGET: "cost.targetPerHour pays for no more",
        Reason.BUDGET: f"{budget} allows {size}",
    }
    behind = [sentences[reason] for reason in decision.reasons[1:2] if reason is not Reason.STEADY]
    return "; ".join([sentences[decision.reason], *behind])


_INPUTS = (
    ("arrivals_per_s", "{:.3g} requests/s"),
    ("service_s", "{:.3g} s each"),
    ("in_system", "{:.0f} in hand"),
    ("queue_lag", "queue: {:.0f} unread"),
    ("queue_pending", "{:.0f} pending"),
    ("oldest_wait_s", "oldest {:.0f} s"),
    ("offered_load", "{:.3g} slots busy"),
    ("offered_load_p90", "{:.3g} at most in 9 of 10 cases"),
    ("growth", "daily forecast ×{:.3g}"),
    ("enough_agents", "{:.0f} agents enough"),
    ("kept_agents", "up to {:.0f} kept"),
    ("startup_s", "{:.0f} s to start"),
    ("utilization", "utilisation {:.0%}"),
)


def told_inputs(inputs: Mapping[str, float]) -> str:
    """The figures a decision was made from, those that were known."""
    return ", ".join(form.format(inputs[name]) for name, form in _INPUTS if name in inputs)
