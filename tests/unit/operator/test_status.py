from datetime import UTC, datetime, timedelta

from agentpool_api.costbudget import CostBudgetStatus
from agentpool_api.periods import WindowName
from agentpool_api.pool_status import AgentPoolStatus
from agentpool_api.wire import BudgetAction
from agentpool_operator.act.events import budget_occurrences, make_event, pool_occurrences
from agentpool_operator.decide.budget import BudgetLevel, BudgetPolicy, WindowSpend
from agentpool_operator.decide.budget_status import BudgetFacts, decide_budget_status, is_worth_writing
from agentpool_operator.decide.facts import CapacityFacts, PoolFacts
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.pool_conditions import decide_pool_conditions
from agentpool_operator.decide.pool_status import decide_pool_status
from agentpool_operator.decide.reasons import Reason
from agentpool_operator.decide.split import CapacitySplit
from agentpool_operator.decide.spot import SpotState
from tests.unit.operator.make import make_decision

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
USD = 1_000_000_000
POLICY = BudgetPolicy()


def pool_status(before, desired, *, ready=3, now=NOW):
    facts = PoolFacts(
        generation=1,
        on_demand=CapacityFacts(existing=1, ready=min(ready, 1), current=True),
        spot=CapacityFacts(existing=2, ready=max(ready - 1, 0), current=True),
        spot_enabled=True,
        redis_up=True,
        metrics_available=True,
    )
    inputs = {"arrivals_per_s": 1.5, "service_s": 2.0}
    decision = make_decision(
        desired, reason=Reason.UTILIZATION_HIGH, split=CapacitySplit(1, desired - 1), inputs=inputs
    )
    policy = ScalingPolicy(min_agents=2, max_agents=20)
    conditions = decide_pool_conditions(before.conditions, facts, policy, decision, None, SpotState(), now=now)
    return decide_pool_status(
        before,
        facts,
        policy,
        decision,
        conditions,
        selector="s",
        now=now,
    )


def test_a_change_of_size_is_recorded_with_its_cost():
    first = pool_status(AgentPoolStatus(), 3)
    (record,) = first.decisions
    assert (record.from_agents, record.to_agents, record.reason) == (0, 3, "UtilizationHigh")
    assert (record.hourly_cost_usd, record.hourly_cost_change_usd) == ("0.80", "0.80")
    assert record.inputs == "1.5 requests/s, 2 s each"
    second = pool_status(first, 5)
    assert second.decisions[0].hourly_cost_change_usd == "0.30"
    assert second.last_scale_time == "2026-11-21T12:00:00Z"


def test_a_second_pass_over_the_same_world_changes_nothing():
    first = pool_status(AgentPoolStatus(), 3)
    assert pool_status(first, 3, now=NOW + timedelta(hours=2)) == first


def test_the_last_ten_decisions_are_kept():
    status = AgentPoolStatus()
    for desired in range(3, 18):
        status = pool_status(status, desired)
    assert [d.to_agents for d in status.decisions] == list(range(17, 7, -1))


def test_events_tell_transitions_and_nothing_else():
    first = pool_status(AgentPoolStatus(), 3, ready=0)
    assert [o.reason for o in pool_occurrences(AgentPoolStatus(), first)] == ["Scaled"]
    serving = pool_status(first, 3)
    assert [(o.reason, o.warning) for o in pool_occurrences(first, serving)] == [("AgentsReady", False)]
    assert pool_occurrences(serving, serving) == []


def test_an_event_told_twice_has_the_same_name():
    body = {"apiVersion": "v", "kind": "AgentPool", "metadata": {"name": "p", "namespace": "n", "uid": "u"}}
    (scaled,) = pool_occurrences(AgentPoolStatus(), pool_status(AgentPoolStatus(), 3, ready=0))
    names = {
        make_event(body, scaled, instance="i", now=NOW + timedelta(seconds=s))["metadata"]["name"] for s in range(2)
    }
    assert len(names) == 1


def window(usd, limit=100):
    return WindowSpend(
        name=WindowName.DAILY,
        key="daily:x",
        resets_at=NOW + timedelta(hours=12),
        limit_nanousd=limit * USD,
        agents_nanousd=0,
        tokens_nanousd=round(usd * USD),
    )


def budget_status(before, usd, *, level=BudgetLevel.NORMAL, limit=100, now=NOW, **changes):
    windows = None if usd is None else (window(usd, limit),)
    facts = BudgetFacts(**({"generation": 1, "pools": 1, "level": level, "windows": windows} | changes))
    return decide_budget_status(before, facts, POLICY, now=now)


def condition(status, type_):
    (found,) = [c for c in status.conditions if c.type == type_]
    return found.status, found.reason


EMPTY = CostBudgetStatus()


def test_a_budget_tells_its_fullest_window():
    status = budget_status(EMPTY, 62.5)
    assert (status.window, status.spent, status.percent, status.level) == ("daily", "62.50 / 100.00", 62, "Normal")
    assert status.windows[0].alerted_percent == 50


def test_a_budget_that_selects_nothing_says_so():
    assert condition(budget_status(EMPTY, 0, pools=0), "Ready") == ("False", "NoPoolsSelected")


def test_a_budget_without_a_ledger_holds_everything():
    known = budget_status(EMPTY, 97, level=BudgetLevel.SCALE_DOWN)
    lost = budget_status(known, None, level=BudgetLevel.SCALE_DOWN)
    assert condition(lost, "LedgerAvailable") == ("False", "RedisUnavailable")
    assert lost.windows == known.windows
    assert condition(lost, "ScaleDown") == ("True", "ThresholdReached")
    assert condition(budget_status(EMPTY, None), "WithinBudget") == ("Unknown", "NotCounted")


def test_a_restored_budget_says_so():
    assert condition(budget_status(EMPTY, 1, restored=True), "LedgerAvailable") == ("True", "RestoredFromStatus")


def test_actions_in_force_are_conditions_and_events():
    before = budget_status(EMPTY, 70)
    after = budget_status(before, 85, actions=frozenset({BudgetAction.CHEAPER_MODELS}))
    assert condition(after, "CheaperModels") == ("True", "ThresholdReached")
    assert condition(after, "BatchRequests") == ("False", "BelowThreshold")
    notes = [occurrence.note for occurrence in budget_occurrences(before, after, POLICY)]
    assert any(note.startswith("CheaperModels is True") for note in notes)
    held = budget_status(after, None, actions=frozenset({BudgetAction.CHEAPER_MODELS}))
    assert condition(held, "CheaperModels") == ("True", "ThresholdReached")


def test_a_reached_limit_is_told():
    status = budget_status(EMPTY, 100, level=BudgetLevel.EMERGENCY_SHUTDOWN)
    assert condition(status, "WithinBudget") == ("False", "LimitReached")
    assert condition(status, "EmergencyShutdown") == ("True", "ThresholdReached")


def worth(before, after, since_s):
    return is_worth_writing(before, after, written_s=NOW.timestamp(), now_s=NOW.timestamp() + since_s)


def test_small_change_is_written_once_a_minute():
    before, after = budget_status(EMPTY, 10), budget_status(budget_status(EMPTY, 10), 10.5)
    assert not worth(before, after, 59)
    assert worth(before, after, 60)
    assert not worth(before, before, 3600)


def test_a_per_cent_or_a_fact_is_written_at_once():
    before = budget_status(EMPTY, 10)
    assert worth(before, budget_status(before, 11), 0)
    assert worth(before, budget_status(before, 10.1, level=BudgetLevel.SCALE_DOWN), 0)
    assert worth(before, budget_status(before, None), 0)


def test_a_threshold_is_told_once_per_window_and_limit():
    crossed = budget_status(EMPTY, 85)
    told = budget_occurrences(EMPTY, crossed, POLICY)
    assert [o.note.split()[0] for o in told if o.reason == "BudgetAlert"] == ["50", "80"]
    assert not [o for o in budget_occurrences(crossed, budget_status(crossed, 86), POLICY) if o.reason == "BudgetAlert"]
    raised = budget_status(crossed, 86, limit=1000)
    again = budget_status(raised, 850, limit=1000)
    names = {o.identity for o in budget_occurrences(raised, again, POLICY)}
    assert names.isdisjoint({o.identity for o in told})
