"""Which object needs a pass next?

Keys wait once however often they are asked for, one key is never worked on twice at the same time, and one that fails
comes back later and later. Whatever triggers a pass only adds a key: what is to do is read from the world.
"""

from __future__ import annotations

import asyncio
from collections import deque
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
        self._order: deque[Key] = deque()
        self._waiting: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """Passes under way."""
        return len(self._busy)

    def add(self, key: Key) -> None:
        """Ask for a pass now; one that waits already is not doubled, one under way is followed by another."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._order.append(key)
            self._ready.set()

    def add_routinely(self, key: Key) -> None:
        """Ask for a pass in the course of time: one that failed waits for its retry, which news would not."""
        if key not in self._failures:
            self.add(key)

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

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key that is gone."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def run_worker(self) -> None:
        """Work on keys for ever, one at a time; run as many of these as passes may go on at once."""
        while True:
            await self._run_one(await self._take())

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _take(self) -> Key:
        while not self._order:
            self._ready.clear()
            await self._ready.wait()
        key = self._order.popleft()
        self._waiting.discard(key)
        self._busy.add(key)
        return key

    async def _run_one(self, key: Key) -> None:
        try:
            delay_s = await self._work(key)
        except Exception as error:
            self._retry(key, error)
        else:
            self._failures.pop(key, None)
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
