"""What is an AgentPool: what its owner asks for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from agentpool_api.agent import Agent
from agentpool_api.fields import Agents, FreeForm, Percent
from agentpool_api.money import Usd
from agentpool_api.quantity import Duration
from agentpool_api.runtime_settings import RuntimeSettings
from agentpool_api.scaling import Scaling
from agentpool_api.schema import ApiModel


class PriorityClass(StrEnum):
    """What a budget may take from the pool first: NonEssential, then Deferrable and Standard, Critical last."""

    CRITICAL = "Critical"
    STANDARD = "Standard"
    DEFERRABLE = "Deferrable"
    NON_ESSENTIAL = "NonEssential"


class Pause(StrEnum):
    """Which direction of scaling is held."""

    NONE = "None"
    IN = "In"
    OUT = "Out"
    BOTH = "Both"


class Mode(StrEnum):
    """Whether decisions are carried out."""

    ENFORCE = "Enforce"
    PREVIEW = "Preview"


class Spot(ApiModel):
    """The share of agents that runs on spot capacity."""

    enabled: bool = True
    """Run a share of the agents on spot capacity."""
    percent: Percent = 70
    """Share of the agents on spot nodes, rounded to whole agents."""
    on_demand_base: Agents = 0
    """Agents that run on demand before the share is applied."""
    node_selector: Annotated[dict[str, str], Field(max_length=32)] | None = None
    """Labels of your spot nodes, all required. Without it the labels of Karpenter, EKS, GKE and AKS are preferred."""
    tolerations: Annotated[list[FreeForm], Field(max_length=32)] | None = None
    """Taints of your spot nodes; those of GKE and AKS are always tolerated."""
    fallback_after: Duration = "90s"
    """Spot agents that find no node for so long run on demand instead. Spot is tried again after 5 minutes, then ever
    more rarely, once an hour at last: with one agent first, then with more."""


class Cost(ApiModel):
    """What an hour of agents costs and may cost."""

    on_demand_per_hour: Usd = "0.50"
    """US dollars for an hour of one agent on demand."""
    spot_per_hour: Usd = "0.15"
    """US dollars for an hour of one agent on spot capacity."""
    target_per_hour: Usd = "10.00"
    """US dollars an hour of the whole pool should cost at most. The policy and the schedules stay below it; minAgents
    and `replicas` go before it. Raise it together with maxAgents."""


class AgentPoolSpec(ApiModel):
    """A pool of agents: what one agent is, how many may run, and how their number is chosen."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "self.minAgents <= self.maxAgents",
            "minAgents (2 unless set) is above maxAgents: lower minAgents or raise maxAgents",
        ),
        (
            "type(self.warmAgents) == string || self.warmAgents <= self.maxAgents",
            "warmAgents (3 unless set) is above maxAgents: lower warmAgents or raise maxAgents",
        ),
        (
            "type(self.warmAgents) == string ? self.warmAgents.matches('^(100|[1-9]?[0-9])%$') : self.warmAgents >= 0",
            "warmAgents is neither a count nor a share: write it like 3 or 10%",
        ),
        (
            "!has(self.scaling) || !has(self.scaling.schedules) || self.scaling.schedules.all(s, !has(s.minAgents) || "
            "has(s.maxAgents) || s.minAgents <= self.maxAgents)",
            "minAgents of a schedule is above the pool's maxAgents: set maxAgents in the schedule too",
        ),
        (
            "!has(self.scaling) || !has(self.scaling.schedules) || self.scaling.schedules.all(s, !has(s.maxAgents) || "
            "has(s.minAgents) || s.maxAgents >= self.minAgents)",
            "maxAgents of a schedule is below the pool's minAgents: set minAgents in the schedule too",
        ),
        (
            "!has(self.spot) || self.spot.onDemandBase <= self.maxAgents",
            "spot.onDemandBase is above maxAgents: lower it or raise maxAgents",
        ),
        (
            "has(self.agent.image) || (has(self.runtime) && has(self.runtime.models) && size(self.runtime.models) > 0)",
            "the pool has nothing to run: name a model in runtime.models, or set agent.image",
        ),
    )

    min_agents: Agents = 2
    """Fewest agents, whatever the load. Only a budget may go below."""
    max_agents: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Most agents, whatever the load."""
    warm_agents: Annotated[
        int | str,
        Field(
            json_schema_extra={
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": True,
            }
        ),
    ] = 3
    """Agents a pool starts with, and wakes with: a number, or a share of maxAgents such as `10%`. They are kept until
    the pool knows `idleTimeout` of its own arrivals; from then on those say how many agents it needs."""
    idle_timeout: Duration = "30m"
    """Without work for so long, the pool rests at minAgents. Until then one agent stays at least."""
    replicas: Agents | None = None
    """Number of agents set from outside through the scale subresource (`kubectl scale`, an HPA). While present it
    takes the place of the scaling policy, within minAgents, maxAgents and the budget. Remove it to hand control back.
    """
    priority_class: PriorityClass = PriorityClass.STANDARD
    """What a budget may take from this pool, and when."""
    pause: Pause = Pause.NONE
    """Hold scaling in, out, or both. A budget still acts."""
    mode: Mode = Mode.ENFORCE
    """`Preview` decides and publishes what it would do, and writes no workload: agents stay as they are."""
    agent: Agent = Agent()
    scaling: Scaling = Scaling()
    spot: Spot = Spot()
    cost: Cost = Cost()
    runtime: RuntimeSettings = RuntimeSettings()
