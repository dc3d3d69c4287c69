"""Which English words can go without their sentence losing what it says?

Three lists by strength: courtesy and padding, the little words that grammar asks for, and the pronouns a reader can
tell from who speaks. Negations, modals, conditions, prepositions and conjunctions are in none of them: they carry the
meaning. Pure; text that is not English is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import IntEnum

from agent_runtime.compression.protect import word_set


class Terseness(IntEnum):
    """How far prose is cut; each level includes those before it."""

    PADDING = 1
    """Courtesy, padding, articles."""
    GRAMMAR = 2
    """And "be" in the present tense, possessives, "to" behind a verb that needs none."""
    PRONOUNS = 3
    """And the persons of a conversation, whom the role of the message tells."""


MayDrop = Callable[[str], bool]
"""Whether a stretch of text may go: the caller knows whether it states a fact that stands nowhere else."""

_CLAUSE = r"(?:(?<![\s\S])|(?<=[.!?,;:\n])|(?<=[.!?,;:\n]\s)|(?<=[*-]\s)|(?<=\band\s))"
"""Where a clause may begin. A request's introduction is padding only there: "what could you do" keeps its words."""

_REQUESTS: tuple[tuple[str, str, str], ...] = (
    ("h", r"(?:hi|hello|hey)(?: there)?, ", ""),
    ("understand", r"i (?:(?:completely|fully) )?understand(?: (?:your|the) \w+)?, but ", "but "),
    ("appreciate", r"i (?:(?:really|truly) )?appreciate (?:your|the) \w+, but ", "but "),
    (", but", r"(?:(?:i'm|i am) (?:(?:so|very|really) )?(?:sorry|afraid)|i apologi[sz]e), but ", ""),
    ("also, ", r"also, ", ""),
    ("can you", r"can you ", ""),
    ("is there a", r"is there (?=any\b)", ""),
    ("here ", r"here (?:are|is) (?:the|your) (?=[^.!?\n]*:)", ""),
    ("additionally", r"additionally, ", ""),
    ("ermore, ", r"furthermore, ", ""),
    ("moreover", r"moreover, ", ""),
    (" you ", r"(?:could|can|would|will) you (?:please |kindly )", ""),
    ("could you", r"could you ", ""),
    ("the following", r"i(?:'ll)? need the following (?:information|details)(?=:)", "need"),
    (" like ", r"(?:please )?(?:let me know|tell me) if you(?:'d| would) like (?:me )?to ", "say whether to "),
    ("let me know", r"(?:please )?let me know (?=(?:if|whether|what|which|how|when)\b)", "say "),
    ("would you like", r"would you like (?:me )?to (?:proceed|go ahead) with ", "confirm "),
    ("would you like", r"would you like (?:me )?to ", "want to "),
    (" to ", r"i(?:'d| would) (?:really )?(?:like|love) to ", "I want to "),
    (" looking to ", r"(?:i'm|i am) looking to ", "I want to "),
    ("appreciate", r"i(?:'d| would) (?:really )?appreciate (?:it )?if you (?:could|would) ", ""),
    ("wondering", r"i was wondering (?:if|whether) ", ""),
    (" be ", r"i(?:'d| would) be (?:happy|glad) to ", "I can "),
    (" that ", r"(?:it is|it's) (?:important|worth) (?:to note|noting|to mention|mentioning) that ", ""),
    (" that ", r"(?:please )?(?:note|be aware|keep in mind) that ", "note: "),
    ("to ", r"(?:to assist|to help) you (?:with|in) [^.!?,\n]{0,60}, (?=i\b|please\b|could\b|can\b)", ""),
)
"""What introduces a clause: a text it must hold, the pattern, what stands for it."""

_ROUNDABOUT: tuple[tuple[str, str, str], ...] = (
    (
        "confirm ",
        r"confirm (?:if|that|whether) you(?:'d| would) like (?:me )?to (?:proceed|go ahead) with ",
        "confirm ",
    ),
    ("confirm ", r"confirm (?:if|whether) you(?:'d| would) like (?:me )?to ", "confirm whether to "),
    ("in order to", r"in order to ", "to "),
    ("due to the fact", r"due to the fact that ", "because "),
    ("in ", r"(?:in the event|in case) (?:that )?(?=\w)", "if "),
    ("at th", r"(?:at this point in time|at the present time|at the moment)\b", "now"),
    ("right now", r"right now\b", "now"),
    ("with re", r"with (?:regard|respect) to ", "about "),
    ("for the purpose", r"for the purpose of ", "for "),
    ("able to", r"(?:is|are) able to ", "can "),
    ("the ability", r"(?<!n't )(?<!n’t )(?<!not )(?:has|have) the ability to ", "can "),
    ("prior to", r"prior to ", "before "),
    ("would", r"(?:(?:i|you) )?would (?:you )?(?:like|prefer) (?=to\b)", "want "),
    (" been ", r"(?:has|have) (?:(?:successfully|now) )?been (?:(?:successfully|now) )?(?=\w+(?:ed|en)\b)", ""),
    ("", r"(?:has|have|i've|we've|i have|we have) (?:successfully )?(?=(?:\w{3,}ed|found|made|sent)\b)", ""),
    ("the following", r"the following (?=\w+s\b)", ""),
    ("that ", r"that (?=(?:the|an?|you|i|we|they|he|she|it|your|my|our|their|this|these|there|all|any)\b)", ""),
    ("there ", r"there (?:is|are) (?=\w)", ""),
)
"""Long for short, anywhere: a text it must hold, the pattern, what stands for it."""


_PURPOSE = (
    r" so (?:that )?(?:i|we) can (?:assist|help|proceed|continue|check|access|look|verify|locate)\b"
    r"[^,.!?;:\n]{0,80}(?=[.!?])"
)
"""What one who asks for something does with it, at the end of the sentence that asks."""


def _rule(anchor: str, pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'’-]){anchor}{pattern}", re.IGNORECASE)


_RULES = (
    *((hint, _rule(_CLAUSE, pattern), short) for hint, pattern, short in _REQUESTS),
    (" can ", re.compile(_PURPOSE, re.IGNORECASE), ""),
    *((hint, _rule("", pattern), short) for hint, pattern, short in _ROUNDABOUT),
)

_PADDING = word_set(
    """please kindly really very actually basically simply quite certainly definitely absolutely indeed literally
    essentially obviously truly successfully unfortunately"""
)
_GRAMMAR = word_set("also is are am be being your my our their its")
_PRONOUNS = word_set("I you me we us I'm I'll I'd I've you're you'd you'll you've we're we'll we'd we've")
_ARTICLES = frozenset(("a", "an", "the"))
_NO_ARTICLE_BEFORE = word_set("is be and or to in of for are was as with by at from the a an on than then but")
_TAKES_INFINITIVE = word_set(
    """want wants wanted need needs needed like likes able unable wish wishes prefer prefers try tries trying hope
    hoping willing ready happy glad plan plans planning decide decided allowed required"""
)
_ENGLISH = word_set(
    """the of and that it with this from not what were when there your which their said if each about how out them then
    she many some these would other into could been who people only way find use may you please want need my are can
    must should any"""
)
_CHUNK = re.compile(r"(\S+)(\s*)")
_CORE = re.compile(r"([A-Za-z]+(?:['’][A-Za-z]+)?)([,.;:!?]?)")
_BULLET = re.compile(r"^([ \t]*)[-*+•][ \t]+(?=[^\W\d_])", re.MULTILINE)
"""Not before a number: "- 5" may be minus five."""
_BOLD = re.compile(r"(?<![\w*])\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*(?![\w*])")


def english_words(text: str) -> tuple[int, int]:
    """How many of the words are common English ones which other languages do not have, and how many words there are,
    numbers not counted. About 35 in 100 of running English text."""
    words = [word for word in (part.strip(".,;:!?()*").lower() for part in text.split()) if word.isalpha()]
    return sum(word in _ENGLISH for word in words), len(words)


def shorten_phrases(text: str, may_drop: MayDrop) -> str:
    """The text without courtesy sentences and roundabout phrases."""
    lower = text.lower()
    for hint, pattern, short in _RULES:
        if hint in lower:
            text = pattern.sub(lambda found, short=short: short if may_drop(found[0]) else found[0], text)  # type: ignore[misc]
    return text


def drop_markup(text: str) -> str:
    """The text without bold marks and list bullets; a blank of indentation stays for each level of a list."""
    return _BULLET.sub(lambda found: " " * (len(found[1].expandtabs(4)) // 2), _BOLD.sub(r"\1", text))


def drop_little_words(text: str, terseness: Terseness) -> str:
    """The text without the little words of this level. Line breaks and punctuation stay."""
    chunks = [(found[1], found[2]) for found in _CHUNK.finditer(text)]
    kept: list[tuple[str, str]] = []
    for at, (word, space) in enumerate(chunks):
        core = _CORE.fullmatch(word)
        before = chunks[at - 1][0] if at and "\n" not in chunks[at - 1][1] else ""
        after = chunks[at + 1][0] if at + 1 < len(chunks) and "\n" not in space else ""
        if core is None or not _is_little(core[1].replace("’", "'"), before, after if not core[2] else "", terseness):
            kept.append((word, space))
        elif kept:
            kept[-1] = _close_gap(*kept[-1], core[2], space)
    return text[: len(text) - len(text.lstrip())] + "".join(word + space for word, space in kept)


def _close_gap(word: str, space: str, punctuation: str, dropped_space: str) -> tuple[str, str]:
    """The word before a dropped one, with that one's punctuation and line break where it has none of its own."""
    if punctuation and word[-1].isalnum():
        word += punctuation
    elif punctuation in ("!", "?", ".") and word[-1] == "," and len(word) > 1:
        word = word[:-1] + punctuation  # "on time, please."
    return word, (dropped_space if "\n" in dropped_space and "\n" not in space else space)


def _is_little(word: str, before: str, after: str, terseness: Terseness) -> bool:
    lower = word.lower()
    opens_sentence = not before or before[-1] in ".!?:-*" or before[0] in "-*#•"
    if word != lower and word not in _PRONOUNS and not (opens_sentence and word[1:] == lower[1:]):
        return False  # a name ("The Hague", "US")
    if lower in _ARTICLES:
        return bool(after) and (lower == "the" or _begins_noun(after))
    if lower in _PADDING:
        return True
    if terseness >= Terseness.GRAMMAR and (
        lower in _GRAMMAR or (lower == "to" and before.lower() in _TAKES_INFINITIVE)
    ):
        return not before[-1:].isdigit()  # 11 am
    # at the end of a clause the person is what the sentence is about: "it is just for me"
    return terseness >= Terseness.PRONOUNS and bool(after) and (word if word.startswith("I") else lower) in _PRONOUNS


def _begins_noun(word: str) -> bool:
    """Whether "a" before this word is an article rather than a variable or an option's letter."""
    return word[0].isalnum() and word.lower() not in _NO_ARTICLE_BEFORE
