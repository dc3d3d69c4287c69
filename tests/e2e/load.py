"""Callers and tasks that never pause while agents come and go, and the book of what became of them."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import redis

CALLERS, STREAMS = 4, 3
STREAM_TOKENS = 600
"""About two seconds from the simulated endpoint."""


@dataclass(slots=True)
class Book:
    """What was sent and what came back whole. Nothing is tried twice."""

    asked: int = 0
    answered: int = 0
    streams: int = 0
    streamed: int = 0
    tasks: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class Load:
    """Requests, streams and tasks in a thread of their own. Use as a context manager."""

    def __init__(self, base_url: str, key: str, queue: redis.Redis, stream: str, *, tasks_per_s: float = 2.0) -> None:
        self.book = Book()
        self._url, self._headers = f"{base_url}/chat/completions", {"Authorization": f"Bearer {key}"}
        self._queue, self._stream, self._pause_s = queue, stream, 1 / tasks_per_s
        self._chance = random.Random(4)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Begin nothing new and wait for what was begun."""
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "a request has no end"

    async def _run(self) -> None:
        # A connection per request, as of so many callers: a kept one would stay with the agent it first met.
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=100)
        async with aiohttp.ClientSession(headers=self._headers, connector=connector, timeout=timeout) as session:
            callers = [self._again(lambda: self._ask(session)) for _ in range(CALLERS)]
            streams = [self._again(lambda: self._follow(session)) for _ in range(STREAMS)]
            await asyncio.gather(*callers, *streams, self._again(self._add_task))

    async def _again(self, once: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._stop.is_set():
            try:
                await once()
            except (aiohttp.ClientError, TimeoutError, AssertionError) as error:
                self.book.lost.append(repr(error))

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        await asyncio.sleep(self._chance.uniform(0, 0.2))
        self.book.asked += 1
        tokens = self._chance.randint(20, 200)
        async with session.post(self._url, json=self._body(f"request {self.book.asked}", tokens)) as answer:
            text = await answer.text()
            assert answer.status == 200, f"request: {answer.status} {text}"
        assert json.loads(text)["choices"][0]["message"]["content"].split() == ["lorem"] * tokens
        self.book.answered += 1

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        self.book.streams += 1
        body = self._body(f"stream {self.book.streams}", STREAM_TOKENS) | {"stream": True}
        async with session.post(self._url, json=body) as answer:
            text = await answer.text()
            assert answer.status == 200, f"stream: {answer.status} {text}"
        assert text.count("lorem") == STREAM_TOKENS, f"stream cut after {text.count('lorem')} tokens"
        assert text.rstrip().endswith("data: [DONE]"), "stream without its end"
        self.book.streamed += 1

    async def _add_task(self) -> None:
        await asyncio.sleep(self._chance.expovariate(1 / self._pause_s))
        task = {"seconds": f"{self._chance.uniform(0.2, 1.5):.2f}"}
        self.book.tasks.append(str(await asyncio.to_thread(self._queue.xadd, self._stream, task)))

    @staticmethod
    def _body(text: str, tokens: int) -> dict[str, Any]:
        return {"model": "small-model", "max_tokens": tokens, "messages": [{"role": "user", "content": text}]}
