"""Which sentences of a conversation may be left out because the rest says it?

The extractive step. It asks for a good reason, and takes the least telling sentence first (sentences.py scores them).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from agent_runtime.compression.prompt import Text
from agent_runtime.compression.protect import Masked, ordered_facts
from agent_runtime.compression.sentences import Sentence, information_words, score_sentences, split_sentences, without
from agent_runtime.compression.tokens import TokenCounter

RESTATED = 0.8
"""Least share of a sentence's information words beside its facts in the one message that says it again."""


class _Message:
    """What one message says as long as its parts stand."""

    def __init__(self, parts: Sequence[tuple[tuple[str, ...], frozenset[str]]]) -> None:
        self.parts = len(parts)
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for place, fact in enumerate(fact for stated, _ in parts for fact in stated):
            self._places[fact].append(place)
        self._facts = Counter(fact for stated, _ in parts for fact in set(stated))
        self._words = Counter(word for _, words in parts for word in words)

    def says(self, stated: tuple[str, ...], words: frozenset[str]) -> bool:
        """Whether it states the facts, in this order ("from A to B" is not "from B to A"), in the same words."""
        return (
            all(self._facts[fact] > 0 for fact in stated)
            and sum(self._words[word] > 0 for word in words) >= RESTATED * len(words)
            and self._in_order(stated)
        )

    def _in_order(self, stated: tuple[str, ...]) -> bool:
        last = -1
        for fact in dict.fromkeys(stated):
            places = self._places[fact]
            after = bisect_right(places, last)
            if after == len(places):
                return False
            last = places[after]
        return True

    def marks(self) -> Iterable[str]:
        """Its facts and words."""
        return {*self._facts, *self._words}

    def take_out(self, stated: tuple[str, ...], words: frozenset[str]) -> None:
        self.parts -= 1
        self._facts.subtract(set(stated))
        self._words.subtract(words)


@dataclass(slots=True)
class _Candidate:
    """A sentence, or a list with what leads to it: its lines go together or not at all."""

    text: Text
    message: _Message
    sentences: tuple[Sentence, ...]
    stated: tuple[str, ...]
    score: float = 0.0
    dropped: bool = False

    @property
    def words(self) -> frozenset[str]:
        return frozenset().union(*(sentence.words for sentence in self.sentences))

    @property
    def wording(self) -> str:
        return "".join(sentence.text for sentence in self.sentences)

    @property
    def must_stay(self) -> bool:
        """What a user asks for or agrees to is said nowhere else, whoever uses the same words; a line that ends with a
        colon heads what stands behind it."""
        return (
            self.message.parts < 2
            or self.text.role == "user"
            or self.wording.rstrip().endswith(":")
            or any(sentence.binds or self.text.answers_lean_on(sentence) for sentence in self.sentences)
        )


def drop_sentences(
    texts: Sequence[Text],
    fixed: Iterable[str],
    *,
    query: frozenset[str],
    coverage: float,
    excess: int,
    count: TokenCounter,
) -> None:
    """Leave out the sentences that say least until ``excess`` tokens are gone.

    A sentence that states no fact goes if the rest of the prompt has at least the share ``coverage`` of its information
    words; one that states facts, only if another message states all of them in the same words.
    """
    others = [_Message([(ordered_facts(prose, Masked(prose, ())), information_words(prose))]) for prose in fixed]
    candidates = [candidate for text in texts for candidate in _candidates(text)]
    messages = [*others, *{id(candidate.message): candidate.message for candidate in candidates}.values()]
    saying = _index(messages)
    spread = Counter(word for candidate in candidates for word in candidate.words)
    for prose in fixed:
        spread.update(information_words(prose))
    _score(candidates, query)
    for candidate in sorted(candidates, key=lambda candidate: candidate.score):
        if excess <= 0:
            break
        words = candidate.words
        if candidate.must_stay:
            continue
        if candidate.stated or len(candidate.sentences) > 1:
            rarest = min((saying[mark] for mark in candidate.stated or sorted(words)), key=len, default=messages)
            said = any(other is not candidate.message and other.says(candidate.stated, words) for other in rarest)
        else:
            said = sum(spread[word] > 1 for word in words) >= coverage * len(words)
        if said:
            candidate.dropped = True
            candidate.message.take_out(candidate.stated, words)
            spread.subtract(words)
            excess -= count(candidate.text.masked.unmask(candidate.wording))
    for _, own in groupby(candidates, key=lambda candidate: id(candidate.text)):
        parts = list(own)
        gone = {at for at, part in enumerate(parts) if part.dropped}
        if gone:
            parts[0].text.rewrite(without([part.wording for part in parts], gone))


def _index(messages: Iterable[_Message]) -> Mapping[str, list[_Message]]:
    """The messages that hold a fact or word: only they can say what a sentence with it says."""
    saying: defaultdict[str, list[_Message]] = defaultdict(list)
    for message in messages:
        for mark in message.marks():
            saying[mark].append(message)
    return saying


def _score(candidates: Sequence[_Candidate], query: frozenset[str]) -> None:
    """A list scores like the most telling of its lines."""
    scores = iter(score_sentences([sentence for one in candidates for sentence in one.sentences], query))
    for candidate in candidates:
        candidate.score = max(next(scores) for _ in candidate.sentences)


def _candidates(text: Text) -> list[_Candidate]:
    groups = [
        group
        for structured, run in groupby(split_sentences(text.prose), key=lambda sentence: sentence.structures)
        for group in ([tuple(run)] if structured else [(sentence,) for sentence in run])
    ]
    stated = [ordered_facts("".join(sentence.text for sentence in group), text.masked) for group in groups]
    words = [frozenset().union(*(sentence.words for sentence in group)) for group in groups]
    message = _Message(list(zip(stated, words, strict=True)))
    return [_Candidate(text, message, group, these) for group, these in zip(groups, stated, strict=True)]
