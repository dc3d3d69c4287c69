"""How does the semantic cache get its vectors from an embeddings model of the pool, and never hold an answer up for it?

Texts that come within a few milliseconds go together, the same text goes once, and what was embedded is kept. A call
goes the way of every call to an endpoint and is booked like one. Callers wait for a stated time; the call goes on
without them, since its vector serves the next one. After calls that failed or came late nobody waits for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson

from agent_runtime.errors import ApiError, EmbedderUnavailable
from agent_runtime.models.answers import NotJson, read_answer
from agent_runtime.models.circuit import Circuit
from agent_runtime.models.endpoints import Route
from agent_runtime.pipeline.accounting import Accounts
from agent_runtime.pipeline.asking import Asking
from agent_runtime.pipeline.windows import Windows
from agent_runtime.requests import EMBEDDINGS, Request
from agent_runtime.semantic.question import LONGEST_QUESTION
from agent_runtime.semantic.vectors import InvalidVectors, Result, VectorCache, Vectors, read_vectors
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.telemetry.logs import log
from agent_runtime.usage import estimate

BATCH = 32
WINDOW_S = 0.003
"""How long the first text waits for others: little beside a call over the network."""

LONGEST_CALL_S = 10.0
"""A call nobody waits for any more may take so long, tries included."""

MOST_CALLS = 4
"""Calls at once; the texts of further ones wait."""

LONGEST_TEXT = 2000
"""Characters of a text that are embedded, about 500 tokens: many encoders read no more, and it bounds the cost."""

FAILURES = 3
"""Failed or late calls one after another after which lookups do not ask for a while."""

REST_S = 10.0
"""How long; it doubles with every probe that fails, up to eight times as long."""

Numbered = tuple[int, Vectors]
"""A vector and the number of the vector space it lies in: vectors of two spaces are never compared."""


class EndpointEmbedder:
    """Embeds with a model of the pool. ``on_new_space`` is called, off the event loop, before the first ``then``
    whose vectors come from another model, or have other dimensions, than those before."""

    def __init__(
        self,
        route: Route,
        asking: Asking,
        accounts: Accounts,
        instruments: Instruments,
        *,
        patience_s: float,
        cache_bytes: int,
        request_id: Callable[[], str],
        clock: Callable[[], float],
        on_new_space: Callable[[], None],
    ) -> None:
        self.patience_s = patience_s
        self._route = route
        self._asking = asking
        self._accounts = accounts
        self._instruments = instruments
        self._request_id = request_id
        self._clock = clock
        self._on_new_space = on_new_space
        self._cache = VectorCache(cache_bytes)
        self._coming: dict[str, asyncio.Task[Numbered]] = {}
        self._windows: Windows[str, Numbered] = Windows(self._send, size=BATCH, window_s=WINDOW_S)
        self._calls = asyncio.Semaphore(MOST_CALLS)
        self._circuit = Circuit(FAILURES, REST_S)
        self._thread = ThreadPoolExecutor(1, "questions")
        self._space: tuple[str, int] | None = None
        self._number = 0
        """Of the vector space that the latest answer lies in."""
        self._entered = 0
        """Of the one that ``then`` was last called with; the thread's own."""

    @property
    def cached_bytes(self) -> int:
        """Bytes of the vectors kept for texts seen again."""
        return self._cache.size_bytes

    async def run(self, texts: Sequence[str], then: Callable[[list[Vectors]], Result]) -> Result:
        """Embed texts, then call ``then`` with their unit vectors, in a thread, one after the other; gives its result.

        Raises EmbedderUnavailable, and what ``then`` raises.
        """
        found = await asyncio.gather(*(self._vector(text[:LONGEST_TEXT]) for text in texts))
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._enter, found, then)

    async def forget_cached(self) -> None:
        """Let all cached vectors go."""
        self._cache.clear()

    async def aclose(self) -> None:
        """Give up the calls that are not answered yet; they are booked as sent."""
        for task in list(self._coming.values()):
            task.cancel()
        await self._windows.ended()
        await asyncio.to_thread(self._thread.shutdown)

    async def _vector(self, text: str) -> Numbered:
        known = self._cache.get(text)
        if known is not None:
            self._instruments.semantic_vector("cached")
            return self._number, known
        task = self._coming.get(text)
        if task is None:
            if not self._circuit.ready(self._clock()):
                raise EmbedderUnavailable("the embeddings model failed or was late several times; it is left alone")
            task = self._coming[text] = asyncio.create_task(self._windows.join(_group(text), text))
            task.add_done_callback(lambda done: self._came(text, done))
        return await asyncio.shield(task)

    def _came(self, text: str, task: asyncio.Task[Numbered]) -> None:
        del self._coming[text]
        failed = task.cancelled() or task.exception() is not None
        self._instruments.semantic_vector("failed" if failed else "embedded")
        if not failed and task.result()[0] == self._number:
            self._cache.keep(text, task.result()[1])

    async def _send(self, group: str, texts: Sequence[str]) -> list[Numbered]:
        """The vectors of a batch. Raises EmbedderUnavailable."""
        async with self._calls:
            timer = self._begin(group)
            try:
                async with asyncio.timeout(LONGEST_CALL_S):
                    body = await self._ask(texts)
                vectors, model = await asyncio.get_running_loop().run_in_executor(
                    self._thread, read_vectors, body, len(texts)
                )
            except (ApiError, TimeoutError, InvalidVectors) as error:
                self._end(timer, ok=False)
                log(logging.WARNING, "texts were not embedded", model=self._route.model, reason=str(error))
                raise EmbedderUnavailable(str(error)) from None
            except BaseException:
                if timer is not None:
                    timer.cancel()
                    self._circuit.leave()
                raise
        self._end(timer, ok=True)
        number = self._number_of((model, vectors.shape[1]))
        return [(number, vector.copy()) for vector in vectors]

    def _begin(self, group: str) -> asyncio.TimerHandle | None:
        """Lookups alone tell whether waiting is worth it: an answer may be too long for the model."""
        if group != _QUESTIONS:
            return None
        self._circuit.begin()
        return asyncio.get_running_loop().call_later(self.patience_s, lambda: self._circuit.fail(self._clock()))

    def _end(self, late: asyncio.TimerHandle | None, *, ok: bool) -> None:
        if late is None or late.when() <= asyncio.get_running_loop().time():
            return
        late.cancel()
        self._circuit.succeed() if ok else self._circuit.fail(self._clock())

    async def _ask(self, texts: Sequence[str]) -> bytes:
        """The endpoint's answer, booked. Raises ApiError."""
        fields = {"model": self._route.model, "input": list(texts), "encoding_format": "float"}
        request = Request(
            operation=EMBEDDINGS,
            body=orjson.dumps(fields),
            fields=fields,
            model=self._route.model,
            stream=False,
            include_usage=False,
            tenant="",
            request_id=self._request_id(),
            started_s=self._clock(),
        )
        answer = await self._asking.ask(request, self._route, None, {})
        answer.close()
        try:
            usage, _ = read_answer(answer.first, EMBEDDINGS)
        except NotJson:
            usage = None
        self._accounts.book_call(request, usage or estimate(fields, 0), answer.endpoint)
        return answer.first

    def _number_of(self, space: tuple[str, int]) -> int:
        """The number of the space the latest answer lies in; vectors of another one are let go."""
        if space != self._space:
            if self._space is not None:
                self._instruments.semantic_restarts.inc()
                log(
                    logging.WARNING,
                    "other vectors than before: questions are learned anew",
                    model=space[0],
                    was=self._space[0],
                )
            self._space = space
            self._number += 1
            self._cache.clear()
        return self._number

    def _enter(self, found: Sequence[Numbered], then: Callable[[list[Vectors]], Result]) -> Result:
        numbers = {number for number, _ in found}
        if len(numbers) > 1 or any(number < self._entered for number in numbers):
            raise EmbedderUnavailable("the embeddings model has changed meanwhile")
        if numbers and numbers != {self._entered}:
            self._entered = numbers.pop()
            self._on_new_space()
        return then([vector for _, vector in found])


_QUESTIONS, _LONGER = "questions", "longer texts"


def _group(text: str) -> str:
    """Longer texts, which a model may refuse, go in calls of their own."""
    return _QUESTIONS if len(text) <= LONGEST_QUESTION else _LONGER
