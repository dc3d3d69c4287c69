"""Budget windows in local time, also where the clock changes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_api.keys import SPEND_BUCKET_S
from agentpool_api.periods import WindowName, window_at

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Apia", "America/Havana"]
MOMENTS = st.integers(1_577_836_800, 2_051_222_400).map(lambda at_s: datetime.fromtimestamp(at_s, UTC))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "zone", "now", "starts", "resets"),
    [
        pytest.param("daily", "UTC", "2026-11-21T10:00", "2026-11-21T00:00", "2026-11-22T00:00", id="day"),
        pytest.param(
            "weekly", "UTC", "2026-11-21T10:00", "2026-11-16T00:00", "2026-11-23T00:00", id="week-from-monday"
        ),
        pytest.param("monthly", "UTC", "2026-02-10T10:00", "2026-02-01T00:00", "2026-03-01T00:00", id="short-month"),
        pytest.param("monthly", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00", id="end-of-year"),
        pytest.param(
            "daily", "Europe/Berlin", "2026-03-29T10:00", "2026-03-28T23:00", "2026-03-29T22:00", id="23-hour-day"
        ),
        pytest.param(
            "daily", "Europe/Berlin", "2026-10-25T10:00", "2026-10-24T22:00", "2026-10-25T23:00", id="25-hour-day"
        ),
        pytest.param(
            "daily", "America/Havana", "2026-03-08T12:00", "2026-03-08T05:00", "2026-03-09T04:00", id="no-midnight"
        ),
        pytest.param(
            "daily", "Asia/Kathmandu", "2026-05-01T18:14", "2026-04-30T18:15", "2026-05-01T18:15", id="45-min"
        ),
    ],
)
def test_boundaries(name: str, zone: str, now: str, starts: str, resets: str) -> None:
    window = window_at(WindowName(name), zone, utc(now))
    assert (window.starts_at, window.resets_at) == (utc(starts), utc(resets))


@given(st.sampled_from(list(WindowName)), st.sampled_from(ZONES), MOMENTS)
def test_windows_hold_their_moment_and_follow_each_other_without_gap(
    name: WindowName, zone: str, now: datetime
) -> None:
    window = window_at(name, zone, now)
    assert window.starts_at <= now < window.resets_at
    assert window_at(name, zone, window.starts_at) == window
    assert window_at(name, zone, window.resets_at).starts_at == window.resets_at
    assert window_at(name, zone, window.resets_at - timedelta(seconds=1)) == window


@given(st.sampled_from(list(WindowName)), st.sampled_from(ZONES), MOMENTS)
def test_every_boundary_falls_on_a_spend_bucket(name: WindowName, zone: str, now: datetime) -> None:
    assert window_at(name, zone, now).starts_at.timestamp() % SPEND_BUCKET_S == 0


@given(st.sampled_from(ZONES), MOMENTS)
def test_the_result_does_not_depend_on_the_zone_the_moment_is_written_in(zone: str, now: datetime) -> None:
    assert window_at(WindowName.DAILY, zone, now) == window_at(WindowName.DAILY, zone, now.astimezone(ZoneInfo(zone)))
