"""Was this asked before in other words? Joins the response cache with the semantic cache.

The semantic cache knows questions and the keys of their answers; the answers stay in the response cache, so that
expiry, eviction and purge hold for both. Whatever fails here or takes too long is a miss.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from agent_runtime.cache.entry import Entry
from agent_runtime.cache.keys import cache_key, wants_samples
from agent_runtime.cache.responses import Found, Lookup, ResponseCache
from agent_runtime.errors import EmbedderUnavailable
from agent_runtime.models.assembly import completion_of, whole_answer
from agent_runtime.requests import CHAT, Request
from agent_runtime.semantic.matcher import WordMatcher
from agent_runtime.semantic.question import Question, single_question
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.telemetry.logs import log
from agent_runtime.usage import Usage

if TYPE_CHECKING:  # numpy is loaded only where questions are compared by meaning
    from agent_runtime.semantic.learned import Consultation, LearnedCache
    from agent_runtime.semantic.vectors import Vectors, VectorSource

FORGET_PATIENCE_S = 10.0
"""Longest wait for the vector of a statement whose neighbours are to be forgotten; then all questions are."""

CLOSING_S = 1.0
"""Longest wait for what is being learned when the runtime ends."""

PRECOMPUTED = "precomputed"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is now asked upstream, with what its answer will teach."""

    question: Question
    scope: str
    consultation: Consultation | None


class Paraphrases:
    """Looks up and learns questions in other words."""

    def __init__(
        self,
        cache: ResponseCache,
        *,
        learned: LearnedCache | None,
        embedder: VectorSource | None,
        matcher: WordMatcher,
        precomputed: WordMatcher,
        answers: Sequence[str],
        instruments: Instruments,
        chance: Callable[[], float],
        unix_time: Callable[[], float],
        max_temperature: float = 0.0,
    ) -> None:
        """With ``learned`` and ``embedder`` questions are compared by meaning, else by words with ``matcher``.

        Keys of ``precomputed`` are places in ``answers``.
        """
        self._cache = cache
        self._max_temperature = max_temperature
        self._learned = learned
        self._embedder = embedder
        self._matcher = matcher
        self._precomputed = precomputed
        self._answers = answers
        self._instruments = instruments
        self._chance = chance
        self._unix_time = unix_time
        self._learning: set[asyncio.Task[None]] = set()

    @property
    def entries(self) -> int:
        """Questions held."""
        return len(self._learned) if self._learned is not None else len(self._matcher)

    @property
    def size_bytes(self) -> int:
        """Bytes of questions and cached vectors; the cheap modes' are not counted."""
        held = self._learned.size_bytes if self._learned is not None else 0
        return held + (self._embedder.cached_bytes if self._embedder is not None else 0)

    async def find(self, request: Request, scope: bytes) -> tuple[Found | None, Asked | None]:
        """An answer to the same question in other words, or what to learn from the one that will be made.

        ``scope``: the endpoint and its model. Both are None for requests that are no single question.
        """
        question = single_question(request.fields) if request.operation == CHAT else None
        if question is None or wants_samples(request.fields, self._max_temperature):
            return None, None
        now_s = self._unix_time()
        formatted = request.fields.get("response_format") is not None
        prepared = None if formatted else self._precomputed.find("", question.text, now_s=now_s)
        if prepared is not None:
            return self._told("precomputed", _precomputed(self._answers[int(prepared[0])], request.model, now_s)), None
        place = cache_key(request.tenant.encode() + b"\n" + scope, question.rest)
        consultation, key = None, None
        if self._learned is None:
            matched = self._matcher.find(place, question.text, now_s=now_s)
            key = matched[0] if matched is not None else None
            outcome = "hit" if key is not None else "empty"
        else:
            consulted = await self._consult(place, question.text, now_s)
            if isinstance(consulted, str):
                return self._told(consulted, None), None
            consultation, key, outcome = consulted, consulted.key, consulted.outcome.partition(":")[0]
        found = await self._stored(key, request, now_s) if key is not None else None
        if key is not None and found is None:
            outcome = "gone"
        return self._told(outcome, found), None if found is not None else Asked(question, place, consultation)

    def learn(self, asked: Asked, request: Request, key: str, entry: Entry) -> None:
        """The true answer of a question is stored under ``key``. Returns at once."""
        if self._learned is None:
            self._matcher.add(asked.scope, request.tenant, asked.question.text, key, expires_s=entry.expires_s)
            return
        text = _answer_text(entry)
        if text is not None and asked.consultation is not None:
            self._begin(self._learn(asked.consultation, request.tenant, key, text, entry.expires_s))

    async def drop_near(self, tenant: str, statement: str, similarity: float) -> int:
        """Drop a tenant's questions near a statement, and their answers in every tier; gives their number."""
        learned, embedder = self._learned, self._embedder
        if learned is None or embedder is None:
            keys = self._matcher.drop_near(tenant, statement, similarity)
        else:
            try:
                async with asyncio.timeout(FORGET_PATIENCE_S):
                    keys = await embedder.run(
                        [statement], lambda vectors: learned.drop_near(tenant, vectors[0], similarity)
                    )
            except (EmbedderUnavailable, TimeoutError):
                log(logging.WARNING, "forgetting all of a caller's questions: nobody can tell which are near")
                keys = await embedder.run([], lambda _: learned.drop_near(tenant, None, similarity))
        await self._cache.drop(keys)
        return len(keys)

    def drop_vectors(self) -> None:
        """Let the cached embeddings go, for their memory; the questions stay."""
        if self._embedder is not None:
            self._begin(self._embedder.forget_cached())

    async def aclose(self) -> None:
        """Finish what is being learned, as far as it takes no longer than a moment."""
        if self._learning:
            _, unfinished = await asyncio.wait(self._learning, timeout=CLOSING_S)
            for task in unfinished:
                task.cancel()
        if self._embedder is not None:
            await self._embedder.aclose()

    async def _consult(self, place: str, text: str, now_s: float) -> Consultation | str:
        """What is known of a question, or why nobody can tell: late, unavailable."""
        learned, embedder, chance = self._learned, self._embedder, self._chance()
        assert learned is not None and embedder is not None  # noqa: S101  (the constructor's contract)
        try:
            async with asyncio.timeout(embedder.patience_s):
                return await embedder.run(
                    [text], lambda vectors: learned.consult(place, text, vectors[0], now_s=now_s, chance=chance)
                )
        except TimeoutError:
            return "late"
        except EmbedderUnavailable:
            return "unavailable"

    async def _stored(self, key: str, request: Request, now_s: float) -> Found | None:
        """The answer of a known question, from any tier; a question whose answer is gone is forgotten."""
        ask = Lookup(key, request.tenant, request.control)
        found = self._cache.lookup(ask, now_s) or await self._cache.lookup_shared(ask, now_s)
        if found is None:
            learned = self._learned
            if learned is None or self._embedder is None:
                self._matcher.forget(key)
            else:
                self._begin(self._embedder.run([], lambda _: learned.forget(key)))
            return None
        return Found(found.entry, "semantic", found.age_s)

    async def _learn(self, asked: Consultation, tenant: str, key: str, text: str, expires_s: float) -> None:
        learned, embedder = self._learned, self._embedder
        assert learned is not None and embedder is not None  # noqa: S101

        def learn(vectors: list[Vectors]) -> None:
            vector = vectors[0] if vectors else None
            learned.learn(asked, tenant=tenant, key=key, answer=text, answer_vector=vector, expires_s=expires_s)

        try:
            await embedder.run([text], learn)
        except EmbedderUnavailable:
            await embedder.run([], learn)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)

    def _told(self, outcome: str, found: Found | None) -> Found | None:
        self._instruments.semantic_result(outcome)
        return found


def _answer_text(entry: Entry) -> str | None:
    """What the answer says; None when it is more than one finished text."""
    body = whole_answer(entry.body, entry.usage_frame) if entry.streamed else entry.body
    try:
        (choice,) = orjson.loads(body or b"")["choices"]
        text = choice["message"]["content"]
        plain = isinstance(text, str) and bool(text.strip()) and not choice["message"].get("tool_calls")
        return text if plain and choice["finish_reason"] == "stop" else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _precomputed(answer: str, model: str, now_s: float) -> Found:
    """A chat completion with a text that was there before anybody asked."""
    entry = Entry(
        body=completion_of(answer, model, now_s, "chatcmpl-precomputed"),
        streamed=False,
        model=model,
        usage=Usage(0, 0, 0),
        cost_nanousd=0,
        stored_s=now_s,
        expires_s=now_s + 1.0,
    )
    return Found(entry, PRECOMPUTED, 0.0)
