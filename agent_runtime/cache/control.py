"""What does a caller's Cache-Control header allow? RFC 9111 section 5.2.1, request directives. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIRECTIVE = re.compile(r'\s*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;]*)))?\s*(?:,|$)')


@dataclass(frozen=True, slots=True)
class CacheControl:
    """Wishes of one request."""

    no_cache: bool = False
    """Do not answer from the cache; the new answer may be stored."""
    no_store: bool = False
    """Neither answer from the cache nor store the answer."""
    only_if_cached: bool = False
    """Answer from the cache or not at all."""
    max_age_s: float | None = None
    """Oldest answer accepted; None: any fresh one."""
    min_fresh_s: float = 0
    """The answer must stay fresh for so long."""

    @property
    def may_read(self) -> bool:
        return not (self.no_cache or self.no_store)

    def accepts(self, age_s: float, life_left_s: float) -> bool:
        """May an answer of this age, fresh for ``life_left_s`` more seconds, be served?"""
        young = self.max_age_s is None or age_s <= self.max_age_s
        return young and life_left_s > 0 and life_left_s >= self.min_fresh_s


PLAIN = CacheControl()


def parse_cache_control(header: str) -> CacheControl:
    """The directives of a header; unknown ones are ignored, a number that is none counts as the strictest, 0."""
    found: dict[str, str | None] = {}
    for match in _DIRECTIVE.finditer(header):
        name, quoted, token = match.groups()
        found.setdefault(name.lower(), quoted if quoted is not None else token)
    if not found:
        return PLAIN
    return CacheControl(
        no_cache="no-cache" in found,
        no_store="no-store" in found,
        only_if_cached="only-if-cached" in found,
        max_age_s=_seconds(found["max-age"], 0) if "max-age" in found else None,
        min_fresh_s=_seconds(found.get("min-fresh"), 0),
    )


def _seconds(text: str | None, otherwise: float) -> float:
    return float(text[:12]) if text and text.isascii() and text.isdigit() else otherwise
