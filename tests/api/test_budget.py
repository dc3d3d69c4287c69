"""A budget on a real API server and a real Redis: what it counts, does and undoes."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from agentpool_api import keys
from agentpool_api.wire import BudgetNotice
from tests.api.pools import Budget, Pool
from tests.api.support import LOADED, Cluster, Operator, Redis, now_s, rest, until, watch

USD = 1_000_000_000
SAVING = ["AggressiveCaching", "BatchRequests", "CheaperModels"]


@pytest.fixture
def budget(cluster: Cluster, namespace: str) -> Budget:
    return Budget(cluster, namespace)


@pytest.fixture
def spend(redis_server: Redis, namespace: str):
    """Spend US dollars on tokens, as the runtimes write it down; returns when."""

    def spend(usd: float, pool: str = "research") -> float:
        field = f"{keys.spend_bucket(now_s())}:tokens"
        redis_server.client.hincrby(keys.spend(namespace, pool), field, round(usd * USD))
        return time.monotonic()

    return spend


def test_a_crossed_limit_is_told_and_acted_upon_in_seconds_and_undone(
    operator: Operator, pool: Pool, budget: Budget, agents, spend, redis_server: Redis
):
    pool.apply().wait_ready()
    budget.apply(limits={"daily": "10"})
    budget.wait_level("Normal")

    began = spend(9.6)
    budget.wait_condition("ScaleDown", "True", "ThresholdReached")
    told_s = time.monotonic() - began
    print(f"threshold crossed to condition: {told_s:.1f} s")
    assert told_s < 3 * LOADED
    pool.wait_replicas(1, 1)
    pool.wait_condition("BudgetLimited", "True", "ScaleDown")
    told = keys.budget_notice(pool.namespace, "research")
    wanted = BudgetNotice(left_percent=4, actions=SAVING).model_dump_json()
    until(lambda: redis_server.client.get(told) == wanted, "the agents to be told")
    assert {budget.condition(action) for action in SAVING} == {("True", "ThresholdReached")}

    began = spend(0.5)
    budget.wait_condition("EmergencyShutdown", "True", "ThresholdReached")
    pool.wait_replicas(0, 0)
    print(f"limit reached to no agent wanted: {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 3 * LOADED
    pool.wait_condition("Ready", "True", "ScaledToZero")
    assert budget.condition("WithinBudget") == ("False", "LimitReached")

    budget.apply(limits={"daily": "100"})
    budget.wait_level("Normal")
    pool.wait_replicas(1, 2)
    pool.wait_condition("BudgetLimited", "False", "WithinBudget")

    def alerts() -> list[int]:
        return sorted(int(event["note"].split()[0]) for event in budget.events() if event["reason"] == "BudgetAlert")

    until(lambda: alerts() == [50, 80, 90, 100], "all alerts", seen=alerts)
    assert [d["reason"] for d in pool.status["decisions"]][1:3] == ["BudgetCeiling", "BudgetCeiling"]


def test_what_a_budget_takes_depends_on_the_priority(operator, cluster, namespace, budget: Budget, spend):
    pools = {
        priority: Pool(cluster, namespace, priority.lower()).apply(priorityClass=priority)
        for priority in ("Critical", "Standard", "Deferrable", "NonEssential")
    }
    for pool in pools.values():
        pool.wait_ready()
    budget.apply(limits={"monthly": "10"})
    spend(9.6, "critical")
    budget.wait_level("ScaleDown")
    pools["Standard"].wait_replicas(1, 1)
    pools["Deferrable"].wait_replicas(1, 1)
    pools["NonEssential"].wait_replicas(0, 0)
    assert pools["Critical"].replicas() == (1, 2)
    spend(1, "standard")
    for pool in pools.values():
        pool.wait_replicas(0, 0)


@pytest.mark.slow
def test_agents_time_is_charged_by_capacity_type_exactly_once(start, pool: Pool, budget, redis_server, namespace):
    operator = start()
    pool.apply(cost={"onDemandPerHour": "3600", "spotPerHour": "360", "targetPerHour": "10000"}).wait_ready()
    until(lambda: pool.status["readyAgents"] == 3, "all agents")
    started_ms, price_usd_per_s = {}, {"on-demand": 1.0, "spot": 0.1}
    for pod in pool.cluster.items(f"/api/v1/namespaces/{namespace}/pods"):
        started_ms[pod["metadata"]["uid"]] = (
            datetime.fromisoformat(pod["status"]["startTime"]).timestamp() * 1000,
            price_usd_per_s[pod["metadata"]["labels"]["agentpool.dev/capacity-type"]],
        )

    def spent() -> float:
        """What was charged; it is what the time costs that counts as charged, to the millisecond."""
        pipe = redis_server.client.pipeline(transaction=True)
        amounts, until_ms = (
            pipe.hvals(keys.spend(namespace, "research")).hgetall(keys.charged_until(namespace, "research")).execute()
        )
        usd = sum(map(int, amounts)) / USD
        times = [(int(end) - started_ms[uid][0], started_ms[uid][1]) for uid, end in until_ms.items()]
        assert usd == pytest.approx(sum(ms / 1000 * price for ms, price in times))
        assert all(int(end) <= now_s() * 1000 for end in until_ms.values())
        return usd

    until(lambda: spent() > 4, "four dollars")
    operator.process.kill()
    operator.process.wait()
    down = spent()
    time.sleep(3)
    assert spent() == down
    start()
    until(lambda: spent() > down + 3, "what passed meanwhile")


def test_a_budget_that_selects_nothing_says_so(operator: Operator, budget: Budget, pool: Pool):
    budget.apply(limits={"daily": "10"})
    budget.wait_condition("Ready", "False", "NoPoolsSelected")
    assert budget.status["pools"] == 0
    pool.apply()
    budget.wait_condition("Ready", "True", "PoolsSelected")


def test_overlapping_budgets_all_apply_and_the_tightest_wins(operator, pool: Pool, cluster, namespace, spend):
    pool.apply().wait_ready()
    wide, tight = Budget(cluster, namespace, "wide"), Budget(cluster, namespace, "tight")
    wide.apply(limits={"daily": "1000"}, selector={})
    tight.apply(limits={"daily": "10"})
    spend(11)
    tight.wait_level("EmergencyShutdown")
    wide.wait_level("Normal")
    pool.wait_replicas(0, 0)
    cluster.delete(tight.path)
    pool.wait_replicas(1, 2)


def test_redis_that_freezes_holds_levels_and_sizes_and_recovers(
    operator: Operator, pool: Pool, budget: Budget, redis_server: Redis, agents, spend
):
    pool.apply().wait_ready()
    budget.apply(limits={"daily": "10"})
    spend(9.6)
    budget.wait_level("ScaleDown")
    pool.wait_replicas(1, 1)
    redis_server.freeze()
    try:
        budget.wait_condition("LedgerAvailable", "False", "RedisUnavailable")
        pool.wait_condition("MetricsAvailable", "False", "RedisUnavailable")
        # Passes go on: a change of the spec is still taken in.
        pool.apply(maxAgents=19)
        until(lambda: pool.status["observedGeneration"] == pool.body["metadata"]["generation"], "the new spec")
        assert (budget.status["level"], pool.replicas()) == ("ScaleDown", (1, 1))
    finally:
        redis_server.thaw()
    budget.wait_condition("LedgerAvailable", "True", "LedgerReadable")
    pool.wait_condition("MetricsAvailable", "True", "HeartbeatsFresh")
    assert budget.status["level"] == "ScaleDown"


def test_redis_that_loses_its_data_is_restored_from_the_status(
    operator: Operator, pool: Pool, budget: Budget, redis_server: Redis, spend
):
    pool.apply().wait_ready()
    budget.apply(limits={"daily": "10"})
    spend(9.6)
    budget.wait_level("ScaleDown")
    redis_server.kill()
    budget.wait_condition("LedgerAvailable", "False", "RedisUnavailable")
    redis_server.start()
    spend(0.2)
    budget.wait_condition("LedgerAvailable", "True", "RestoredFromStatus")
    assert budget.status["level"] == "ScaleDown"
    assert float(budget.status["windows"][0]["spent"]) >= 9.8
    assert float(budget.status["windows"][0]["carried"]) >= 9.6
    spend(0.3)
    budget.wait_level("EmergencyShutdown")


def test_a_deleted_pool_does_not_free_what_it_spent(operator, pool: Pool, cluster, namespace, budget: Budget, spend):
    other = Pool(cluster, namespace, "other").apply()
    pool.apply().wait_ready()
    budget.apply(limits={"daily": "10"})
    spend(9.6)
    budget.wait_level("ScaleDown")
    cluster.delete(pool.path)
    until(lambda: budget.status["pools"] == 1, "the pool to be gone")
    time.sleep(4)
    assert budget.status["level"] == "ScaleDown"
    spend(0.5, "other")
    budget.wait_level("EmergencyShutdown")
    until(lambda: other.condition("BudgetLimited") == ("True", "EmergencyShutdown"), "the other pool to follow")


def test_another_selector_counts_anew(operator: Operator, pool: Pool, budget: Budget, spend):
    pool.apply().wait_ready()
    budget.apply(limits={"daily": "10"})
    spend(11)
    budget.wait_level("EmergencyShutdown")
    budget.apply(limits={"daily": "10"}, selector={"matchLabels": {"team": "b"}})
    budget.wait_level("Normal")
    pool.wait_replicas(1, 2)


def test_money_that_moves_slowly_is_not_written_every_pulse(start, pool: Pool, budget: Budget, cluster, user, spend):
    operator = start(AGENTPOOL_PERIOD="0.5s")
    pool.apply(cost={"onDemandPerHour": "0.01", "spotPerHour": "0.01"}).wait_ready()
    budget.apply(limits={"monthly": "1000000"})
    budget.wait_condition("Ready", "True", "PoolsSelected")
    rest(operator)
    before = len([w for w in cluster.writes(user) if "costbudgets" in w])
    for _ in range(10):
        spend(0.01)
        time.sleep(0.5)
    assert len([w for w in cluster.writes(user) if "costbudgets" in w]) == before


def test_events_of_a_budget_are_told_once(operator: Operator, pool: Pool, budget: Budget, spend):
    pool.apply().wait_ready()
    budget.apply(limits={"daily": "10"})
    budget.wait_level("Normal")

    def told() -> list[int]:
        return sorted(int(event["note"].split()[0]) for event in budget.events() if event["reason"] == "BudgetAlert")

    for usd, percents in ((5.1, [50]), (3.0, [50, 80]), (1.0, [50, 80, 90])):
        spend(usd)
        until(lambda percents=percents: told() == percents, f"alerts {percents}", seen=told)
    watch(operator, 4, 2)
    assert told() == [50, 80, 90]
