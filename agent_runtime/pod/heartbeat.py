"""What happens every second? The heartbeat, the budget's notice, Redis' sign of life, and a look at the Secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent_runtime.budget.notice import BudgetView
from agent_runtime.pod.secrets import Secrets
from agent_runtime.pod.state import State
from agent_runtime.redis.link import RedisLink
from agent_runtime.redis.wire import RedisUnavailable
from agent_runtime.settings import Process
from agentpool_api import keys

INTERVAL_S = 1.0


class Pulse:
    """The process's regular work."""

    def __init__(
        self,
        process: Process,
        state: State,
        secrets: Secrets,
        link: RedisLink | None,
        budget: BudgetView,
        clock: Callable[[], float],
    ) -> None:
        self._state = state
        self._secrets = secrets
        self._link = link
        self._key = keys.heartbeats(process.namespace, process.pool)
        self._notice_key = keys.budget_notice(process.namespace, process.pool)
        self._pod = process.pod
        self._budget = budget
        self._clock = clock

    async def beat_forever(self, also: Callable[[], None]) -> None:
        """Beat every second until cancelled; ``also`` is called with every beat."""
        while True:
            also()
            self._secrets.reload()
            await self.beat()
            await asyncio.sleep(INTERVAL_S)

    async def beat(self) -> None:
        """Write one heartbeat and read the budget's notice; without Redis only look whether it is back."""
        if self._link is None:
            return
        try:
            notice = await self._exchange(self._link)
        except RedisUnavailable:
            self._budget.miss(self._clock())
        else:
            self._budget.take(notice, self._clock())

    async def _exchange(self, link: RedisLink) -> bytes | None:
        if not (link.available or await link.probe()):
            raise RedisUnavailable("Redis is away")
        beat = self._state.heartbeat().model_dump_json()
        _, notice = await asyncio.gather(link.hash_set(self._key, self._pod, beat), link.read(self._notice_key))
        return notice

    async def leave(self) -> None:
        """Take the heartbeat away: the operator then knows that this agent ended by itself."""
        if self._link is None:
            return
        try:
            await self._link.hash_delete(self._key, self._pod)
        except RedisUnavailable:
            return
