"""Which lists repeat the names of their fields?

    1. Flight A            1. Flight A
     Departure: 04:00       Departure: 04:00
     Price: $149            Price: $149
    2. Flight B            2. Flight B
     Departure: 11:00       11:00; $107
     Price: $107

Records of one list with the same fields in the same order: the first keeps the names, the others their values in its
order. Nothing is lost; the first record reads as the heading of the rest. Pure.
"""

from __future__ import annotations

import re
from itertools import groupby

LINES_BETWEEN = 2
"""Most lines, beside empty ones, between two records of one list: its item and the heading within it."""

_FIELD = re.compile(r"(?P<indent>[ \t]*)(?P<name>[A-Z][^:;\n]{0,40}): (?P<value>\S[^;\n]*)")


def shorten_records(text: str) -> str:
    """The text with the names of the fields in the first record of each list only."""
    shortened: list[str] = []
    known: tuple[str, ...] = ()
    between = 0
    for fields, run in groupby(text.split("\n"), key=_indent_of_field):
        lines = list(run)
        found = [_FIELD.fullmatch(line) for line in lines] if fields is not None else []
        names = tuple(field["name"] for field in found if field)
        if len(names) < 2 or len(set(names)) < len(names):
            shortened += lines
            between += sum(bool(line.strip()) for line in lines)
            continue
        if names == known and between <= LINES_BETWEEN:
            shortened.append(f"{fields}{'; '.join(field['value'] for field in found if field)}")
        else:
            shortened += lines
            known = names
        between = 0
    return "\n".join(shortened)


def _indent_of_field(line: str) -> str | None:
    found = _FIELD.fullmatch(line)
    return found["indent"] if found else None
