"""How does a plan read in a terminal?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentpool_api.money import NANO_PER_USD, usd
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.split import AgentPrices, SpotPolicy, hourly_cost_nanousd, split_capacity
from agentpool_operator.plan.outcome import Outcome, PoolTerms
from agentpool_operator.plan.tasks import Tasks, offered_agents

MS_PER_HOUR = 3_600_000
HEADER = ("rule", "agent hours", "cost USD", "late %", "p99 wait s", "scale events", "cut")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule's figures. Every rule buys agents at the pool's prices and spot share."""

    rule: str
    agent_hours: float
    cost_nanousd: int
    late_share: float
    p99_wait_s: float
    scale_events: int
    cut: int


def cost_nanousd(outcome: Outcome, spot: SpotPolicy, prices: AgentPrices) -> int:
    """What the paid agents cost, to the millisecond, while spot capacity is to be had."""
    total = sum(
        hourly_cost_nanousd(split_capacity(agents, spot), prices) * round(seconds * 1000)
        for agents, seconds in outcome.held_s.items()
    )
    return total // MS_PER_HOUR


def row(outcome: Outcome, policy: ScalingPolicy) -> Row:
    """The figures of an outcome under the pool's wait target and prices."""
    return Row(
        rule=outcome.rule,
        agent_hours=outcome.agent_hours,
        cost_nanousd=cost_nanousd(outcome, policy.spot, policy.prices),
        late_share=outcome.late_share(policy.target_wait_s),
        p99_wait_s=outcome.p99_wait_s,
        scale_events=outcome.scale_events,
        cut=len(outcome.cut),
    )


def heading(pool: str, trace: str, tasks: Tasks, policy: ScalingPolicy, terms: PoolTerms) -> str:
    """What was replayed, on what."""
    mean = tasks.mean_service_s
    traffic = f"{len(tasks.arrival_s):,} tasks" + (f" of {mean:.1f} s on average" if mean else "")
    slots = "task" if terms.concurrency == 1 else "tasks"
    prices = policy.prices
    lines = [
        f"{pool}: {terms.min_agents} to {terms.max_agents} agents of {terms.concurrency} {slots}, "
        f"{terms.startup_s:g} s to start, {usd(prices.on_demand_nanousd)} USD an hour on demand, "
        f"{usd(prices.spot_nanousd)} on spot",
        f"{trace}: {traffic} in {duration(tasks.duration_s)}",
    ]
    peak = offered_agents(tasks, concurrency=terms.concurrency).max() if mean else 0.0
    if peak > terms.max_agents:
        lines.append(
            f"The busiest minute has work for {peak:.1f} agents, above maxAgents {terms.max_agents}: tasks wait under "
            "every rule"
        )
    return "\n".join(lines)


def table(rows: Sequence[Row], *, target_wait_s: float) -> str:
    """The rules side by side, one line each."""
    cells = [HEADER, *(_cells(entry) for entry in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return "\n".join([*lines, f"late: waited over {target_wait_s:g} s, or cut when its agent had to go"])


def _cells(entry: Row) -> tuple[str, ...]:
    return (
        entry.rule,
        f"{entry.agent_hours:,.2f}",
        f"{entry.cost_nanousd / NANO_PER_USD:.2f}",
        f"{100 * entry.late_share:.2f}",
        f"{entry.p99_wait_s:.1f}",
        f"{entry.scale_events:,}",
        f"{entry.cut:,}",
    )


def duration(seconds: float) -> str:
    """A length of time in its largest sensible unit."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} seconds"
