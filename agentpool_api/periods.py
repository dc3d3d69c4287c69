"""When does a budget's window begin and reset?

Windows are calendar days, ISO weeks (from Monday) and months in an IANA time zone. A boundary is the first instant of
the local date, so a window lasts 23 or 25 hours where the clock changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class WindowName(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Window:
    """One window: ``starts_at`` ≤ t < ``resets_at``, both aware UTC."""

    name: WindowName
    starts_at: datetime
    resets_at: datetime

    @property
    def key(self) -> str:
        """Identity of the window, for example ``daily:20261121T050000Z``: stable while the window lasts."""
        return f"{self.name}:{self.starts_at:%Y%m%dT%H%M%SZ}"


def window_at(name: WindowName, time_zone: str, now: datetime) -> Window:
    """The window of that name which holds ``now`` (aware). Raises ZoneInfoNotFoundError for an unknown zone."""
    zone = ZoneInfo(time_zone)
    first = _first_day(name, now.astimezone(zone).date())
    return Window(name, _day_start(first, zone), _day_start(_next_first_day(name, first), zone))


def _first_day(name: WindowName, day: date) -> date:
    match name:
        case WindowName.DAILY:
            return day
        case WindowName.WEEKLY:
            return day - timedelta(days=day.weekday())
        case WindowName.MONTHLY:
            return day.replace(day=1)


def _next_first_day(name: WindowName, first: date) -> date:
    match name:
        case WindowName.DAILY:
            return first + timedelta(days=1)
        case WindowName.WEEKLY:
            return first + timedelta(days=7)
        case WindowName.MONTHLY:
            return (first + timedelta(days=31)).replace(day=1)


def _day_start(day: date, zone: ZoneInfo) -> datetime:
    """First instant of a local date. Where the clock skips midnight, that is the instant of the jump.

    ``fold=0`` reads a skipped 00:00 with the offset before the jump, which is the jump itself; an ambiguous 00:00 gives
    its first occurrence.
    """
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
