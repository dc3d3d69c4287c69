"""The demo's verdict: yes only if the story happened."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from demo.observation import Snapshot, Window
from demo.story import HELD_DOWN_S, checks, new_events, should_raise_limit
from demo.traffic import Tally


def snapshot(at_s: float, ready: int, *, scale_down: bool = False, alerted: int = 0) -> Snapshot:
    window = Window("daily", Decimal("0.1"), Decimal("0.4"), 25, alerted)
    conditions = {"ScaleDown": "True" if scale_down else "False"}
    half = ready // 2
    return Snapshot(at_s, 0, 0, half, ready - half, half, ready - half, "", (window,), {}, conditions)


def tally(sent: int = 100, answered: int = 100, hits: int = 20) -> Tally:
    result = Tally(sent=sent, answered=answered)
    result.cache.update({"l1": hits, "miss": answered - hits})
    return result


GOOD = [
    snapshot(0, 2),
    snapshot(30, 6, alerted=50),
    snapshot(80, 6, alerted=90),
    snapshot(90, 4, scale_down=True, alerted=90),
    snapshot(100, 2, scale_down=True, alerted=90),
    snapshot(110, 2),
    snapshot(130, 6),
    snapshot(200, 2),
]


def kept(snapshots: list[Snapshot], result: Tally, raised_at_s: float | None = 105) -> list[bool]:
    return [check.kept for check in checks(snapshots, result, raised_at_s, 180, 2)]


def test_the_whole_story_keeps_all_promises() -> None:
    assert all(kept(GOOD, tally()))


def test_agents_that_never_grow_break_the_first_promise() -> None:
    flat = [replace(one, on_demand_ready=1, spot_ready=1) for one in GOOD]
    assert kept(flat, tally())[0] is False


def test_a_budget_that_never_acts_breaks_the_story() -> None:
    idle = [replace(one, budget_conditions={}) for one in GOOD]
    assert kept(idle, tally(), None)[2:4] == [False, False]


def test_agents_that_stay_after_the_work_break_the_story() -> None:
    assert kept([*GOOD[:-1], snapshot(230, 6)], tally())[4] is False


def test_no_cache_hit_and_lost_requests_break_the_story() -> None:
    assert kept(GOOD, tally(hits=0))[5] is False
    assert kept(GOOD, tally(sent=100, answered=90))[6] is False


def test_a_run_without_any_look_breaks_the_story_and_does_not_crash() -> None:
    assert not any(kept([], Tally(), None))


def test_the_limit_is_raised_once_the_pool_has_been_held_down_for_a_while() -> None:
    held = [snapshot(50, 6), snapshot(60, 4, scale_down=True)]
    assert not should_raise_limit(held)
    assert should_raise_limit([*held, snapshot(60 + HELD_DOWN_S, 2, scale_down=True)])
    assert not should_raise_limit([*held, snapshot(60 + HELD_DOWN_S, 2)])


def test_an_event_is_told_once_when_it_happens() -> None:
    texts = [event.text for before, now in zip([None, *GOOD], GOOD, strict=False) for event in new_events(before, now)]
    assert texts == [
        "alert: 50 % of the daily limit",
        "alert: 90 % of the daily limit",
        "ScaleDown acts",
        "ScaleDown is undone",
    ]
