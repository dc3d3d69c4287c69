"""What has the pool done and saved? The figures of this agent and, through Redis, of the others that run.

Each agent writes its counts every few seconds; whoever is asked adds them up. Nothing is counted for it on a request's
way: the counts are those of the metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from agent_runtime.redis.link import RedisLink
from agent_runtime.redis.wire import RedisUnavailable
from agent_runtime.settings import Process
from agent_runtime.telemetry.figures import add, as_counts, figures
from agent_runtime.telemetry.instruments import Instruments
from agentpool_api import keys

WRITE_EVERY_S = 5.0
GONE_AFTER_S = 30.0
"""An agent that has not written for so long is gone without a word, and its counts with it."""

LIFE_MS = 3_600_000
"""The counts of a pool that is gone leave Redis by themselves."""


class AgentCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent has counted since it began."""

    pod: str
    started_s: float
    at_s: float
    counts: dict[str, float]


class PoolStats:
    """Writes this agent's counts and reads everybody's."""

    def __init__(
        self, link: RedisLink | None, process: Process, instruments: Instruments, unix_time: Callable[[], float]
    ) -> None:
        self._link = link
        self._pool = process.pool
        self._pod = process.pod
        self._key = keys.stats(process.namespace, process.pool)
        self._instruments = instruments
        self._unix_time = unix_time
        self._started_s = unix_time()

    async def write_forever(self) -> None:
        """Write the counts every few seconds until cancelled."""
        while True:
            await self.write()
            await asyncio.sleep(WRITE_EVERY_S)

    async def write(self) -> None:
        """Write the counts once; without Redis nothing."""
        if self._link is not None and self._link.available:
            try:
                await self._link.hash_set(self._key, self._pod, msgspec.json.encode(self._own()))
                await self._link.prolong([self._key], LIFE_MS)
            except RedisUnavailable:
                return  # written again soon

    async def leave(self) -> None:
        """Take this agent's counts away."""
        if self._link is not None and self._link.available:
            try:
                await self._link.hash_delete(self._key, self._pod)
            except RedisUnavailable:
                return  # too old soon

    async def read(self) -> dict[str, Any]:
        """The figures, of the whole pool when Redis is there (``scope`` says which), each agent since its start."""
        own, now_s = self._own(), self._unix_time()
        others = await self._others(now_s)
        agents = sorted([own, *(others or [])], key=lambda agent: agent.pod)
        return {
            "object": "pool.stats",
            "pool": self._pool,
            "scope": "agent" if others is None else "pool",
            "agents": [
                {"pod": one.pod, "since": _utc(one.started_s), "age_s": round(max(now_s - one.at_s, 0.0), 1)}
                for one in agents
            ],
        } | figures(add(agent.counts for agent in agents))

    def _own(self) -> AgentCounts:
        counts = as_counts(self._instruments.samples())
        return AgentCounts(pod=self._pod, started_s=self._started_s, at_s=self._unix_time(), counts=counts)

    async def _others(self, now_s: float) -> list[AgentCounts] | None:
        """What the other agents wrote; None when it cannot be read."""
        if self._link is None:
            return None
        try:
            written = await self._link.hash_all(self._key)
            found = {pod: _parsed(raw) for pod, raw in written.items() if pod != self._pod}
            gone = [pod for pod, one in found.items() if one is None or now_s - one.at_s > GONE_AFTER_S]
            for pod in gone:
                await self._link.hash_delete(self._key, pod)
        except RedisUnavailable:
            return None
        return [one for pod, one in found.items() if one is not None and pod not in gone]


def _parsed(raw: str) -> AgentCounts | None:
    try:
        return msgspec.json.decode(raw, type=AgentCounts)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _utc(at_s: float) -> str:
    return datetime.fromtimestamp(int(at_s), UTC).isoformat().replace("+00:00", "Z")
