"""Which object needs a pass next?

Keys wait once however often they are asked for, one key is never worked on twice at the same time, and one that fails
comes back later and later. News goes before routine, so a change never waits for a round of all pools. Whatever
triggers a pass only adds a key: what is to do is read from the world.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from agentpool_operator.errors import OperatorError

log = structlog.get_logger(__name__)

Key = TypeVar("Key")

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 60.0


def retry_delay_s(failures: int, chance: float) -> float:
    """Delay before the next try after this many failures in a row: doubling, half of it by chance in [0, 1)."""
    whole = min(FIRST_RETRY_S * 2.0 ** min(max(failures - 1, 0), 16), LONGEST_RETRY_S)
    return whole / 2 + whole / 2 * chance


class WorkQueue(Generic[Key]):
    """A deduplicating queue of keys for a fixed number of workers."""

    def __init__(self, work: Callable[[Key], Awaitable[float | None]], chance: Callable[[], float]) -> None:
        """``work`` returns after how many seconds it wants its key back, or None. ``chance`` gives jitter in [0, 1)."""
        self._work = work
        self._chance = chance
        self._news: dict[Key, None] = {}
        self._routine: dict[Key, None] = {}
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._not_before_s: dict[Key, float] = {}
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._news) + len(self._routine)

    @property
    def news(self) -> int:
        """Keys that wait and are no routine."""
        return len(self._news)

    @property
    def busy(self) -> int:
        """Passes under way."""
        return len(self._busy)

    def add(self, key: Key) -> None:
        """Ask for a pass now; one that waits already is not doubled, one under way is followed by another. Where a
        server has asked for a pause, even news waits for its end."""
        wait_s = self._not_before_s.get(key, 0.0) and self._not_before_s[key] - asyncio.get_running_loop().time()
        if key in self._busy:
            self._again.add(key)
        elif wait_s > 0:
            self.add_after(key, wait_s)
        else:
            self._routine.pop(key, None)
            self._news.setdefault(key)
            self._ready.set()

    def add_routinely(self, key: Key) -> None:
        """Ask for a pass in the course of time: one that failed waits for its retry, which news would not, and one
        under way has just looked."""
        if key not in self._failures and key not in self._busy and key not in self._news:
            self._routine.setdefault(key)
            self._ready.set()

    def add_after(self, key: Key, delay_s: float) -> None:
        """Ask for a pass later. The earlier of two such wishes holds."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    async def run_worker(self) -> None:
        """Work on keys for ever, one at a time; run as many of these as passes may go on at once."""
        while True:
            await self._run_one(await self._take())
            await asyncio.sleep(0)  # a pass that waits for nothing must not keep events and probes from being served

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _take(self) -> Key:
        while not len(self):
            self._ready.clear()
            await self._ready.wait()
        lane = self._news or self._routine
        key = next(iter(lane))
        del lane[key]
        self._busy.add(key)
        return key

    async def _run_one(self, key: Key) -> None:
        try:
            delay_s = await self._work(key)
        except Exception as error:
            self._retry(key, error)
        else:
            self._failures.pop(key, None)
            self._not_before_s.pop(key, None)
            if delay_s is not None:
                self.add_after(key, delay_s)
        finally:
            self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    def _retry(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay_s = retry_delay_s(failures, self._chance())
        pause_s: float = getattr(error, "retry_after_s", 0.0)
        if pause_s:
            delay_s = max(delay_s, pause_s)
            self._not_before_s[key] = asyncio.get_running_loop().time() + pause_s
        # What we foresaw is one line; what we did not is a bug and keeps its traceback.
        foreseen = isinstance(error, OperatorError)
        log.warning(
            "pass failed",
            key=str(key),
            error=str(error) or type(error).__name__,
            failures=failures,
            retry_s=round(delay_s, 1),
            exc_info=not foreseen,
        )
        self.add_after(key, delay_s)
