"""Which traffic does a CSV file describe?

A row is a time, the tasks that arrived within one slot of time from then on, and what one of them takes. A slot is the
smallest step between two rows; a slot without a row had no tasks. So one format holds ten-second counts as well as one
row per task.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from agentpool_operator.plan.errors import PlanInputError, read_text

LONGEST_S = 62 * 86_400
MOST_TASKS = 5_000_000

PREFILL_TOKENS_PER_S = 4000.0
DECODE_TOKENS_PER_S = 33.0
OVERHEAD_S = 0.5
"""Where only token counts are known, a task takes this overhead, its prompt at the prefill speed and its completion at
the decode speed: round figures of a served model of medium size. `--service-time` replaces them."""
LONGEST_SERVICE_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Slot:
    """Tasks that arrive within one slot of time. Times are seconds."""

    at_s: float
    count: int
    service_s: float
    """Mean time an agent works on one of them."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Recorded traffic, in order of time."""

    slots: tuple[Slot, ...]
    slot_s: float
    dated: bool
    """Whether the times are Unix times and not seconds since an unknown beginning."""

    @property
    def tasks(self) -> int:
        """Tasks of the whole trace."""
        return sum(slot.count for slot in self.slots)

    @property
    def starts_at_s(self) -> float:
        """Time of the first slot."""
        return self.slots[0].at_s

    @property
    def duration_s(self) -> int:
        """Whole seconds from the first slot's begin to the last one's end."""
        return math.ceil(self.slots[-1].at_s + self.slot_s - self.starts_at_s)


def read_trace(path: Path, *, service_s: float | None = None) -> Trace:
    """The traffic in a CSV file. Raises PlanInputError."""
    return parse_trace(read_text(path), str(path), service_s=service_s)


def parse_trace(text: str, path: str, *, service_s: float | None = None) -> Trace:
    """The traffic in the text of a CSV file.

    The header names `t_s` (seconds) or `timestamp` (Unix seconds or ISO 8601, UTC unless it says otherwise), `count`,
    and unless `service_s` is given `service_s`, or `prompt_mean` and `completion_mean` in tokens. Other columns are
    ignored. Raises PlanInputError with the file, the line and what to change.
    """
    rows = csv.DictReader(text.splitlines(), restval="")
    try:
        header = [name.strip() for name in rows.fieldnames or ()]
        rows.fieldnames = header
        clock = _clock(path, header)
        service = _service(path, header, service_s)
        slots = tuple(_slots(path, rows, clock, service))
    except csv.Error as error:
        raise PlanInputError(f"{path}:{rows.line_num}: not a CSV line ({error})") from None
    return _checked(path, slots, dated=clock == "timestamp")


def _clock(path: str, header: list[str]) -> str:
    for name in ("t_s", "timestamp"):
        if name in header and "count" in header:
            return name
    raise PlanInputError(
        f"{path}:1: the header must name t_s or timestamp, and count, for example: t_s,count,service_s"
    )


def _service(path: str, header: list[str], service_s: float | None) -> Callable[[Mapping[str, str]], float]:
    """How to read a task's mean service time from a row."""
    if service_s is not None:
        return lambda _row: service_s
    if "service_s" in header:
        return _given_service_s
    if {"prompt_mean", "completion_mean"} <= set(header):
        return lambda row: (
            OVERHEAD_S
            + _number(row, "prompt_mean") / PREFILL_TOKENS_PER_S
            + _number(row, "completion_mean") / DECODE_TOKENS_PER_S
        )
    raise PlanInputError(
        f"{path}:1: nothing says how long a task takes: add a column service_s, or give --service-time, for example 4s"
    )


def _given_service_s(row: Mapping[str, str]) -> float:
    if not row["service_s"].strip():
        raise ValueError("nobody measured how long its tasks take: give --service-time, for example 4s")
    return _number(row, "service_s")


def _slots(
    path: str, rows: csv.DictReader[str], clock: str, service: Callable[[Mapping[str, str]], float]
) -> Iterator[Slot]:
    before = -math.inf
    for row in rows:
        try:
            at_s = _timestamp(row[clock]) if clock == "timestamp" else _number(row, clock)
            count = _count(row)
            service_s = service(row) if count else 0.0
            if at_s < before:
                raise ValueError(f"{clock} goes back: sort the rows by time")
            if count and not 0 < service_s <= LONGEST_SERVICE_S:
                raise ValueError(f"a service time of {service_s:g} s: it must be over 0 and at most a day")
        except ValueError as error:
            raise PlanInputError(f"{path}:{rows.line_num}: {error}") from None
        before = at_s
        yield Slot(at_s, count, service_s)


def _number(row: Mapping[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {row[name]!r}: write a number") from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is {row[name]!r}: write a finite number, 0 or above")
    return value


def _count(row: Mapping[str, str]) -> int:
    value = _number(row, "count")
    if value != int(value):
        raise ValueError(f"count is {row['count']!r}: write a whole number of tasks")
    return int(value)


def _timestamp(text: str) -> float:
    try:
        return _number({"timestamp": text}, "timestamp")
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.strip())
    except (AttributeError, ValueError):
        raise ValueError(f"timestamp is {text!r}: write Unix seconds or ISO 8601 like 2026-03-01T09:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _checked(path: str, slots: tuple[Slot, ...], *, dated: bool) -> Trace:
    steps = [later.at_s - earlier.at_s for earlier, later in pairwise(slots)]
    slot_s = min((step for step in steps if step > 0), default=0.0)
    if not slot_s:
        raise PlanInputError(f"{path}: fewer than two points in time: the step between rows says how long a row lasts")
    trace = Trace(slots, slot_s, dated)
    if trace.duration_s > LONGEST_S:
        days = trace.duration_s / 86_400
        raise PlanInputError(
            f"{path}: covers {days:,.0f} days: cut it to at most {LONGEST_S // 86_400}, or check the times"
        )
    if trace.tasks > MOST_TASKS:
        raise PlanInputError(f"{path}: {trace.tasks:,} tasks: cut it or thin it to at most {MOST_TASKS:,}")
    return trace
