"""How many of a pool's agents run on demand, how many on spot, and what does an hour of them cost?

Integers throughout: a share is held in parts per million and prices in nano-USD, so no size loses or gains an agent to
rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

PARTS = 1_000_000


@dataclass(frozen=True, slots=True)
class CapacitySplit:
    """Agents per capacity type."""

    on_demand: int
    spot: int

    @property
    def total(self) -> int:
        """Agents of both types."""
        return self.on_demand + self.spot


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotPolicy:
    """Share of the agents above `on_demand_base` that may run on spot, in parts per million."""

    enabled: bool = True
    spot_share_ppm: int = 700_000
    on_demand_base: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPrices:
    """Price of one agent for one hour, in nano-USD, per capacity type."""

    on_demand_nanousd: int = 500_000_000
    spot_nanousd: int = 150_000_000


def share_ppm(share: Decimal | float | str) -> int:
    """A share in [0, 1] as parts per million. Raises ValueError outside of it."""
    value = Decimal(str(share))
    if not value.is_finite() or not 0 <= value <= 1:
        raise ValueError(f"a share must be between 0 and 1, not {share}")
    return int((value * PARTS).to_integral_value(ROUND_HALF_EVEN))


def split_capacity(total: int, policy: SpotPolicy, *, spot_limit: int | None = None) -> CapacitySplit:
    """Exactly `total` agents as on-demand and spot.

    The first `on_demand_base` agents are on-demand; of the rest `spot_share_ppm` are spot, rounded down, so that the
    rounding favours the capacity that stays. Neither part shrinks when the total grows. Example: 5 agents, base 0,
    share .7 → 3.5 rounds to 3 spot and 2 on-demand. Spot agents beyond `spot_limit` (``None``: no limit) run on demand.
    """
    total = max(total, 0)
    if not policy.enabled:
        return CapacitySplit(on_demand=total, spot=0)
    above_base = max(total - max(policy.on_demand_base, 0), 0)
    spot = above_base * min(max(policy.spot_share_ppm, 0), PARTS) // PARTS
    if spot_limit is not None:
        spot = min(spot, max(spot_limit, 0))
    return CapacitySplit(on_demand=total - spot, spot=spot)


def hourly_cost_nanousd(split: CapacitySplit, prices: AgentPrices) -> int:
    """What an hour of these agents costs, in nano-USD."""
    return split.on_demand * prices.on_demand_nanousd + split.spot * prices.spot_nanousd


def affordable_agents(
    target_nanousd_per_h: int, policy: SpotPolicy, prices: AgentPrices, *, spot_limit: int | None = None, limit: int
) -> int:
    """Most agents, at most `limit`, whose hour costs no more than the target. More money never gives fewer agents."""
    low, high = 0, max(limit, 0)
    while low < high:
        middle = (low + high + 1) // 2
        cost = hourly_cost_nanousd(split_capacity(middle, policy, spot_limit=spot_limit), prices)
        low, high = (middle, high) if cost <= target_nanousd_per_h else (low, middle - 1)
    return low
