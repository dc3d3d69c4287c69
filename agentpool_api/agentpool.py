"""What is an AgentPool: its spec and status."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from agentpool_api.conditions import Condition
from agentpool_api.money import Usd
from agentpool_api.quantity import Duration
from agentpool_api.runtime_settings import DnsName, EnvName, RuntimeSettings
from agentpool_api.schema import ApiModel

Percent = Annotated[int, Field(ge=0, le=100)]
Agents = Annotated[int, Field(ge=0, le=10_000)]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
TimeZone = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", max_length=64),
    Field(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "self != 'Local' && timestamp('2026-01-01T00:00:00Z').getFullYear(self) > 0",
                    "message": "timeZone is no IANA time zone: use a name such as Europe/Berlin or UTC",
                }
            ]
        }
    ),
]
FreeForm = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]


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


class ScalingPolicyName(StrEnum):
    """What reads the load."""

    FORECAST = "Forecast"
    THRESHOLD = "Threshold"


class SelectPolicy(StrEnum):
    """Which of several rate policies binds: the one that allows most change, least change, or no change at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class RatePolicyType(StrEnum):
    """Unit of a rate policy."""

    PODS = "Pods"
    PERCENT = "Percent"


class Weekday(StrEnum):
    """A day of the week."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class EnvVar(ApiModel):
    """An environment variable of the agent's container, as in a Pod."""

    name: EnvName
    """Name of the variable."""
    value: Annotated[str, StringConstraints(max_length=32768)] | None = None
    """Its value; or else `valueFrom`."""
    value_from: FreeForm | None = None
    """Where the value comes from: a Secret, a ConfigMap or a field of the pod."""


class Agent(ApiModel):
    """What one agent is: the runtime alone, or a container of the user's beside it."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "has(self.image) || !(has(self.command) || has(self.args) || has(self.env) || has(self.port))",
            "command, args, env and port belong to a container of your own: set agent.image, or remove them",
        ),
        ("!has(self.port) || self.port != 8080", "port 8080 is the runtime's: give your container another port"),
    )

    image: Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\s]+$")] | None = None
    """Image of your agent. It runs beside the runtime, which it reaches by OPENAI_BASE_URL and OPENAI_API_KEY. Without
    an image the runtime itself is the agent."""
    command: Annotated[list[str], Field(max_length=64)] | None = None
    """Entry point in place of your image's."""
    args: Annotated[list[str], Field(max_length=64)] | None = None
    """Arguments in place of your image's."""
    env: Annotated[list[EnvVar], Field(max_length=256)] | None = None
    """Environment of your agent's container."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port your agent serves on; the pool's Service offers it as `agent`."""
    resources: FreeForm | None = None
    """Requests and limits of your agent's container, as in a Pod."""
    runtime_resources: FreeForm | None = None
    """Requests and limits of the runtime's container; 100m CPU, 128Mi to 512Mi of memory when absent."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Requests one agent works on at once; more wait in its queue."""
    drain_timeout: Duration = "30m"
    """How long a leaving agent may finish its work."""
    service_account_name: DnsName | None = None
    """ServiceAccount of the pods; `default` without rights when absent."""
    create_service_account: bool = False
    """Make a ServiceAccount named like the pool and run the pods as it."""
    pod_template: FreeForm | None = None
    """Metadata and spec laid over the pods' template, for node selectors, volumes and the like."""


class Threshold(ApiModel):
    """The threshold policy: a fixed step when utilisation leaves a band, then a rest."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "self.scaleDownPercent < self.scaleUpPercent",
            "scaleDownPercent must be below scaleUpPercent: lower the one or raise the other",
        ),
    )

    scale_up_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """Add agents at this utilisation or above."""
    scale_up_by: Annotated[int, Field(ge=1, le=1000)] = 2
    """Agents added in one step."""
    scale_down_percent: Annotated[int, Field(ge=0, le=99)] = 30
    """Remove agents at this utilisation or below."""
    scale_down_by: Annotated[int, Field(ge=1, le=1000)] = 1
    """Agents removed in one step."""
    cooldown: Duration = "5m"
    """No change of either direction for so long after a change."""


class RatePolicy(ApiModel):
    """How much the size may change within a period."""

    type: RatePolicyType
    """Unit of `value`: agents (`Pods`), or per cent of the size at the period's start."""
    value: Annotated[int, Field(ge=1, le=10_000)]
    """Most agents, or per cent, of change within the period."""
    period_seconds: Annotated[int, Field(ge=1, le=1800)]
    """Length of the period."""


class DirectionRules(ApiModel):
    """Limits of one direction, as in a HorizontalPodAutoscaler (autoscaling/v2)."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """An earlier wish holds for so long: shrinking goes no lower than the highest, growing no higher than the lowest
    wish of the window. Absent: 0 for growing, the pool's measured start-up time for shrinking."""
    tolerance_percent: Percent = 0
    """Changes of a smaller share of the size are not made."""
    select_policy: SelectPolicy = SelectPolicy.MAX
    """Which of the policies binds; `Disabled` forbids the direction."""
    policies: Annotated[list[RatePolicy], Field(max_length=16)] = []
    """How fast the size may change; without one, at once."""


class Behavior(ApiModel):
    """How fast the Forecast policy may change the size. Bounds, budgets and `replicas` act at once."""

    scale_up: DirectionRules = DirectionRules()
    """Limits of growing."""
    scale_down: DirectionRules = DirectionRules()
    """Limits of shrinking."""


class Schedule(ApiModel):
    """Bounds for a recurring window of local time. An end at or before the start lies on the next day."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "has(self.minAgents) || has(self.maxAgents)",
            "the schedule changes nothing: set its minAgents, its maxAgents or both",
        ),
        (
            "!has(self.minAgents) || !has(self.maxAgents) || self.minAgents <= self.maxAgents",
            "minAgents of the schedule is above its maxAgents: lower the one or raise the other",
        ),
        (
            "!has(self.days) || self.days.all(day, self.days.exists_one(other, other == day))",
            "days of the schedule names a day twice: name each once",
        ),
    )

    name: DnsName
    """Name, unique in the pool; decisions mention it."""
    time_zone: TimeZone = "UTC"
    """IANA time zone of the window, for example `Europe/Berlin`."""
    days: Annotated[list[Weekday], Field(min_length=1, max_length=7)] | None = None
    """Days on which the window begins; every day when absent."""
    start: TimeOfDay
    """Local time at which the window begins, for example `"08:00"`."""
    end: TimeOfDay
    """Local time at which it ends; equal to `start` it lasts a whole day."""
    min_agents: Agents | None = None
    """Fewest agents while the window is open."""
    max_agents: Agents | None = None
    """Most agents while the window is open."""


class Scaling(ApiModel):
    """How the number of agents follows the work."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "duration(self.targetWait) > duration('0s')",
            "targetWait is no time: set at least 100ms, for no number of agents makes every wait zero",
        ),
    )

    policy: ScalingPolicyName = ScalingPolicyName.FORECAST
    """`Forecast`: as many agents as the arrivals expected one start-up ahead need for `targetWait`, helped by a
    forecast of the next 24 hours while that has proven itself. `Threshold`: a fixed step when utilisation leaves a
    band, nothing else."""
    target_wait: Annotated[str, StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$", max_length=32)] = "2s"
    """A request may wait so long for a slot. Forecast policy only."""
    target_utilization_percent: Annotated[int, Field(ge=1, le=100)] = 95
    """Busy share of the slots that the expected load may reach at most. Forecast policy only."""
    threshold: Threshold = Threshold()
    """Figures of the Threshold policy."""
    behavior: Behavior = Behavior()
    """How fast the Forecast policy may change the size."""
    schedules: Annotated[
        list[Schedule],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = []
    """Windows of time with bounds of their own. While several are open the largest minimum and the largest maximum
    hold."""


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


class CapacityStatus(ApiModel):
    """Agents of one capacity type."""

    desired: int = 0
    ready: int = 0


class ForecastStatus(ApiModel):
    """The forecast of arrivals and its measured quality, one hour ahead over the last two days."""

    model: str
    """How the forecast is made."""
    horizon: str
    """How far it looks."""
    wape_percent: int
    """Weighted absolute percentage error."""
    coverage_percent: int
    """Share of the time that stayed under the stated upper bound; 90 is what it states."""
    ready: bool
    """It acts: it has been better than yesterday's values and than no change, and its bound holds what it states."""


class DecisionRecord(ApiModel):
    """One change of the pool's size, with what led to it."""

    at: str
    from_agents: int
    to_agents: int
    reason: str
    message: str
    inputs: str = ""
    """The figures it was made from."""
    hourly_cost_usd: str
    """What an hour costs after the change."""
    hourly_cost_change_usd: str
    """How much the change adds to an hour's cost; negative for a saving."""


class AgentPoolStatus(ApiModel):
    """What the operator last saw and decided."""

    observed_generation: int | None = None
    replicas: int = 0
    """Agents that exist, of both capacity types."""
    selector: str = ""
    """Label selector of the pool's pods, for the scale subresource."""
    desired_agents: int | None = None
    ready_agents: int = 0
    on_demand: CapacityStatus = CapacityStatus()
    spot: CapacityStatus = CapacityStatus()
    reason: str = ""
    """Reason of the last change of size."""
    hourly_cost_usd: str = "0.00"
    last_scale_time: str | None = None
    forecast: ForecastStatus | None = None
    """The forecast, once two and a half days of arrivals are known."""
    decisions: Annotated[list[DecisionRecord], Field(max_length=10)] = []
    """The last ten changes of size, newest first."""
    conditions: Annotated[
        list[Condition],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    ] = []
