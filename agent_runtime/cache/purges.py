"""Which stored answers may no longer be served, in any agent?

A purge deletes nothing: it is a moment, and answers stored up to it are not served again. It costs the same for one
answer and for a million, reaches each tier of each agent, and an agent that missed the announcement reads it later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from agent_runtime.errors import ApiError
from agent_runtime.redis.link import RedisLink
from agent_runtime.redis.wire import RedisUnavailable

CLOCK_MARGIN_S = 1.0
"""Clocks of the agents differ: a purge also covers what is stored within the next second."""

ANSWER = "answer:"
"""Begins the scope of a purge of one answer; its key follows."""


class Purges:
    """Moments of purges by tenant, by tenant and model, and by answer."""

    def __init__(self) -> None:
        self._cuts_s: dict[str, float] = {}
        self.news = asyncio.Event()
        """Set with every new purge."""
        self._all = False
        self._answers: list[str] = []

    def cut_s(self, tenant: str, model: str, key: str = "") -> float:
        """Answers stored up to this Unix second may not be served; 0 when nothing was purged."""
        if not self._cuts_s:
            return 0.0
        scopes = (tenant, f"{tenant} {model}", ANSWER + key)
        return max(self._cuts_s.get(scope, 0.0) for scope in scopes)

    def add(self, scope: str, cut_s: float) -> None:
        """Take a purge in; an older one than is known changes nothing."""
        if cut_s > self._cuts_s.get(scope, 0.0):
            self._cuts_s[scope] = cut_s
            if scope.startswith(ANSWER):
                self._answers.append(scope.removeprefix(ANSWER))
            else:
                self._all = True
            self.news.set()

    def merge(self, known: Mapping[str, str]) -> None:
        """Take in what Redis holds; what is no number is left out."""
        for scope, text in known.items():
            try:
                self.add(scope, float(text))
            except ValueError:
                continue

    def take_news(self) -> Sequence[str] | None:
        """Keys of the answers purged since the last time; None: any answer may be among them."""
        answers, everything = self._answers, self._all
        self._answers, self._all = [], False
        self.news.clear()
        return None if everything else answers

    def outlived(self, moment_s: float) -> list[str]:
        """Scopes of purges before this moment, which are forgotten: no answer is that old."""
        over = [scope for scope, cut_s in self._cuts_s.items() if cut_s < moment_s]
        for scope in over:
            del self._cuts_s[scope]
        return over


class Purger:
    """Purges for all agents of a pool, and learns of theirs."""

    def __init__(
        self,
        purges: Purges,
        link: RedisLink | None,
        key: str,
        *,
        life_s: float,
        unix_time: Callable[[], float],
    ) -> None:
        self._purges = purges
        self._link = link
        self.key = key
        """Hash and channel of the announcements."""
        self._life_s = max(int(life_s + CLOCK_MARGIN_S) + 1, 60)
        self._unix_time = unix_time

    async def purge(self, tenant: str, model: str | None) -> None:
        """Let no agent serve a tenant's answers, of one model or all, that were stored until now.

        Raises ApiError 503 when the other agents could not be told; this one forgets them in any case.
        """
        await self._announce([tenant if model is None else f"{tenant} {model}"])

    async def purge_answers(self, keys: Sequence[str]) -> None:
        """Let no agent serve these answers, as they were stored until now. Raises ApiError 503 as ``purge`` does."""
        if keys:
            await self._announce([ANSWER + key for key in keys])

    def heard(self, message: bytes) -> None:
        """Another agent has purged."""
        scope, _, moment = message.decode(errors="replace").rpartition(" ")
        self._purges.merge({scope: moment})

    async def _announce(self, scopes: Sequence[str]) -> None:
        over = self._purges.outlived(self._unix_time() - self._life_s)
        cut_s = self._unix_time() + CLOCK_MARGIN_S
        for scope in scopes:
            self._purges.add(scope, cut_s)
        if self._link is None:
            return
        try:
            if over:
                await self._link.hash_delete(self.key, *over)
            await self._link.announce(self.key, dict.fromkeys(scopes, f"{cut_s:.6f}"), self._life_s)
        except RedisUnavailable:
            raise ApiError(
                503,
                "purge_not_shared",
                "only this agent has purged its cache, since Redis is away; send the purge again",
                kind="server_error",
                retry_after_s=1,
            ) from None
