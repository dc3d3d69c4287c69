"""Which known question has (nearly) the same words? The cheap modes of the semantic cache, and precomputed answers.

Every word leads to the questions that hold it, so that a question is compared with those it shares words with and never
with all. Facets must agree as in the learned mode. No clock, no I/O; not for two threads at once.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass

from agent_runtime.semantic.facets import Facets, differing, read_facets
from agent_runtime.semantic.words import DOMAIN_ABOVE, FUZZY_ABOVE, Words, domain_score, overlap, words


@dataclass(frozen=True, slots=True)
class _Question:
    scope: str
    tenant: str
    words: Words
    facets: Facets
    expires_s: float


class WordMatcher:
    """Questions found again by their words."""

    def __init__(self, *, keywords: frozenset[str] | None, max_entries: int) -> None:
        """``keywords`` of the domain select the domain-weighted match; None the fuzzy one."""
        self._keywords = keywords
        self._max_entries = max_entries
        self._questions: OrderedDict[str, _Question] = OrderedDict()
        self._holding: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._questions)

    def add(self, scope: str, tenant: str, text: str, key: str, *, expires_s: float) -> None:
        """Remember that ``key`` answers a question."""
        self.forget(key)
        question = _Question(scope, tenant, words(text), read_facets(text), expires_s)
        self._questions[key] = question
        for word in question.words:
            self._holding[scope, word].add(key)
        while len(self._questions) > self._max_entries:
            self.forget(next(iter(self._questions)))

    def find(self, scope: str, text: str, *, now_s: float) -> tuple[str, float] | None:
        """Key and score of the best matching question; None when none matches well enough."""
        asked, facets = words(text), read_facets(text)
        best: tuple[float, str] | None = None
        for key in self._sharing(scope, asked):
            known = self._questions[key]
            score = self._score(asked, known.words)
            better = best is None or (score, key) > best
            fits = better and self._matches(score) and known.expires_s > now_s
            if fits and differing(facets, [known.facets]) is None:
                best = (score, key)
        if best is None:
            return None
        self._questions.move_to_end(best[1])
        return best[1], best[0]

    def forget(self, key: str) -> None:
        """The answer of this key is gone."""
        question = self._questions.pop(key, None)
        if question is None:
            return
        for word in question.words:
            held = self._holding[question.scope, word]
            held.discard(key)
            if not held:
                del self._holding[question.scope, word]

    def drop_near(self, tenant: str, statement: str, similarity: float) -> list[str]:
        """Drop a tenant's questions whose score with a statement is at least this; gives their keys."""
        said = words(statement)
        keys = [
            key
            for key, known in self._questions.items()
            if known.tenant == tenant and self._score(said, known.words) >= similarity
        ]
        for key in keys:
            self.forget(key)
        return keys

    def _sharing(self, scope: str, asked: Words) -> set[str]:
        return set().union(*(self._holding.get((scope, word), ()) for word in asked))

    def _score(self, a: Words, b: Words) -> float:
        return overlap(a, b) if self._keywords is None else domain_score(a, b, self._keywords)

    def _matches(self, score: float) -> bool:
        return score > (FUZZY_ABOVE if self._keywords is None else DOMAIN_ABOVE)
