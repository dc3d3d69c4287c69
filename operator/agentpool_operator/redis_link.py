"""How is Redis reached without ever waiting long for it?

Commands go in one round trip with a deadline, in which only time counts that this process had to read the answer.
After a failure the circuit is open for a while: callers are refused at once, and one of them tries again when the while
is over.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import redis.asyncio as redis
import structlog
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from agentpool_operator import metrics
from agentpool_operator.errors import RedisUnavailableError
from agentpool_operator.settings import RedisAccess

log = structlog.get_logger(__name__)

CONNECT_S = 0.5
ANSWER_S = 0.5
PER_COMMAND_S = 0.001
"""Added for each command, so that a reading of a thousand pools has the time it takes."""

TICK_S = 0.1
"""A process that was busy for seconds finds the answer it did not read. It takes this off the time Redis has, once."""

FIRST_OPEN_S = 1.0
LONGEST_OPEN_S = 5.0

Command = tuple[str | bytes | int | float, ...]


class RedisLink:
    """One Redis, reached in bounded time."""

    def __init__(self, access: RedisAccess, clock: Callable[[], float]) -> None:
        """``clock`` is monotonic seconds."""
        self._client = make_client(access)
        self._clock = clock
        self._open_until_s = 0.0
        self._open_s = FIRST_OPEN_S
        self._up: bool | None = None

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Answers to the commands, in their order and one round trip; None for one that was refused on its own.

        Raises RedisUnavailableError when there is no answer in time, or Redis refuses everything.
        """
        if not commands:
            return []
        if self._clock() < self._open_until_s:
            raise RedisUnavailableError("Redis did not answer a moment ago")
        try:
            answers = await self._execute_within(CONNECT_S + ANSWER_S + PER_COMMAND_S * len(commands), commands)
        except ResponseError as error:
            # Loading its data, read-only, no permission: an answer, but none to work with.
            self._failed(error)
            raise RedisUnavailableError(f"Redis refuses: {error}") from error
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            raise RedisUnavailableError(f"Redis does not answer: {error or type(error).__name__}") from error
        self._succeeded()
        return answers

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _execute_within(self, limit_s: float, commands: Sequence[Command]) -> list[Any]:
        execution = asyncio.create_task(self._execute(commands))
        try:
            for _ in range(math.ceil(limit_s / TICK_S)):
                done, _ = await asyncio.wait({execution}, timeout=TICK_S)
                if done:
                    return execution.result()
            raise TimeoutError
        finally:
            execution.cancel()
            await asyncio.wait({execution})

    async def _execute(self, commands: Sequence[Command]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, RedisError) and not isinstance(answer, ResponseError):
                raise answer
        if all(isinstance(answer, ResponseError) for answer in answers):
            raise answers[0]
        return [None if isinstance(answer, ResponseError) else answer for answer in answers]

    def _failed(self, error: Exception) -> None:
        self._open_until_s = self._clock() + self._open_s
        self._open_s = min(self._open_s * 2, LONGEST_OPEN_S)
        metrics.REDIS_UP.set(0)
        if self._up is not False:
            log.warning("redis lost", error=str(error) or type(error).__name__)
        self._up = False

    def _succeeded(self) -> None:
        self._open_s = FIRST_OPEN_S
        metrics.REDIS_UP.set(1)
        if self._up is False:
            log.info("redis found again")
        self._up = True


def make_client(access: RedisAccess) -> redis.Redis:
    """A client without retries of its own: the next period is the retry."""
    options: dict[str, Any] = {}
    if access.url.startswith("rediss://") and access.ca_pem:
        options = {"ssl_ca_data": access.ca_pem, "ssl_min_version": ssl.TLSVersion.TLSv1_2}
    return redis.Redis.from_url(
        access.url,
        socket_connect_timeout=CONNECT_S,
        socket_timeout=CONNECT_S + ANSWER_S + 10.0,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        max_connections=4,
        protocol=2,
        **options,
    )
