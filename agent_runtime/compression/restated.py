"""Which sentences does the same speaker say again in nearly the same words?

A sentence is restated by another one that states all its facts, at least ``SHARE`` of its information words in the
same order, and exactly its negations, conditions and modal verbs. Pure.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from agent_runtime.compression.prompt import Ledger, Text
from agent_runtime.compression.protect import facts
from agent_runtime.compression.sentences import Sentence, split_sentences, without

SHARE = 0.8
LEAST_WORDS = 5
"""Shorter sentences may well be said twice and mean two things."""
MOST_COMPARED = 20
"""Sentences that one is compared with, those with its rarest words first: the work stays linear."""


@dataclass(eq=False)
class _Claim:
    """One sentence of one speaker."""

    sentence: Sentence
    text: Text
    may_go: bool
    restates: bool = False
    """Whether another sentence went because this one says it: it may not go any more."""

    @cached_property
    def facts(self) -> frozenset[str]:
        return facts(self.sentence.text, self.text.masked)

    @cached_property
    def bindings(self) -> Mapping[str, int]:
        return self.sentence.bindings

    def says_again(self, other: _Claim) -> bool:
        """Whether a reader of this sentence misses nothing of the other one. The cheap questions come first."""
        mine, its = self.sentence, other.sentence
        shared = mine.words & its.words
        return (
            len(shared) >= SHARE * len(its.words)
            and self.text.role == other.text.role
            and mine.asks == its.asks
            and self.bindings == other.bindings
            and self.facts >= other.facts
            and mine.order_of(shared) == its.order_of(shared)
        )


def drop_restated(texts: Sequence[Text], ledger: Ledger) -> None:
    """Take out what the same speaker says again; of two sentences that say the same the first one stays."""
    claims = [_claims(text) for text in texts]
    saying: defaultdict[str, list[_Claim]] = defaultdict(list)
    for claim in (claim for own in claims for claim in own):
        for word in claim.sentence.words:
            saying[word].append(claim)
    gone: set[int] = set()
    for text, own in zip(reversed(texts), reversed(claims), strict=True):
        dropped: set[int] = set()
        for at, claim in reversed(list(enumerate(own))):
            if not claim.may_go or claim.restates or len(dropped) + 1 == len(own):
                continue
            again = next((one for one in _near(claim, saying) if id(one) not in gone and one.says_again(claim)), None)
            if again and ledger.release(claim.sentence.text, text.masked):
                again.restates = True
                dropped.add(at)
                gone.add(id(claim))
        if dropped:
            text.rewrite(without([claim.sentence.text for claim in own], dropped))


def _near(claim: _Claim, saying: Mapping[str, Sequence[_Claim]]) -> list[_Claim]:
    """The sentences most likely to say it again: one that does holds some of any fifth of its words and one more."""
    rarest = sorted(claim.sentence.words, key=lambda word: (len(saying[word]), word))
    rarest = rarest[: len(rarest) - math.ceil(SHARE * len(rarest)) + 1]
    near = Counter(one for word in rarest for one in saying[word][:MOST_COMPARED] if one is not claim)
    return [one for one, _ in near.most_common(MOST_COMPARED)]


def _claims(text: Text) -> list[_Claim]:
    return [
        _Claim(
            sentence,
            text,
            not text.system
            and not sentence.structures
            and not text.answers_lean_on(sentence)
            and len(sentence.words) >= LEAST_WORDS,
        )
        for sentence in split_sentences(text.prose)
    ]
