"""The product's own decision function for a replay simulator, with its default settings.

`factory()` returns an object with `period` (seconds), `name` and `observe(metrics) -> desired agents`. Nothing is tuned
per trace: bounds, concurrency, start-up time, measured service time and arrivals come from the simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.scaling import decide
from agentpool_operator.decide.state import PoolState


class AgentPoolScaler:
    """Decides every five seconds, as the operator does."""

    period = 5
    name = "agentpool Forecast"

    def __init__(self) -> None:
        self._state = PoolState()

    def observe(self, metrics: Mapping[str, Any]) -> int:
        """The size `decide` wants for the simulator's metrics."""
        known = metrics["arrivals_1s"]
        recent = [known[-age] for age in range(min(len(known), 2 * self.period), 0, -1)]
        load = PoolLoad(
            ready=metrics["ready"],
            starting=metrics["replicas"] - metrics["ready"],
            concurrency=metrics["concurrency"],
            in_flight=metrics["in_flight"],
            queued=metrics["queue"],
            utilization=metrics["utilisation"],
            arrivals_per_s=recent,
            arrivals_per_min=None if len(self._state.history.minutes) else metrics["arrivals_1m"],
            service_s=metrics["mean_service"],
            startup_s=metrics["startup_s"],
            oldest_wait_s=metrics["oldest_wait"],
        )
        policy = ScalingPolicy(min_agents=metrics["min"], max_agents=metrics["max"], target_wait_s=metrics["slo_wait"])
        decision = decide(policy, load, self._state, now_s=float(metrics["now"]))
        self._state = decision.state
        return decision.desired


def factory() -> AgentPoolScaler:
    """A scaler with the product's defaults."""
    return AgentPoolScaler()
