"""Which sentences of a long prompt say the least?

Scores by hand: rarity of the words (tf-idf over the prompt's sentences), overlap with what is asked now, and position.
Works on masked text (protect.py), so a sentence never ends inside a quotation or a code block. Pure.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence, Set
from dataclasses import dataclass

from agent_runtime.compression.protect import word_set

WEIGHT_RARITY, WEIGHT_QUERY, WEIGHT_POSITION = 0.5, 0.3, 0.2

_BREAK = re.compile(
    r"(?<=[.!?])[\"”)\]]*[ \t]+(?=[A-Z\d\"“(\[*#•-]|[\U000f0000-\U000ffffd])"
    r"|(?<=[a-z]{3}[.!?])[ \t]+(?=[a-z])"
    r"|\n+[ \t]*"
)
_STRUCTURE = re.compile(r"^(?:#|[-*+•]\s|\d+[.)]\s)|:$|^[\w ]{1,40}: |^\*\*[^*]+\*\*$")
LIST_MARK = re.compile(r"^(?:[-*+•]\s+|\d+[.)]\s+)")
_NO_END = re.compile(
    r"(?:^\d{1,3}[.)]|(?:^|\s)(?:e\.g\.|i\.e\.|etc\.|vs\.|mr\.|mrs\.|ms\.|dr\.|no\.|approx\.|dept\.|govt\.|est\.|fig\.|max\.|min\.|incl\.|excl\.|inc\.|ltd\.|corp\.|ave\.|[A-Z]\.))$",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_STOP = word_set(
    """a about above after again all also am an and any are as at be because been before being below between both but by
    can could did do does doing down during each few for from further had has have having he her here hers him his how i
    i'd i'll i'm i've if in into is it it's its itself just let me more most my no nor not now of off on once only or
    other our out over own please same she should so some such than thank thanks that that's the their them then there
    there's these they this those through to too under until up us very was we we'll were what when where which while
    who whom why will with would you you'd you'll you're your yours"""
)
_DONE = (
    r"(?:book|cancell?|confirm|updat|upgrad|downgrad|chang|add|remov|delet|creat|process|complet|refund|issu|charg|approv"
    r"|reject|clos|open|resolv|submitt|schedul|install|merg|deploy|restor|revert|transferr|shipp|deliver|finish|fix"
    r"|assign|order|return|mov|stor|start|stopp)ed|done|paid|sent"
)
"""What was done, as the words are once "has been" is gone: later turns rely on it."""
_BINDING = re.compile(
    r"\b(?:not|no|never|none|neither|nor|cannot|without|only|unless|except|must|shall|should|may|always|if|instead|but"
    r"|however|unable|already|yet|maybe|perhaps|impossible|fail(?:s|ed)?|refus(?:es?|ed)|den(?:y|ies|ied)|\w+n['’]t"
    rf"|{_DONE})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence or line of a masked text, with the blanks or line breaks behind it."""

    text: str
    words: frozenset[str]
    """Its information words, in lower case."""

    def order_of(self, words: Set[str]) -> list[str]:
        """The words in the order in which they first stand in it."""
        return list(dict.fromkeys(word for word in _words(self.text) if word in words))

    @property
    def bindings(self) -> Mapping[str, int]:
        """How often it negates, obliges, allows, sets a condition or reports what was done, by the word that does."""
        return Counter(found.lower() for found in _BINDING.findall(self.text))

    @property
    def binds(self) -> bool:
        """Whether it negates, obliges, allows, sets a condition or reports what was done: such a sentence is never left
        out for its score."""
        return bool(_BINDING.search(self.text))

    @property
    def structures(self) -> bool:
        """Whether it is a heading, an item of a list, or leads to what follows it: its neighbours lean on it."""
        return bool(_STRUCTURE.search(self.text.strip()))

    @property
    def asks(self) -> bool:
        return self.text.rstrip().endswith("?")


def information_words(text: str) -> frozenset[str]:
    """The words that are not mere grammar, in lower case."""
    return frozenset(word for word in _words(text) if word not in _STOP)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("’", "'"))


def split_sentences(text: str) -> list[Sentence]:
    """The sentences and lines of a text; their texts joined are the text."""
    sentences: list[Sentence] = []
    start = 0
    for found in _BREAK.finditer(text):
        if "\n" not in found[0] and _NO_END.search(text[max(start, found.start() - 12) : found.start()]):
            continue
        sentences.append(_sentence(text[start : found.end()]))
        start = found.end()
    if start < len(text):
        sentences.append(_sentence(text[start:]))
    return sentences


def _sentence(text: str) -> Sentence:
    return Sentence(text, information_words(text))


def without(sentences: Sequence[str], dropped: Container[int]) -> str:
    """The sentences but for those at the places ``dropped``; lines, their indentation and list marks stay."""
    kept: list[str] = []
    gap = ""
    for at, sentence in enumerate(sentences):
        body = sentence.rstrip()
        behind = sentence[len(body) :]
        if at not in dropped:
            kept += (gap, body)
            gap = behind
        elif "\n" in behind:
            gap = "\n" * max(gap.count("\n"), behind.count("\n")) + behind.rpartition("\n")[2]
        elif (not kept or "\n" in gap) and (mark := LIST_MARK.match(sentence)):
            gap += mark[0]  # the item goes on with the next sentence
    return "".join(kept).lstrip("\n")


def score_sentences(sentences: Sequence[Sentence], query: frozenset[str]) -> list[float]:
    """How much each sentence says, 0 to 1: rare words, words of the query, nearness to either end of the prompt."""
    count = len(sentences)
    spread = Counter(word for sentence in sentences for word in sentence.words)
    rarity = {word: math.log(1 + count / seen) for word, seen in spread.items()}
    sums = [math.fsum(rarity[word] for word in sentence.words) for sentence in sentences]
    most = max(sums, default=0.0) or 1.0
    return [
        WEIGHT_RARITY * sums[at] / most
        + WEIGHT_QUERY * (len(sentence.words & query) / len(sentence.words) if sentence.words else 0.0)
        + WEIGHT_POSITION * abs(2 * at / max(1, count - 1) - 1)
        for at, sentence in enumerate(sentences)
    ]
