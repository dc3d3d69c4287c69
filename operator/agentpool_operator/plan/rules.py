"""How do the product and its peers size a pool?

The product's rules are its own decision code. The peers follow their documentation, with defaults as shipped:

- HPA: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/ (algorithm, tolerance .1, not
  yet ready pods, default `behavior`: up the larger of 100 % and 4 pods per 15 s, down 100 % per 15 s after 300 s).
- KEDA: https://keda.sh/docs/latest/concepts/scaling-deployments/ (the HPA's external metric as AverageValue; without
  `useCachedMetrics` the HPA's requests reach the queue itself; cooldownPeriod 300 s and pollingInterval 30 s act
  between 0 and 1 only).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from agentpool_operator.decide.behavior import (
    DirectionRules,
    RatePolicy,
    Wish,
    rate_limit,
    stabilize,
)
from agentpool_operator.decide.behavior import PolicyKind as RateKind
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import PolicyKind, ScalingPolicy
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState
from agentpool_operator.plan.outcome import PoolTerms
from agentpool_operator.plan.replay import Rule

HPA_PERIOD_S = 15
HPA_TOLERANCE = 0.1
HPA_DOWN_STABILIZATION_S = 300.0
HPA_UP = DirectionRules(
    policies=(
        RatePolicy(kind=RateKind.PERCENT, value=100, period_s=15),
        RatePolicy(kind=RateKind.PODS, value=4, period_s=15),
    )
)
KEDA_POLLING_S = 30
KEDA_COOLDOWN_S = 300.0


def rules_to_compare(policy: ScalingPolicy, terms: PoolTerms) -> tuple[Rule, ...]:
    """The manifest's own policy first, then the product's other one, the HPA and KEDA."""
    other = PolicyKind.THRESHOLD if policy.policy is PolicyKind.FORECAST else PolicyKind.FORECAST
    return (
        ProductRule(policy, f"{policy.policy.value} (this pool)"),
        ProductRule(replace(policy, policy=other), other.value),
        UtilizationHpa(terms),
        QueueKeda(terms),
    )


@dataclass(slots=True)
class ProductRule:
    """The operator's decision code, every five seconds."""

    policy: ScalingPolicy
    name: str
    period_s: int = 5
    idle_first: bool = True
    state: PoolState = field(default_factory=PoolState)

    def desired(self, load: PoolLoad, *, now_s: float) -> int:
        """What `decide` wants."""
        decision = decide(self.policy, load, self.state, now_s=now_s)
        self.state = decision.state
        return decision.desired


@dataclass(slots=True)
class UtilizationHpa:
    """A HorizontalPodAutoscaler on the share of busy slots. It needs at least one agent."""

    terms: PoolTerms
    target: float = 0.8
    period_s: int = HPA_PERIOD_S
    idle_first: bool = False
    wishes: tuple[Wish, ...] = ()

    @property
    def name(self) -> str:
        """Name and target."""
        return f"HPA, utilization {self.target:.0%}"

    def desired(self, load: PoolLoad, *, now_s: float) -> int:
        """The proposal within `behavior` and bounds."""
        return self._limited(load, self._proposal(load), now_s)

    def _proposal(self, load: PoolLoad) -> int:
        if not load.ready or load.utilization is None:
            return load.total
        ratio = load.utilization / self.target
        if load.starting and ratio > 1:
            # Agents not ready count as unused before growth; where that turns the direction, nothing happens.
            ratio *= load.ready / load.total
            return math.ceil(ratio * load.total) if ratio > 1 + HPA_TOLERANCE else load.total
        return load.total if abs(ratio - 1) <= HPA_TOLERANCE else math.ceil(ratio * load.ready)

    def _limited(self, load: PoolLoad, wished: int, now_s: float) -> int:
        # The size an HPA finds at first is its first recommendation, so it holds for five minutes too.
        kept = [w for w in self.wishes or (Wish(now_s, load.total),) if now_s - w.at_s < HPA_DOWN_STABILIZATION_S]
        self.wishes = (*kept, Wish(now_s, wished))
        held = stabilize(load.total, wished, self.wishes, up_s=0.0, down_s=HPA_DOWN_STABILIZATION_S, now_s=now_s)
        limited = rate_limit(load.total, held, (), up=HPA_UP, down=DirectionRules(), now_s=now_s)
        return min(max(limited, self.terms.min_agents, 1), self.terms.max_agents)


@dataclass(slots=True)
class QueueKeda(UtilizationHpa):
    """KEDA on a queue whose length counts running tasks too, one task per slot and agent."""

    active_at_s: float = -math.inf
    asked_at_s: float = -math.inf

    @property
    def name(self) -> str:
        """Name and target."""
        return f"KEDA, queue {self.terms.concurrency} per agent"

    def desired(self, load: PoolLoad, *, now_s: float) -> int:
        """The HPA's answer from one agent on; KEDA itself wakes an empty pool and lets the last agent go."""
        if load.in_system:
            self.active_at_s = now_s
        if not load.total:
            polled = now_s - self.asked_at_s >= KEDA_POLLING_S
            self.asked_at_s = now_s if polled else self.asked_at_s
            return 1 if polled and load.in_system else 0
        wanted = self._limited(load, self._proposal(load), now_s)
        asleep = not self.terms.min_agents and now_s - self.active_at_s >= KEDA_COOLDOWN_S
        return 0 if asleep else wanted

    def _proposal(self, load: PoolLoad) -> int:
        per_agent = self.terms.concurrency
        length = load.in_system or 0
        if abs(length / (per_agent * load.total) - 1) <= HPA_TOLERANCE:
            return load.total
        return math.ceil(length / per_agent)
