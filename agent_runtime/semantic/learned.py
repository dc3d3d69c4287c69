"""May this question be answered with what was answered before? Asks the neighbours, checks the facets, weighs the risk.

One object for a pool: what is learned about risk is shared by all scopes, questions and answers never leave theirs. No
clock, no chance of its own, no I/O; not for two threads at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from agent_runtime.semantic.facets import Facets, differing, read_facets
from agent_runtime.semantic.index import VectorIndex
from agent_runtime.semantic.risk import RiskBudget, RiskModel
from agent_runtime.semantic.vectors import Vectors
from agent_runtime.semantic.vote import NEIGHBOURS, Vote, vote
from agent_runtime.semantic.words import Words, overlap, words

SAME_ANSWER = 0.95
"""Cosine from which two answers with the same facets are one answer."""

ONCE_SIMILARITY = 0.90
ONCE_OVERLAP = 0.5
"""An answer known from one question serves only what is nearly that question: at least this cosine, and this share of
words. The rest waits until a second true call has given the same answer."""

ENTRY_BYTES = 1200
"""Rough size of an entry beside its vector: facets, words, keys (tracemalloc over the development streams)."""


@dataclass(frozen=True, slots=True)
class Consultation:
    """What was found for one question; also what ``learn`` needs when the question is asked upstream."""

    scope: str
    text: str
    vector: Vectors
    key: str | None
    """Key of the stored answer to serve; None: ask upstream."""
    outcome: str
    """hit, sampled (a hit given up to learn), risky, unconfirmed, differs:<facet>, or empty."""
    risk: float
    """Estimated probability that the answer is wrong; 1 when there is none."""
    similarity: float
    vote: Vote | None
    epoch: int = 0
    """Vectors of another epoch are another encoder's."""


@dataclass(slots=True)
class _Known:
    """One question whose true answer is known."""

    scope: str
    slot: int
    key: str
    answer: int
    facets: Facets
    words: Words
    expires_s: float


@dataclass(slots=True)
class _Answer:
    digest: bytes
    vector: Vectors | None
    facets: Facets
    questions: int


class _Scope:
    """Questions that may answer each other: one tenant, model, system prompt and set of parameters."""

    def __init__(self, tenant: str, width: int) -> None:
        self.tenant = tenant
        self.index = VectorIndex(width)
        self.known: dict[int, _Known] = {}
        self.answers: dict[int, _Answer] = {}
        self.by_digest: dict[bytes, int] = {}


class LearnedCache:
    """Questions and answers of a pool, with what they taught about being wrong."""

    def __init__(self, *, delta: float, sample_share: float, max_entries: int) -> None:
        """``delta``: most wrong answers among those served, in (0, 1). ``sample_share``: share of hits given up."""
        self._delta = delta
        self._sample_share = sample_share
        self._max_entries = max_entries
        self._epoch = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, and what a consultation before this one taught: vectors come from another encoder now."""
        self._epoch += 1
        self._risk = RiskModel()
        self._budget = RiskBudget(self._delta)
        self._scopes: dict[str, _Scope] = {}
        self._order: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._by_key: dict[str, tuple[str, int]] = {}
        self._next_answer = 0

    def __len__(self) -> int:
        return len(self._order)

    @property
    def size_bytes(self) -> int:
        """Bytes held, the vectors exactly."""
        return sum(scope.index.size_bytes for scope in self._scopes.values()) + ENTRY_BYTES * len(self)

    def consult(self, scope: str, text: str, vector: Vectors, *, now_s: float, chance: float) -> Consultation:
        """Find the answer for a question of a scope. ``chance`` in [0, 1): whether a hit is given up to learn."""
        place = self._scopes.get(scope)
        neighbours, found = self._ask(place, vector, now_s) if place is not None else ([], None)
        if found is None:
            return Consultation(scope, text, vector, None, "empty", 1.0, 0.0, None, self._epoch)
        supporters = [neighbours[position] for position in found.supporters]
        risk, outcome = self._risk.risk(found.margin, found.answer), "hit"
        if risk <= self._budget.highest:  # the checks cost more than the vote: made where they can matter
            objection = _objection(text, found, supporters)
            risk, outcome = (1.0, objection) if objection else (risk, outcome)
        if not self._budget.allows(risk):
            outcome = "risky" if outcome == "hit" else outcome
        elif chance < self._sample_share:
            outcome = "sampled"
        key = supporters[0].key if outcome == "hit" else None
        if key is not None:
            self._order.move_to_end((scope, supporters[0].slot))
        return Consultation(scope, text, vector, key, outcome, risk, found.similarity, found, self._epoch)

    def learn(
        self,
        asked: Consultation,
        *,
        tenant: str,
        key: str,
        answer: str,
        answer_vector: Vectors | None,
        expires_s: float,
    ) -> None:
        """The true answer of a question that was asked upstream. ``key`` names where the answer is stored.

        ``answer_vector`` lets answers in other words count as the same; without it only equal texts do.
        """
        if asked.epoch != self._epoch:
            return
        self.forget(key)
        place = self._scopes.setdefault(asked.scope, _Scope(tenant, len(asked.vector)))
        true = self._identify(place, asked, answer, answer_vector)
        if asked.vote is not None and asked.vote.answer in place.answers:
            self._risk.observe(asked.vote.margin, asked.vote.answer, wrong=asked.vote.answer != true)
        place.answers[true].questions += 1
        slot = place.index.add(asked.vector)
        facets, bag = read_facets(asked.text), words(asked.text)
        place.known[slot] = _Known(asked.scope, slot, key, true, facets, bag, expires_s)
        self._order[(asked.scope, slot)] = None
        self._by_key[key] = (asked.scope, slot)
        while len(self._order) > self._max_entries:
            self._drop(*next(iter(self._order)))

    def forget(self, key: str) -> None:
        """The stored answer of this key is gone."""
        held = self._by_key.get(key)
        if held is not None:
            self._drop(*held)

    def drop_near(self, tenant: str, vector: Vectors | None, similarity: float) -> list[str]:
        """Drop a tenant's questions near a statement, and all others with their answers; gives the keys.

        Without a vector nobody knows what is near: all of the tenant's questions go.
        """
        keys: list[str] = []
        for name, place in list(self._scopes.items()):
            if place.tenant != tenant:
                continue
            near = place.known if vector is None else place.index.near(vector, similarity)
            answers = {place.known[slot].answer for slot in near}
            doomed = [known for known in place.known.values() if known.answer in answers]
            keys.extend(known.key for known in doomed)
            for known in doomed:
                self._drop(name, known.slot)
        return keys

    def _ask(self, place: _Scope, vector: Vectors, now_s: float) -> tuple[list[_Known], Vote | None]:
        """The nearest questions whose answers are fresh, and their vote. Expired ones are dropped on the way."""
        while True:
            slots, similarities = place.index.nearest(vector, NEIGHBOURS)
            neighbours = [place.known[int(slot)] for slot in slots]
            expired = [known for known in neighbours if known.expires_s <= now_s]
            if not expired:
                break
            for known in expired:
                self._drop(known.scope, known.slot)
        rows = place.index.vectors(slots)
        return neighbours, vote(similarities, rows @ rows.T, [known.answer for known in neighbours])

    def _identify(self, place: _Scope, asked: Consultation, answer: str, vector: Vectors | None) -> int:
        """Number of the answer: that of an equal one in this scope, or a new one."""
        plain = " ".join(answer.split())
        digest = blake2b(plain.encode(), digest_size=16).digest()
        known = place.by_digest.get(digest)
        if known is not None:
            return known
        facets = read_facets(plain)
        if vector is not None:
            slots, _ = place.index.nearest(asked.vector, NEIGHBOURS)
            same = _same_answer(place, {place.known[int(slot)].answer for slot in slots}, vector, facets)
            if same is not None:
                return same
        self._next_answer += 1
        place.answers[self._next_answer] = _Answer(digest, vector, facets, 0)
        place.by_digest[digest] = self._next_answer
        return self._next_answer

    def _drop(self, scope: str, slot: int) -> None:
        place = self._scopes[scope]
        known = place.known.pop(slot)
        place.index.remove(slot)
        del self._order[(scope, slot)]
        del self._by_key[known.key]
        answer = place.answers[known.answer]
        answer.questions -= 1
        if not answer.questions:
            del place.answers[known.answer]
            del place.by_digest[answer.digest]
            self._risk.forget(known.answer)
        if not place.known:
            del self._scopes[scope]


def _objection(text: str, found: Vote, supporters: list[_Known]) -> str | None:
    """Why the voted answer must not be served, whatever its risk."""
    facet = differing(read_facets(text), [known.facets for known in supporters])
    if facet is not None:
        return f"differs:{facet}"
    if len(supporters) > 1:
        return None
    near = found.similarity >= ONCE_SIMILARITY and overlap(words(text), supporters[0].words) >= ONCE_OVERLAP
    return None if near else "unconfirmed"


def _same_answer(place: _Scope, answers: Iterable[int], vector: Vectors, facets: Facets) -> int | None:
    """The most similar of these answers, if it says the same."""
    best, found = SAME_ANSWER, None
    for number in sorted(answers):
        known = place.answers[number]
        if known.vector is None or known.facets != facets:
            continue
        similarity = float(np.dot(known.vector, vector))
        if similarity >= best:
            best, found = similarity, number
    return found
