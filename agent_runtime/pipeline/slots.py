"""May one more request be worked on now, must it wait, or is the queue full?

A fixed number of slots and a bounded first-in-first-out queue before them, with the counters of the heartbeat.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from agent_runtime.errors import ApiError

LONGEST_RETRY_AFTER_S = 30.0


class Slots:
    """The agent's capacity. Every ``acquire`` that returns needs one ``release``."""

    def __init__(self, capacity: int, max_queued: int, queue_timeout_s: float, clock: Callable[[], float]) -> None:
        self.capacity = capacity
        self.in_flight = 0
        self.arrivals_total = 0
        self.completed_total = 0
        self.service_seconds_total = 0.0
        self.wait_seconds_total = 0.0
        self._max_queued = max_queued
        self._queue_timeout_s = queue_timeout_s
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def queued(self) -> int:
        return len(self._waiting)

    async def acquire(self) -> float:
        """Take a slot and return the seconds waited.

        Raises ApiError 429 when the queue is full and 503 when the wait took too long, both with Retry-After.
        """
        if self.in_flight < self.capacity and not self._waiting:
            self.in_flight += 1
            self.arrivals_total += 1
            return 0.0
        if len(self._waiting) >= self._max_queued:
            raise ApiError(
                429,
                "queue_full",
                f"all {self.capacity} slots of this agent are busy and {len(self._waiting)} requests wait; "
                "try again later, or raise the pool's limits.maxQueued or maxAgents",
                kind="rate_limit_error",
                retry_after_s=self.expected_wait_s(),
            )
        self.arrivals_total += 1
        return await self._wait()

    def release(self, service_s: float) -> None:
        """Give the slot back after ``service_s`` seconds of work; the longest waiter gets it."""
        self.completed_total += 1
        self.service_seconds_total += service_s
        self._hand_over()

    def expected_wait_s(self) -> float:
        """Rough wait of a new request: work before it × mean service time ÷ slots, between 1 and 30 seconds."""
        mean_s = self.service_seconds_total / self.completed_total if self.completed_total else 1.0
        wait_s = (self.queued + self.capacity) * mean_s / self.capacity
        return min(max(wait_s, 1.0), LONGEST_RETRY_AFTER_S)

    async def _wait(self) -> float:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        began_s = self._clock()
        try:
            async with asyncio.timeout(self._queue_timeout_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._hand_over()  # the slot came in the same moment: pass it on
            else:
                with suppress(ValueError):  # a slot that came free in the same moment has passed it over
                    self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise ApiError(
                    503,
                    "queue_timeout",
                    f"no slot became free within {math.ceil(self._queue_timeout_s)} s; try again later, or raise the "
                    "pool's limits.queueTimeout or maxAgents",
                    kind="server_error",
                    retry_after_s=self.expected_wait_s(),
                ) from None
            raise
        waited_s = self._clock() - began_s
        self.wait_seconds_total += waited_s
        return waited_s

    def _hand_over(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_flight -= 1
