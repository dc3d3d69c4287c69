"""Which parts of a text are never changed, and which facts does it state?

``mask`` swaps every verbatim part (code, JSON, quoted literals, URLs, tags, table rows) for one opaque character, so
that the steps which rewrite prose cannot reach it. ``facts`` lists what a reader could not restore once it is gone:
numbers, identifiers, names, quoted words. Both are pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is written as prose."""
    return frozenset(text.split())


_OPAQUE_FIRST = 0xF0000
"""Supplementary private use plane: no assigned character is mistaken for a placeholder."""
_OPAQUE_MAX = 0xFFFD
_OPAQUE = re.compile("[\U000f0000-\U000ffffd]")

_VERBATIM = re.compile(
    r"""
      (?P<fence>^[ \t]*(?P<ticks>`{3,20}|~{3,20})[^\n]*(?:\n(?:.*\n)*?[ \t]*(?P=ticks)[ \t]*$|[\s\S]*))
    | (?P<code>`[^`\n]+`)
    | (?P<indented>^(?:\t|[ ]{4,})(?![-*+•]\s|\d+[.)]\s)\S[^\n]*$)
    | (?P<table>^[ \t]*\|[^\n]*\|[ \t]*$)
    | (?P<json>[{\[])
    | (?P<url>\b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s<>"']*[^\s<>"'.,;:!?)\]}])
    | (?P<tag></?[A-Za-z!][^<>\n]{0,300}>)
    | (?P<quote>"[^"\n]{1,1000}"|“[^”\n]{1,1000}”|«[^»\n]{1,1000}»)
    | (?P<single>(?<!\w)'[^'\n]{1,300}'(?!\w)|(?<!\w)‘[^’\n]{1,300}’(?!\w))
    """,
    re.MULTILINE | re.VERBOSE,
)
_JSON = json.JSONDecoder()
_WORD = re.compile(r"\S+")
_PLAIN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?(?:-[^\W\d_]+(?:['’][^\W\d_]+)?)*")
_EDGE = "*.,;:!?()[]\"'…–—"
_NUMBER_WORDS = word_set(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half
    quarter third double twice triple once dozen both monday tuesday wednesday thursday friday saturday sunday january
    february march april may june july august september october november december"""
)


@dataclass(frozen=True, slots=True)
class Masked:
    """A text whose verbatim parts are one placeholder character each."""

    text: str
    originals: tuple[str, ...]

    def verbatim_in(self, text: str) -> list[str]:
        """The verbatim parts that ``text``, made from this one's, has a place for."""
        return [self.unmask(mark) for mark in _OPAQUE.findall(text)]

    def unmask(self, text: str) -> str:
        """``text``, made from this one's ``text``, with the verbatim parts back in place."""
        return _OPAQUE.sub(lambda found: self._original(found[0]), text)

    def _original(self, mark: str) -> str:
        at = ord(mark) - _OPAQUE_FIRST
        return self.originals[at] if at < len(self.originals) else mark


def mask(text: str) -> Masked | None:
    """The text with its verbatim parts hidden; None when it holds placeholder characters itself or too many parts."""
    if _OPAQUE.search(text):
        return None
    pieces: list[str] = []
    originals: list[str] = []
    done = 0
    for start, end in _verbatim(text):
        pieces += (text[done:start], chr(_OPAQUE_FIRST + len(originals)))
        originals.append(text[start:end])
        done = end
        if len(originals) > _OPAQUE_MAX:
            return None
    return Masked("".join((*pieces, text[done:])), tuple(originals))


def _verbatim(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the parts that stay as they are, in order, without overlap."""
    at = 0
    failed_characters = 0
    while found := _VERBATIM.search(text, at):
        start, end = found.span()
        if found.lastgroup == "json":
            end = _json_end(text, start)
            if end < 0:
                failed_characters += -end
                at = start + 1
                if failed_characters > 8 * len(text) + 10_000:  # brackets upon brackets: leave the rest alone
                    yield start, len(text)
                    return
                continue
        yield start, end
        at = end


def _json_end(text: str, start: int) -> int:
    """End of the JSON object or array at ``start``; else minus the number of characters that were tried."""
    try:
        return _JSON.raw_decode(text, start)[1]
    except json.JSONDecodeError as error:
        return -max(1, error.pos - start)
    except (RecursionError, ValueError):
        return -max(1, len(text) - start)


def facts(masked_text: str, originals: Masked) -> frozenset[str]:
    """What the text states beyond plain words."""
    return frozenset(ordered_facts(masked_text, originals))


def ordered_facts(masked_text: str, originals: Masked) -> tuple[str, ...]:
    """What the text states beyond plain words, in its order and as often, case kept: verbatim parts, numbers (in words
    too), identifiers, e-mail addresses, and capitalised words that do not merely open a sentence."""
    found: list[str] = []
    opens_sentence = True
    for word in _WORD.findall(masked_text):
        bare = word.strip(_EDGE)
        if not word.isascii() and (marks := _OPAQUE.findall(word)):
            found += map(originals.unmask, marks)
            bare = _OPAQUE.sub("", bare)
        if bare and _states_fact(bare, opens_sentence):
            found.append(bare)
        opens_sentence = word[-1] in ".!?:" or (opens_sentence and not bare)
    return tuple(found)


@lru_cache(maxsize=8192)
def _states_fact(word: str, opens_sentence: bool) -> bool:
    if not _PLAIN.fullmatch(word):
        return any(character.isalnum() for character in word)
    if word.lower() in _NUMBER_WORDS:
        return True
    if not word[1:].islower() and len(word) > 1:
        return True  # camelCase, ABBREVIATION
    return word[0].isupper() and not opens_sentence and not word.startswith(("I'", "I’")) and word != "I"
