"""What does one decision hand to the next?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agentpool_operator.decide.behavior import Change, Wish
from agentpool_operator.decide.demand import Drift, measure_drift
from agentpool_operator.decide.forecast import STEP_MIN, Forecast, make_forecast
from agentpool_operator.decide.history import History, record, seed
from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.work import Work, observed_work

UNKNOWN_STARTUP_S = 60.0
_IN_SYSTEM_WINDOW_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolState:
    """What one decision hands to the next. Only `history` and the times need to survive a restart."""

    history: History = field(default_factory=History)
    desired: int | None = None
    """Agents asked for last; ``None`` before the first decision."""
    last_scaled_at_s: float | None = None
    last_active_at_s: float | None = None
    """When work was last seen; ``None`` before the first task: the idle clock has not started."""
    woken_at_s: float | None = None
    wishes: tuple[Wish, ...] = ()
    changes: tuple[Change, ...] = ()
    in_system: tuple[tuple[float, int], ...] = ()
    work: Work | None = None
    drift: Drift | None = None
    forecast: Forecast | None = None


def remembered(state: PoolState, load: PoolLoad, now_s: float) -> PoolState:
    """The state with what this observation adds. A drift and a forecast are measured anew only when due."""
    state = _of_now(state, now_s)
    history = state.history
    if load.arrivals_per_min is not None:
        history = seed(history, load.arrivals_per_min, now_s=now_s)
    if load.arrivals_per_s is not None:
        history = record(history, load.arrivals_per_s, now_s=now_s)
    worked_s = now_s if load.has_work else _last_arrival_s(load, now_s)
    active = worked_s is not None and worked_s > (state.last_active_at_s or 0.0)
    idle_before = state.last_active_at_s is None or state.desired == 0
    # Of several passes over one reading the last counts, or a second pass would see another mean.
    in_system = tuple(seen for seen in state.in_system if 0 < now_s - seen[0] < _IN_SYSTEM_WINDOW_S)
    if load.in_system is not None:
        in_system = (*in_system, (now_s, load.in_system))
    work = observed_work(
        state.work,
        in_flight=None if load.partial else load.in_flight,
        queued=load.queued,
        arrived=_arrived(state.history, history, load),
        service_s=load.service_s,
        now_s=now_s,
    )
    startup_s = UNKNOWN_STARTUP_S if load.startup_s is None else load.startup_s
    minute = -1 if history.end_s is None else history.end_s // 60
    drift, forecast = state.drift, state.forecast
    if drift is None or drift.minute != minute:
        drift = measure_drift(history, startup_s=startup_s)
        if forecast is None or minute // STEP_MIN != forecast.minute // STEP_MIN:
            forecast = make_forecast(history) if minute % STEP_MIN == 0 or forecast is None else forecast
    return replace(
        state,
        history=history,
        last_active_at_s=worked_s if active else state.last_active_at_s,
        woken_at_s=now_s if active and idle_before else state.woken_at_s,
        in_system=in_system,
        work=work,
        drift=drift,
        forecast=forecast,
    )


def _of_now(state: PoolState, now_s: float) -> PoolState:
    """The state without times from the future: after a clock went back, what they tell of happened just now at the
    latest, or a cooldown would last until the clock has come there again."""
    return replace(
        state,
        last_scaled_at_s=_past(state.last_scaled_at_s, now_s),
        last_active_at_s=_past(state.last_active_at_s, now_s),
        woken_at_s=_past(state.woken_at_s, now_s),
    )


def _past(at_s: float | None, now_s: float) -> float | None:
    return None if at_s is None else min(at_s, now_s)


def _arrived(before: History, history: History, load: PoolLoad) -> float | None:
    """Tasks that came since the last observation; ``None`` where a part of that time is not in the report."""
    if load.arrivals_per_s is None or before.end_s is None or history.end_s is None:
        return None
    new_s = max(history.end_s - before.end_s, 0)
    if new_s > len(load.arrivals_per_s):
        return None
    return float(history.recent[-new_s:].sum()) if new_s else 0.0


def _last_arrival_s(load: PoolLoad, now_s: float) -> float | None:
    """When work last arrived, as far as the report reaches back."""
    for back, count in enumerate(reversed(load.arrivals_per_s or ())):
        if count > 0:
            return now_s - back
    return None


def changed(state: PoolState, policy: ScalingPolicy, agents: int, present: int, now_s: float) -> PoolState:
    """The state after a size was asked for; the time and the rates of change move only when it differs."""
    longest = max((rule.period_s for rules in (policy.up, policy.down) for rule in rules.policies), default=0.0)
    changes = tuple(change for change in state.changes if 0 <= now_s - change.at_s < longest)
    if agents == present:
        return replace(state, desired=agents, changes=changes)
    if longest:
        changes = (*changes, Change(now_s, agents - present))
    return replace(state, desired=agents, changes=changes, last_scaled_at_s=now_s)
