"""On which terms is a pool replayed, and what came of it?"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from agentpool_operator.plan.tasks import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTerms:
    """What does not depend on the rule. Times are seconds."""

    concurrency: int
    min_agents: int
    max_agents: int
    startup_s: float
    drain_timeout_s: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What came of one replay."""

    rule: str
    wait_s: Floats
    """Of every task; one that still waits at the end has waited until then."""
    ended: int
    cut: frozenset[int]
    """Tasks that outlived their leaving agent's drain timeout."""
    in_service: int
    waiting: int
    held_s: dict[int, float]
    """Seconds for which the pool was paid for each number of agents."""
    scale_events: int
    agents_by_s: array[int]
    waiting_by_s: array[int]

    @property
    def agent_hours(self) -> float:
        """Paid agents × hours."""
        return sum(agents * seconds for agents, seconds in self.held_s.items()) / 3600

    @property
    def p99_wait_s(self) -> float:
        """Wait that one task of a hundred exceeds; 0 without a task."""
        return float(np.percentile(self.wait_s, 99)) if len(self.wait_s) else 0.0

    def late_share(self, target_wait_s: float) -> float:
        """Share of the tasks that waited longer or were cut; 0 without a task."""
        if not len(self.wait_s):
            return 0.0
        late = self.wait_s > target_wait_s
        late[list(self.cut)] = True
        return float(late.mean())
