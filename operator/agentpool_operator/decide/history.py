"""What arrived at a pool before now?

Seconds of the last half hour, minutes of the last 14 days. Values: `record` returns a new history. A minute is kept as
arrivals per second in half precision (three digits, up to 65,000 per second): 14 days are 40 kB. NaN is unknown.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

RECENT_S = 1800
MINUTES = 14 * 24 * 60
WAITED_S = 120
"""The shortest step back of a clock that is more than a correction of seconds."""
LONGEST_BYTES = 4 * RECENT_S + 2 * MINUTES + 200
LAST_S = 100_000_000_000
"""No clock shows this Unix time."""
_MAX_RATE = 60_000.0


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Arrivals of one pool. Arrays are never written to after they are here."""

    end_s: int | None = None
    """Unix second up to which arrivals are known; ``None`` before the first report."""
    recent: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """Arrivals in each second up to `end_s`, oldest first, without gaps."""
    minutes: NDArray[np.float16] = field(default_factory=lambda: np.zeros(0, np.float16))
    """Arrivals per second in each minute up to the last full one before `end_s`, oldest first."""

    def per_minute(self, count: int) -> NDArray[np.float64]:
        """Arrivals of each of the last full minutes, at most `count`, oldest first; NaN is unknown."""
        return self.minutes[-count:].astype(np.float64) * 60.0


def seed(history: History, arrivals_per_min: Sequence[float], *, now_s: float) -> History:
    """A history without minutes, filled with minutes from elsewhere that end at the last full one before `now_s`."""
    if len(history.minutes) or not len(arrivals_per_min):
        return history
    known = np.asarray(arrivals_per_min[-MINUTES:], np.float64) / 60.0
    known = np.where(np.isfinite(known) & (known >= 0), np.minimum(known, _MAX_RATE), np.nan)
    return History(history.end_s if history.end_s is not None else int(now_s), history.recent, known.astype(np.float16))


def record(history: History, arrivals_per_s: Sequence[float], *, now_s: float) -> History:
    """The history with the seconds that are new. `arrivals_per_s` ends at `now_s`; overlap is recognised by the time.

    Where the report does not reach back to the last one, the seconds start anew and the minutes between are unknown. A
    clock that went back by less than `WAITED_S` is waited for; where it went back further, what lies ahead of it is
    forgotten, or every minute known before would from then on stand for another time of the day.
    """
    end = int(now_s)
    tail = np.asarray(arrivals_per_s[-RECENT_S:], np.float64)
    tail = np.where(np.isfinite(tail) & (tail >= 0), np.minimum(tail, _MAX_RATE), 0.0)
    ahead_s = 0 if history.end_s is None else history.end_s - end
    if not len(tail) or (history.end_s is not None and 0 <= ahead_s < WAITED_S):
        return history
    if ahead_s > 0:
        history = _until(history, end - len(tail))
    new = end - history.end_s if history.end_s is not None else len(tail) + 1
    joins = len(history.recent) > 0 and 0 < new <= len(tail)
    recent = (np.concatenate([history.recent, tail[len(tail) - new :]])[-RECENT_S:] if joins else tail).astype(
        np.float32
    )
    return History(end, recent, _minutes(history, recent, end))


def _until(history: History, end: int) -> History:
    """The history as it was known at an earlier second."""
    before = end if history.end_s is None else history.end_s
    seconds = max(len(history.recent) - (before - end), 0)
    minutes = max(len(history.minutes) - (before // 60 - end // 60), 0)
    return History(end, history.recent[:seconds], history.minutes[:minutes])


def _minutes(history: History, recent: NDArray[np.float32], end: int) -> NDArray[np.float16]:
    before = history.end_s if history.end_s is not None else end - len(recent)
    missing = end // 60 - before // 60
    if missing <= 0:
        return history.minutes
    added = np.full(min(missing, MINUTES), np.nan)
    over = end % 60
    for back in range(min(len(added), len(recent) // 60 + 1)):
        last = len(recent) - over - 60 * back
        if last >= 60:
            added[len(added) - 1 - back] = float(recent[last - 60 : last].sum()) / 60.0
    return np.concatenate([history.minutes, added.astype(np.float16)])[-MINUTES:]


def to_bytes(history: History) -> bytes:
    """The history as compressed bytes, the same ones for the same history."""
    head = json.dumps({"v": 1, "end_s": history.end_s, "recent": len(history.recent)}).encode()
    body = history.recent.astype("<f4").tobytes() + history.minutes.astype("<f2").tobytes()
    return zlib.compress(head + b"\n" + body, 6)


def from_bytes(data: bytes) -> History:
    """What `to_bytes` wrote. Raises ValueError with a plain word on anything else."""
    try:
        unpacking = zlib.decompressobj()
        head, _, body = unpacking.decompress(data, LONGEST_BYTES).partition(b"\n")
        if not unpacking.eof:
            raise ValueError("cut off, or longer than any")  # a few compressed bytes could be gigabytes
        facts = json.loads(head)
        split, end = 4 * int(facts["recent"]), facts["end_s"]
        if facts["v"] != 1 or not (end is None or (isinstance(end, int) and 0 <= end < LAST_S)):
            raise ValueError("unknown version")
        recent = np.frombuffer(body[:split], "<f4").astype(np.float32)
        minutes = np.frombuffer(body[split:], "<f2").astype(np.float16)
        if not np.isfinite(recent).all() or (recent < 0).any() or (minutes < 0).any() or np.isinf(minutes).any():
            raise ValueError("figures that cannot be")
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a history of arrivals: {error}") from error
    return History(end, recent[-RECENT_S:], minutes[-MINUTES:])
