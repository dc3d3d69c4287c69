from dataclasses import replace
from datetime import UTC, datetime

from agentpool_api.costbudget import WindowStatus
from agentpool_api.periods import WindowName
from agentpool_operator.decide.budget import WindowSpend
from agentpool_operator.decide.budget_windows import CarriedRecord, carry

USD = 1_000_000_000
RESET = datetime(2026, 11, 22, tzinfo=UTC)
KEY = "daily:20261121T000000Z"
RECORD = CarriedRecord(selector="s")


def counted(usd):
    return WindowSpend(
        name=WindowName.DAILY,
        key=KEY,
        resets_at=RESET,
        limit_nanousd=100 * USD,
        agents_nanousd=0,
        tokens_nanousd=round(usd * USD),
    )


def written(usd, resets_at="2026-11-22T00:00:00Z", agents="0"):
    return WindowStatus(
        name="daily",
        limit="100.00",
        spent=usd,
        agents=agents,
        tokens=usd,
        percent=0,
        burn_rate_per_hour="0",
        resets_at=resets_at,
    )


def spent(outcome):
    return outcome.windows[0].spent_nanousd


def test_nothing_is_carried_while_redis_shows_all():
    outcome = carry([counted(7)], RECORD, [written("6.9000")], selector="s")
    assert spent(outcome) == 7 * USD
    assert outcome.record == RECORD


def test_rounding_in_the_status_is_no_loss():
    outcome = carry([counted(6.99995)], RECORD, [written("7.0000")], selector="s")
    assert outcome.record == RECORD


def test_a_pool_that_left_does_not_take_its_spend_along():
    outcome = carry([counted(2)], RECORD, [written("7.0000")], selector="s")
    assert spent(outcome) == 7 * USD
    assert outcome.record.amounts == {KEY: 5 * USD}
    assert outcome.record.lost_until_s == 0


def test_what_is_carried_stays_and_new_spend_comes_on_top():
    held = CarriedRecord(selector="s", amounts={KEY: 5 * USD})
    outcome = carry([counted(3)], held, [written("7.0000")], selector="s")
    assert spent(outcome) == 8 * USD
    assert outcome.record == held


def test_after_redis_lost_its_data_the_status_is_restored_and_the_loss_is_told():
    outcome = carry([counted(0)], CarriedRecord(), [written("7.0000")], selector="s")
    assert spent(outcome) == 7 * USD
    assert outcome.record.lost_until_s == int(RESET.timestamp())


def test_what_is_spent_between_the_loss_and_its_discovery_counts_on_top():
    outcome = carry([counted(0.5)], CarriedRecord(), [written("7.0000")], selector="s")
    assert spent(outcome) == 7.5 * USD


def test_after_a_loss_the_time_of_living_agents_does_not_count_twice():
    window = replace(counted(0.5), agents_nanousd=2 * USD)  # charged anew from the agents' start
    outcome = carry([window], CarriedRecord(), [written("7.0000", agents="3.0000")], selector="s")
    assert outcome.record.amounts == {KEY: 5 * USD}
    assert spent(outcome) == 7.5 * USD


def test_a_budget_that_spent_nothing_has_lost_nothing():
    assert carry([counted(0)], CarriedRecord(), [written("0.00")], selector="s").record == RECORD


def test_a_window_that_is_over_is_not_carried():
    outcome = carry([counted(0)], RECORD, [written("7.0000", resets_at="2026-11-21T00:00:00Z")], selector="s")
    assert spent(outcome) == 0


def test_another_selector_counts_anew():
    held = CarriedRecord(selector="s", amounts={KEY: 5 * USD})
    outcome = carry([counted(1)], held, [written("7.0000")], selector="t")
    assert spent(outcome) == USD
    assert outcome.record == CarriedRecord(selector="t")


def test_a_new_budget_carries_nothing():
    outcome = carry([counted(3)], CarriedRecord(), [], selector="s")
    assert spent(outcome) == 3 * USD
    assert outcome.record == RECORD


def test_a_record_survives_redis():
    held = CarriedRecord(selector="s", amounts={KEY: 5}, lost_until_s=9)
    assert CarriedRecord.parse(held.fields()) == held
    assert CarriedRecord.parse({"selector": "s", "x": "not a number"}) == RECORD
