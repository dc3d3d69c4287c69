import itertools

from hypothesis import given
from hypothesis import strategies as st

from agentpool_api.keys import SPEND_RETENTION_S
from agentpool_operator.decide.charges import FORGET_MS, Charge, PodTime, bucket_amounts, plan_charges
from agentpool_operator.decide.split import AgentPrices
from agentpool_operator.observe.pod_times import observe_pod_times
from tests.unit.operator.make import heartbeat, pod

HOUR = 3_600_000
PRICE = 500_000_000
NOW = 1000 * HOUR
PRICES = AgentPrices()


def time(**changes):
    known = {
        "uid": "u",
        "name": "p",
        "price_nanousd_per_h": PRICE,
        "begins_ms": NOW - HOUR,
        "ends_ms": NOW,
        "runs": True,
    }
    return PodTime(**(known | changes))


def total(charges):
    return sum(amount for charge in charges for _, amount in charge.amounts)


def test_a_pod_costs_from_its_start():
    (charge,) = plan_charges([time()], {}, now_ms=NOW)
    assert total([charge]) == PRICE
    assert (charge.charged_ms, charge.until_ms) == (None, NOW)


def test_a_pod_is_charged_from_where_it_was_charged_last():
    (charge,) = plan_charges([time()], {"u": NOW - HOUR // 2}, now_ms=NOW)
    assert total([charge]) == PRICE // 2
    assert charge.charged_ms == NOW - HOUR // 2


def test_a_stretch_is_split_at_the_quarter_hours():
    (charge,) = plan_charges([time(begins_ms=NOW - HOUR // 2)], {}, now_ms=NOW)
    assert [amount for _, amount in charge.amounts] == [PRICE // 4, PRICE // 4]
    assert [bucket % 900 for bucket, _ in charge.amounts] == [0, 0]


def test_a_clock_that_went_back_charges_nothing():
    assert plan_charges([time()], {"u": NOW + HOUR}, now_ms=NOW) == []


def test_a_pod_that_died_meanwhile_is_charged_up_to_its_last_word():
    dead = time(ends_ms=NOW - HOUR // 2 + 1, runs=False)
    (charge,) = plan_charges([dead], {"u": NOW - HOUR}, now_ms=NOW)
    assert abs(total([charge]) - PRICE // 2) < 1000
    assert charge.until_ms is None


def test_a_pod_just_gone_is_remembered_for_a_late_report():
    gone = time(ends_ms=NOW - 5_000, runs=False)
    (charge,) = plan_charges([gone], {"u": NOW - 7_000}, now_ms=NOW)
    assert charge.until_ms == NOW - 5_000
    assert plan_charges([gone], {"u": NOW - 5_000}, now_ms=NOW) == []


def test_a_pod_nothing_is_known_of_is_forgotten_in_time():
    assert plan_charges([], {"u": NOW - 1}, now_ms=NOW) == []
    assert plan_charges([], {"u": NOW - FORGET_MS - 1}, now_ms=NOW) == [
        Charge(uid="u", name="", charged_ms=NOW - FORGET_MS - 1, until_ms=None, amounts=())
    ]


def test_no_more_is_charged_than_is_kept():
    (charge,) = plan_charges([time(begins_ms=0)], {}, now_ms=NOW)
    assert total([charge]) <= PRICE * SPEND_RETENTION_S // 3600


instants = st.integers(0, 10**13)


@given(st.lists(st.integers(0, 10**8), min_size=2, max_size=6), st.integers(0, 10**12))
def test_charging_in_pieces_costs_exactly_as_much_as_at_once(offsets, price):
    cuts = sorted(1_700_000_000_000 + offset for offset in offsets)
    pieces = sum(amount for a, b in itertools.pairwise(cuts) for _, amount in bucket_amounts(price, a, b))
    assert pieces == sum(amount for _, amount in bucket_amounts(price, cuts[0], cuts[-1]))


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**12))
def test_no_amount_is_negative(a, b, price):
    assert all(amount > 0 for _, amount in bucket_amounts(price, a, b))


def times(pods, reports, charged):
    found = observe_pod_times("research", pods, {h.uid: h for h in reports}, charged, PRICES, now_ms=1000 * 1000)
    return {time.name: time for time in found}


def test_a_pod_that_is_there_runs_until_now():
    found = times([pod("a", started_s=400.0, capacity_type="spot")], [], {})
    assert (found["a"].begins_ms, found["a"].ends_ms) == (400_000, 1_000_000)
    assert found["a"].price_nanousd_per_h == PRICES.spot_nanousd


def test_a_pod_no_node_has_taken_costs_nothing():
    assert times([pod("a", started_s=None, ready=False)], [], {}) == {}


def test_a_pod_born_and_gone_unseen_is_charged_by_its_reports():
    found = times([], [heartbeat("research-spot-x", at_s=700.0, started_s=500.0)], {})
    time = found["research-spot-x"]
    assert (time.begins_ms, time.ends_ms, time.runs) == (500_000, 700_000, False)
    assert time.price_nanousd_per_h == PRICES.spot_nanousd


def test_a_fresh_report_of_an_unknown_pod_waits_for_the_watch():
    assert times([], [heartbeat("research-spot-x", at_s=995.0)], {}) == {}


def test_a_pod_that_ended_is_charged_up_to_its_last_report():
    found = times([pod("a", ended=True)], [heartbeat("a", at_s=600.0)], {"uid-a": 1})
    assert (found["a"].ends_ms, found["a"].runs) == (600_000, False)
