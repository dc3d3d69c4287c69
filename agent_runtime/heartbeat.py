"""What happens every second? The heartbeat, Redis' sign of life, and a look at the Secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent_runtime.redis_link import RedisLink
from agent_runtime.redis_wire import RedisUnavailable
from agent_runtime.secrets import Secrets
from agent_runtime.settings import Process
from agent_runtime.state import State
from agentpool_api import keys

INTERVAL_S = 1.0


class Pulse:
    """The process's regular work."""

    def __init__(self, process: Process, state: State, secrets: Secrets, link: RedisLink | None) -> None:
        self._state = state
        self._secrets = secrets
        self._link = link
        self._key = keys.heartbeats(process.namespace, process.pool)
        self._pod = process.pod

    async def beat_forever(self, also: Callable[[], None]) -> None:
        """Beat every second until cancelled; ``also`` is called with every beat."""
        while True:
            also()
            self._secrets.reload()
            await self.beat()
            await asyncio.sleep(INTERVAL_S)

    async def beat(self) -> None:
        """Write one heartbeat; without Redis only look whether it is back."""
        if self._link is None or not (self._link.available or await self._link.probe()):
            return
        try:
            await self._link.hash_set(self._key, self._pod, self._state.heartbeat().model_dump_json())
        except RedisUnavailable:
            return

    async def leave(self) -> None:
        """Take the heartbeat away: the operator then knows that this agent ended by itself."""
        if self._link is None:
            return
        try:
            await self._link.hash_delete(self._key, self._pod)
        except RedisUnavailable:
            return
