"""When do two questions match by their words alone? The cheap modes: no model, no vectors. Pure."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

FUZZY_ABOVE = 0.7
DOMAIN_ABOVE = 0.65
DOMAIN_SHARE = 0.6
"""Weight of the domain's keywords; the words have the rest."""

_WORD = re.compile(r"\w+")

Words = frozenset[str]


def words(text: str) -> Words:
    """Words of a text in lower case, apostrophes left out."""
    return frozenset(_WORD.findall(text.lower().replace("'", "").replace("’", "")))


def overlap(a: AbstractSet[str], b: AbstractSet[str]) -> float:
    """Jaccard similarity in [0, 1]; 0 for two empty sets, which say nothing."""
    either = len(a | b)
    return len(a & b) / either if either else 0.0


def fuzzy_match(a: Words, b: Words) -> bool:
    """Do they share more than 70 % of their words?"""
    return overlap(a, b) > FUZZY_ABOVE


def domain_score(a: Words, b: Words, keywords: AbstractSet[str]) -> float:
    """60 % overlap of the domain's keywords in them, 40 % overlap of their words; in [0, 1]."""
    return DOMAIN_SHARE * overlap(a & keywords, b & keywords) + (1 - DOMAIN_SHARE) * overlap(a, b)


def domain_match(a: Words, b: Words, keywords: AbstractSet[str]) -> bool:
    """Is their domain score above 0.65?"""
    return domain_score(a, b, keywords) > DOMAIN_ABOVE
