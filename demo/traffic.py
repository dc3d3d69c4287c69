"""How are the planned requests sent, and what came back? The official SDK, open loop: no request waits for another."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError, AsyncOpenAI

from demo.trace import Request

_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    sent: int = 0
    answered: int = 0
    streamed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    cache: Counter[str] = field(default_factory=Counter)
    """Answers by the runtime's x-agentpool-cache header: miss, l1, l2 and so on."""
    first_words: dict[str, str] = field(default_factory=dict)
    """The first error's message of each kind."""
    saved_usd: Decimal = Decimal(0)
    latency_s: list[float] = field(default_factory=list)
    """Of answers that no cache gave."""

    @property
    def in_flight(self) -> int:
        return self.sent - self.answered - self.failed

    @property
    def failed(self) -> int:
        return self.errors.total()

    @property
    def hits(self) -> int:
        return sum(count for result, count in self.cache.items() if result in HITS)

    @property
    def hit_ratio(self) -> float:
        return self.hits / self.answered if self.answered else 0.0


HITS = ("l1", "l2", "coalesced")


class Client:
    """Sends requests to a pool. Use as an async context manager."""

    def __init__(self, base_url: str, api_key: str, model: str, tally: Tally) -> None:
        # A connection per request, as of so many callers: a kept one would stay with the agent it first met.
        http = httpx2.AsyncClient(limits=httpx2.Limits(max_keepalive_connections=0), timeout=_TIMEOUT_S)
        self._openai = AsyncOpenAI(base_url=base_url, api_key=api_key, http_client=http, timeout=_TIMEOUT_S)
        self._model = model
        self._tally = tally

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._openai.close()

    async def replay(self, requests: Sequence[Request]) -> None:
        """Send each request at its time and return when all have an outcome."""
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for request in requests:
                await asyncio.sleep(max(0.0, began_s + request.at_s - time.monotonic()))
                group.create_task(self.send(request))

    async def send(self, request: Request) -> None:
        """Send one request and count its outcome; an error is an outcome."""
        self._tally.sent += 1
        began_s = time.monotonic()
        try:
            headers = await (self._streamed(request) if request.stream else self._whole(request))
        except APIStatusError as error:
            self._fail(f"{error.status_code} {error.code or ''}".strip(), error)
        except APITimeoutError as error:
            self._fail("timeout", error)
        except (APIConnectionError, httpx2.HTTPError) as error:
            self._fail("connection", error)
        except APIError as error:  # an error in the middle of a stream
            self._fail(f"stream {error.code or ''}".strip(), error)
        else:
            self._count(headers, time.monotonic() - began_s, request.stream)

    async def _whole(self, request: Request) -> httpx2.Headers:
        raw = await self._openai.chat.completions.with_raw_response.create(
            model=self._model,
            messages=[{"role": "user", "content": request.prompt}],
            max_tokens=request.completion_tokens,
        )
        raw.parse()
        return raw.headers

    async def _streamed(self, request: Request) -> httpx2.Headers:
        raw = await self._openai.chat.completions.with_raw_response.create(
            model=self._model,
            messages=[{"role": "user", "content": request.prompt}],
            max_tokens=request.completion_tokens,
            stream=True,
        )
        async for _ in raw.parse():
            pass
        return raw.headers

    def _fail(self, kind: str, error: Exception) -> None:
        self._tally.errors[kind] += 1
        self._tally.first_words.setdefault(kind, str(error)[:200])

    def _count(self, headers: httpx2.Headers, took_s: float, streamed: bool) -> None:
        tally = self._tally
        tally.answered += 1
        tally.streamed += streamed
        result = headers.get("x-agentpool-cache", "unknown").lower()
        tally.cache[result] += 1
        with suppress(InvalidOperation):
            tally.saved_usd += Decimal(headers.get("x-agentpool-saved-usd", "0"))
        if result not in HITS:
            tally.latency_s.append(took_s)
