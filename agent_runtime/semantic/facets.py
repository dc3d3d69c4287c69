"""What in two questions must agree word for word before one may be answered with the other's answer?

Embeddings see that "Transfer 50 USD to Berlin" and "Transfer 500 USD to Madrid" are about the same thing; they hardly
see that the answers differ. These facets are read from the text by rules, each as a set, and compared exactly.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, fields


def _list(text: str) -> list[str]:
    return text.split()


SMALL_NUMBERS = _list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
)
NUMBER_WORDS = {word: str(value) for value, word in enumerate(SMALL_NUMBERS) if word != "one"} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
    "hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000", "half": "0.5", "dozen": "12",
    "twice": "2",
}  # fmt: skip
"""English number words; "one" is left out: it mostly stands for a thing ("a new one")."""

NEGATIONS = frozenset(
    _list(
        "not no never none nobody nothing neither nor without cannot cant wont dont doesnt didnt isnt arent wasnt"
        " werent hasnt havent hadnt couldnt shouldnt wouldnt mustnt neednt aint unable fail failed fails unless except"
    )
)

DAYS = _list("monday tuesday wednesday thursday friday saturday sunday")
DATE_WORDS = frozenset(
    _list(
        "january february march april june july august september october november december jan feb apr jun jul aug sep"
        " oct nov dec mon tue thu fri today tomorrow yesterday tonight morning afternoon evening noon midnight"
        " spring summer autumn winter weekend last next previous current ago"
    )
    + DAYS
    + [day + "s" for day in DAYS]
)
"""Without "may", "sun" and the like, which mostly mean something else."""

UNITS = frozenset(
    _list(
        "mm cm km inch inches ft foot feet yard yards mile miles mg kg lb lbs pound pounds ounce ounces oz ton tons ml"
        " liter liters litre litres gallon gallons cup cups celsius fahrenheit kelvin ms sec seconds min minute minutes"
        " hour hours day days week weeks month months year years bit bits byte bytes kb mb gb tb kib mib gib tib hz khz"
        " mhz ghz kw kwh mw percent usd eur gbp jpy chf aud cad cny inr dollar dollars euro euros yen cent cents"
    )
)
_OTHER_FACETS = UNITS | DATE_WORDS | NEGATIONS | NUMBER_WORDS.keys()
SIGNS = {"$": "usd", "€": "eur", "£": "gbp", "¥": "jpy", "%": "percent", "°": "degree"}
SAME_UNIT = {
    "dollar": "usd",
    "dollars": "usd",
    "euro": "eur",
    "euros": "eur",
    "pounds": "pound",
    "lbs": "pound",
    "lb": "pound",
}

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,_ ]*(?:\.\d+)?(?=\D|$)|\d+(?:\.\d+)?")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CODE = re.compile(
    r"```.*?```|`[^`]+`|\"[^\"]+\"|https?://\S+|[\w.+-]+@[\w-]+\.[\w.]+|(?:/[\w.-]+){2,}|(?<!\S)--?[a-zA-Z][\w-]*"
    r"|\b\w+(?:_\w+)+\b|\b[a-z]+[A-Z]\w*\b|\b[\w.]+\(\)?|\b\w+::\w+|[<>=!]=|=>|->"
    r"|\b\w*\d\w*[a-zA-Z]\w*\b|\b[a-zA-Z]\w*\d\w*\b",
    re.S,
)
_SENTENCE_END = re.compile(r"[.!?:\n]\s*$|^\s*$|[\"“(]\s*$")


@dataclass(frozen=True, slots=True)
class Facets:
    """What must agree: sets of canonical words, empty where the text holds none."""

    numbers: frozenset[str]
    negation: frozenset[str]
    entities: frozenset[str]
    units: frozenset[str]
    dates: frozenset[str]
    code: frozenset[str]


FACETS = tuple(field.name for field in fields(Facets))


def read_facets(text: str) -> Facets:
    """The facets of a text.

    Spelling variants meet: ``1,000.0`` and ``1000``, ``$5`` and ``5 USD``, ``didn’t`` and ``didnt``.
    """
    text = unicodedata.normalize("NFKC", text)
    words = [(match.group(), match.start()) for match in _WORD.finditer(text)]
    plain = [word.lower().replace("’", "").replace("'", "") for word, _ in words]
    units = {SAME_UNIT.get(word, word) for word in plain if word in UNITS} | {
        SIGNS[sign] for sign in text if sign in SIGNS
    }
    return Facets(
        numbers=frozenset(_numbers(text)) | {NUMBER_WORDS[word] for word in plain if word in NUMBER_WORDS},
        negation=frozenset({"not"})
        if NEGATIONS.intersection(plain) or "n't" in text.replace("’", "'")
        else frozenset(),
        entities=frozenset(_entities(text, words)),
        units=frozenset(units),
        dates=frozenset(word[:3] for word in plain if word in DATE_WORDS),
        code=frozenset(match.group().strip('`"') for match in _CODE.finditer(text)),
    )


def differing(asked: Facets, supporting: Iterable[Facets]) -> str | None:
    """Name of the first facet that forbids the answer; None when none does.

    ``supporting`` are the facets of the questions known to have that answer. A facet agrees when one of them has the
    same value. It does not matter when they differ in it among themselves: the answer is then known not to depend on
    it.
    """
    known = list(supporting)
    for name in FACETS:
        values = {getattr(facets, name) for facets in known}
        if len(values) < 2 and getattr(asked, name) not in values:
            return name
    return None


def _numbers(text: str) -> Iterable[str]:
    for match in _NUMBER.finditer(text):
        digits = re.sub(r"[,_ ]", "", match.group())
        yield f"{float(digits):.12g}"


def _entities(text: str, words: list[tuple[str, int]]) -> Iterable[str]:
    """Capitalised words inside a sentence and words all in capitals, in lower case; "I" and its forms are none."""
    for word, start in words:
        lower = word.lower()
        if lower in _OTHER_FACETS or lower == "i" or lower.startswith(("i'", "i’")):
            continue
        shouting = len(word) > 1 and word.isupper()
        if shouting or (word[0].isupper() and not _SENTENCE_END.search(text[:start])):
            yield lower
