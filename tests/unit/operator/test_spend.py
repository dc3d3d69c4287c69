from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_api.keys import SPEND_BUCKET_S, SPEND_RETENTION_S
from agentpool_api.periods import WindowName
from agentpool_operator.observe.budget_spend import observe_windows
from agentpool_operator.observe.spend import Spend, SpendBook, burn_nanousd_per_h, live_fields

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
NOW_S = NOW.timestamp()
BUCKET = int(NOW_S) // SPEND_BUCKET_S * SPEND_BUCKET_S


def book(raw, now_s=NOW_S):
    found = SpendBook()
    found.take_all({name.encode(): str(value).encode() for name, value in raw.items()}, now_s=now_s)
    take_live(found, raw, now_s)
    return found


def take_live(found, raw, now_s=NOW_S):
    fields = live_fields(now_s)
    values = [str(raw[name]).encode() if name in raw else None for name in fields]
    found.take_live(fields, values, now_s=now_s)


def test_windows_sum_their_buckets_and_no_others():
    midnight = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp())
    found = book({f"{midnight}:tokens": 5, f"{midnight - SPEND_BUCKET_S}:tokens": 70, f"{BUCKET}:agents": 2})
    daily, monthly = observe_windows({WindowName.DAILY: 100, WindowName.MONTHLY: 1000}, "UTC", [found], now=NOW)
    assert (daily.agents_nanousd, daily.tokens_nanousd) == (2, 5)
    assert (monthly.agents_nanousd, monthly.tokens_nanousd) == (2, 75)


def test_a_day_begins_at_the_zones_midnight():
    # 2026-11-20T23:00Z is midnight of the 21st in Berlin.
    berlin = int(datetime(2026, 11, 20, 23, tzinfo=UTC).timestamp())
    found = book({f"{berlin}:tokens": 5, f"{berlin - SPEND_BUCKET_S}:tokens": 70})
    (daily,) = observe_windows({WindowName.DAILY: 100}, "Europe/Berlin", [found], now=NOW)
    assert daily.tokens_nanousd == 5


def test_pools_add_up():
    books = [book({f"{BUCKET}:tokens": 5}), book({f"{BUCKET}:tokens": 6})]
    (daily,) = observe_windows({WindowName.DAILY: 100}, "UTC", books, now=NOW)
    assert daily.spent_nanousd == 11


def test_live_buckets_replace_what_was_read_before():
    found = book({f"{BUCKET}:tokens": 5})
    assert found.between(0, BUCKET + SPEND_BUCKET_S) == Spend(0, 5)
    take_live(found, {f"{BUCKET}:tokens": 9, f"{BUCKET}:agents": 1})
    assert found.between(0, BUCKET + SPEND_BUCKET_S) == Spend(1, 9)


def test_a_bucket_that_has_closed_keeps_counting():
    found = book({f"{BUCKET}:tokens": 5})
    later = NOW_S + 4 * SPEND_BUCKET_S
    found.between(0, BUCKET + SPEND_BUCKET_S)
    take_live(found, {}, later)
    assert found.between(0, BUCKET + SPEND_BUCKET_S) == Spend(0, 5)


def test_old_buckets_are_dropped():
    old = BUCKET - SPEND_RETENTION_S - SPEND_BUCKET_S
    found = SpendBook()
    assert found.take_all({f"{old}:tokens".encode(): b"5"}, now_s=NOW_S) == [f"{old}:tokens"]
    assert found.between(0, BUCKET) == Spend()


@pytest.mark.parametrize("field", ["", "x", "1:else", "tokens", "1:tokens:2", "-1:tokens", "\xff"])
def test_a_field_that_is_none_of_ours_counts_nothing(field):
    assert book({field: 5}).between(0, BUCKET + SPEND_BUCKET_S) == Spend()


def test_a_broken_amount_counts_nothing():
    assert book({f"{BUCKET}:tokens": "many"}).between(0, BUCKET + SPEND_BUCKET_S) == Spend()


def test_everything_is_read_at_first_and_once_per_quarter():
    found = SpendBook()
    assert found.is_due(NOW_S)
    found.take_all({}, now_s=NOW_S)
    assert not found.is_due(NOW_S + SPEND_BUCKET_S - 1)
    assert found.is_due(NOW_S + SPEND_BUCKET_S)
    assert found.is_due(NOW_S - 1)


def test_the_burn_rate_covers_a_quarter_of_an_hour():
    assert burn_nanousd_per_h(Spend(1, 1), Spend(6, 2), into_bucket_s=450) == (2 + 4) * 4


@given(st.dictionaries(st.integers(0, 200), st.integers(0, 10**12), max_size=30), st.integers(0, 200))
def test_sums_do_not_depend_on_what_was_asked_before(amounts, cut):
    raw = {f"{BUCKET - i * SPEND_BUCKET_S}:tokens": amount for i, amount in amounts.items()}
    found, end = book(raw), BUCKET + SPEND_BUCKET_S
    start = BUCKET - cut * SPEND_BUCKET_S
    expected = sum(amount for i, amount in amounts.items() if i <= cut)
    assert found.between(start, end).tokens == expected
    assert found.between(start, end).tokens == expected
