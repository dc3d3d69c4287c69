"""Schedule windows: local hours, midnight, daylight saving time, overlaps."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.decide.schedules import Bounds, ScheduleWindow, is_active, scheduled_bounds

BERLIN = ZoneInfo("Europe/Berlin")


def window(start="22:00", end="05:00", zone=BERLIN, **overrides):
    return ScheduleWindow(
        name=overrides.pop("name", "night"),
        start=time.fromisoformat(start),
        end=time.fromisoformat(end),
        zone=zone,
        **overrides,
    )


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("at", "open_"),
    [
        pytest.param("2026-01-15T21:59:59+01:00", False, id="a-second-before-the-start"),
        pytest.param("2026-01-15T22:00:00+01:00", True, id="the-start-belongs-to-it"),
        pytest.param("2026-01-16T00:00:00+01:00", True, id="over-midnight"),
        pytest.param("2026-01-16T04:59:59+01:00", True, id="a-second-before-the-end"),
        pytest.param("2026-01-16T05:00:00+01:00", False, id="the-end-does-not-belong-to-it"),
        pytest.param("2026-07-15T22:00:00+02:00", True, id="summer-time-keeps-the-local-hour"),
        pytest.param("2026-03-29T03:30:00+02:00", True, id="spring-day-after-the-skipped-hour"),
        pytest.param("2026-10-25T02:30:00+01:00", True, id="autumn-day-in-the-repeated-hour"),
    ],
)
def test_night_window_follows_local_wall_time(at, open_):
    assert is_active(window(), unix(at)) is open_


def test_a_window_over_midnight_belongs_to_the_day_it_starts_on():
    friday = window(days=frozenset({4}))
    assert is_active(friday, unix("2026-01-17T01:00:00+01:00"))  # Saturday, started on Friday
    assert not is_active(friday, unix("2026-01-16T01:00:00+01:00"))  # Friday, would have started on Thursday


def test_a_start_in_the_skipped_hour_takes_effect_after_it():
    early = window(start="02:30", end="06:00")
    assert not is_active(early, unix("2026-03-29T01:59:00+01:00"))
    assert is_active(early, unix("2026-03-29T03:00:00+02:00"))


def test_equal_times_are_a_whole_day():
    assert is_active(window(start="08:00", end="08:00"), unix("2026-01-15T07:59:00+01:00"))


def test_touching_windows_do_not_dip_at_their_seam():
    day = window("08:00", "18:00", name="day", min_agents=5)
    evening = window("18:00", "22:00", name="evening", min_agents=4)
    at = [unix(f"2026-01-15T{t}+01:00") for t in ("17:59:59", "18:00:00")]
    assert [scheduled_bounds(2, 20, (day, evening), now_s=t).min_agents for t in at] == [5, 4]


def test_of_overlapping_windows_the_largest_bounds_hold():
    a = window("08:00", "18:00", name="a", min_agents=3, max_agents=6)
    b = window("09:00", "12:00", name="b", min_agents=5, max_agents=8)
    assert scheduled_bounds(2, 20, (b, a), now_s=unix("2026-01-15T10:00:00+01:00")) == Bounds(5, 8, ("a", "b"))


def test_a_minimum_over_the_maximum_is_cut():
    high = window("08:00", "18:00", min_agents=30)
    assert scheduled_bounds(2, 20, (high,), now_s=unix("2026-01-15T10:00:00+01:00")).min_agents == 20


@given(
    at=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    start=st.times(),
    end=st.times(),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_a_window_and_its_complement_cover_every_moment_once(at, start, end, zone):
    if start == end:
        return
    tz = ZoneInfo(zone)
    a = ScheduleWindow(name="a", start=start, end=end, zone=tz)
    b = ScheduleWindow(name="b", start=end, end=start, zone=tz)
    assert is_active(a, at.timestamp()) != is_active(b, at.timestamp())
