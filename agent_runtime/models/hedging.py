"""When is a call sent a second time because the first is late? (Dean and Barroso, "The Tail at Scale", CACM 2013)

After the time within which 95 % of the calls before had their first token, and for no more than the allowed share of
calls. The first answer wins, the other call is cancelled, and what it cost is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from agent_runtime.models.exchange import Answer
from agent_runtime.models.upstream import Call, Upstream
from agent_runtime.telemetry.instruments import Instruments

Lost = Callable[[Call, Answer | None], None]
"""Told about a call that lost, and its answer when that came whole all the same, None when it was cut off."""

MOST_SAMPLES = 200
FEWEST_SAMPLES = 20
"""Below, nobody knows what late means."""

QUANTILE = 0.95
MOST_CREDIT = 5.0
"""Calls that may be sent twice in a row after a quiet time."""


class Lateness:
    """How long first tokens took lately, and from when on one is late. Pure."""

    __slots__ = ("_late_s", "_samples", "_since")

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=MOST_SAMPLES)
        self._since = 0
        self._late_s: float | None = None

    def add(self, seconds: float) -> None:
        """Note one call. The quantile is taken anew every FEWEST_SAMPLES calls."""
        self._samples.append(seconds)
        self._since += 1
        if self._since >= FEWEST_SAMPLES:
            self._since = 0
            ordered = sorted(self._samples)
            self._late_s = ordered[min(int(len(ordered) * QUANTILE), len(ordered) - 1)]

    @property
    def late_s(self) -> float | None:
        """From when on a call is late; None while too few are known."""
        return self._late_s


class Hedging:
    """Sends late calls a second time."""

    def __init__(self, upstream: Upstream, percent: int, instruments: Instruments) -> None:
        self._upstream = upstream
        self._share = percent / 100
        self._credit = 0.0
        self._instruments = instruments
        self._lateness: dict[tuple[str, bool], Lateness] = {}

    async def call(self, call: Call, on_lost: Lost) -> Answer:
        """The model's first answer. Raises ApiError when both calls fail: the first one's."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        lateness = self._lateness.setdefault((call.route.model, call.streaming), Lateness())
        self._credit = min(self._credit + self._share, MOST_CREDIT)
        calls = [call]
        tasks = [loop.create_task(self._upstream.call(call))]
        try:
            await asyncio.wait(tasks, timeout=lateness.late_s)
            if not tasks[0].done() and self._credit >= 1:
                self._credit -= 1
                calls.append(call.again())
                tasks.append(loop.create_task(self._upstream.call(calls[1])))
            winner = await _first_answer(tasks)
            answer = winner.result()
        except asyncio.CancelledError:  # the caller left: the first call is booked by who made it
            await _end(calls[:1], tasks[:1], None)
            await _end(calls[1:], tasks[1:], on_lost)
            raise
        except BaseException:
            await _end(calls, tasks, None)
            raise
        if len(tasks) > 1:
            self._instruments.upstreams.hedged(call.route.model, "lost" if winner is tasks[0] else "won")
            place = 1 - tasks.index(winner)
            await _end(calls[place : place + 1], tasks[place : place + 1], on_lost)
        lateness.add(loop.time() - began_s)
        return answer


async def _first_answer(tasks: list[asyncio.Task[Answer]]) -> asyncio.Task[Answer]:
    """The task that answered first; the first task when all failed."""
    pending = set(tasks)
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and task.exception() is None:
                return task
    return tasks[0]


async def _end(calls: list[Call], tasks: list[asyncio.Task[Answer]], on_lost: Lost | None) -> None:
    """Cancel what still runs and close what answered. A call that failed by itself cost nothing."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for call, task in zip(calls, tasks, strict=True):
        answer = task.result() if not task.cancelled() and task.exception() is None else None
        if answer is not None:
            answer.close()
        if on_lost is not None and (answer is not None or task.cancelled()):
            on_lost(call, answer)
