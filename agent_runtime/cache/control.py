"""What does a caller's Cache-Control header allow? RFC 9111 section 5.2.1, request directives. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIRECTIVE = re.compile(r'\s*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;]*)))?\s*(?:,|$)')


_ANY_AGE_S = 1e9
"""``max-stale`` without a number accepts an answer however stale."""

_INSTANT = 1e-9
"""An answer is stale from the very moment its life is over."""


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
    max_stale_s: float = 0
    """An answer whose life ended at most so long ago is as good as a fresh one (RFC 9111 section 5.2.1.2)."""
    min_fresh_s: float = 0
    """The answer must stay fresh for so long."""
    stale_while_revalidate_s: float = 0
    """An answer stale for at most so long will do while a new one is made (RFC 5861 section 3)."""
    stale_if_error_s: float = 0
    """An answer stale for at most so long is better than an error (RFC 5861 section 4)."""

    @property
    def may_read(self) -> bool:
        return not (self.no_cache or self.no_store)

    def staleness_s(self, age_s: float, life_left_s: float) -> float:
        """For how long an answer of this age, fresh for ``life_left_s`` more seconds, has been too old; 0: it is not.

        An answer is too old when its life is over, when it is older than ``max-age``, or fresh for less than
        ``min-fresh``.
        """
        over_age_s = age_s - self.max_age_s if self.max_age_s is not None else 0.0
        allowed_s = life_left_s + self.max_stale_s
        over_life_s = max(-allowed_s, _INSTANT) if allowed_s <= 0 else 0.0
        return max(over_age_s, over_life_s, self.min_fresh_s - life_left_s if self.min_fresh_s else 0.0, 0.0)


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
        max_stale_s=_seconds(found["max-stale"], _ANY_AGE_S) if "max-stale" in found else 0,
        min_fresh_s=_seconds(found.get("min-fresh"), 0),
        stale_while_revalidate_s=_seconds(found.get("stale-while-revalidate"), 0),
        stale_if_error_s=_seconds(found.get("stale-if-error"), 0),
    )


def _seconds(text: str | None, otherwise: float) -> float:
    return float(text[:12]) if text and text.isascii() and text.isdigit() else otherwise
