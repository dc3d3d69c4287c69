"""Which bounds does a schedule set at this moment?

A window names weekdays, a local start and end, and an IANA time zone. Local wall time decides, so a window keeps its
hours when daylight saving time begins or ends; a start inside the skipped hour takes effect at the next wall minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleWindow:
    """A recurring window and the bounds it sets; ``None`` leaves a bound as it is.

    `days` are the weekdays on which the window starts, Monday is 0. An end at or before the start lies on the next
    day; equal times are a whole day. The start belongs to the window, the end does not.
    """

    name: str
    start: time
    end: time
    zone: ZoneInfo
    days: frozenset[int] = EVERY_DAY
    min_agents: int | None = None
    max_agents: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Smallest and largest size, and the schedule windows that set them."""

    min_agents: int
    max_agents: int
    windows: tuple[str, ...] = ()


def is_active(window: ScheduleWindow, now_s: float) -> bool:
    """Whether the window is open at this Unix time."""
    local = datetime.fromtimestamp(now_s, UTC).astimezone(window.zone)
    at, today = local.time(), local.weekday()
    yesterday = (today - 1) % 7
    if window.start < window.end:
        return today in window.days and window.start <= at < window.end
    return (today in window.days and at >= window.start) or (yesterday in window.days and at < window.end)


def scheduled_bounds(min_agents: int, max_agents: int, windows: Iterable[ScheduleWindow], *, now_s: float) -> Bounds:
    """The pool's own bounds, replaced by those of the open windows.

    Where several windows are open the largest minimum and the largest maximum hold, so touching windows never dip at
    their seam. A minimum above the maximum is cut to it.
    """
    active = sorted((w for w in windows if is_active(w, now_s)), key=lambda w: w.name)
    minima = [w.min_agents for w in active if w.min_agents is not None]
    maxima = [w.max_agents for w in active if w.max_agents is not None]
    low = max(minima, default=min_agents)
    high = max(maxima, default=max_agents)
    return Bounds(min(low, high), high, tuple(w.name for w in active))
