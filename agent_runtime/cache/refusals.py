"""Has the endpoint just refused this very request for good? Then it is not asked again for a moment.

Only refusals that are about the request itself are remembered, per caller's key like answers. Never credentials (401,
403), limits (408, 425, 429), failures (5xx) or anything that asks to come again later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from agent_runtime.cache.responses import Lookup
from agent_runtime.errors import ApiError

PERMANENT = frozenset({400, 404, 410, 413, 414, 415, 422})
"""The same request will be refused again (RFC 9110 section 15.5)."""

MAX_ENTRIES = 1000
MAX_BODY_BYTES = 16 * 1024


class Refusals:
    """Refusals of this process. ``ttl_s`` 0: none is remembered. ``cut_s``: see ``Purges.cut_s``."""

    def __init__(self, ttl_s: float, cut_s: Callable[[str, str, str], float]) -> None:
        self._ttl_s = ttl_s
        self._cut_s = cut_s
        self._known: OrderedDict[str, tuple[float, ApiError]] = OrderedDict()

    def find(self, ask: Lookup, model: str, now_s: float) -> ApiError | None:
        """The refusal of this request, with its age, when the caller accepts one so old."""
        known = self._known.get(ask.key)
        if known is None:
            return None
        at_s, error = known
        age_s = now_s - at_s
        if not 0 <= age_s < self._ttl_s or at_s <= self._cut_s(ask.tenant, model, ask.key):
            del self._known[ask.key]
            return None
        if ask.control.staleness_s(age_s, self._ttl_s - age_s) > 0:
            return None
        again = error.copy()
        again.age_s = age_s
        return again

    def note(self, key: str, error: ApiError, now_s: float) -> None:
        """The endpoint has refused; remembered if it would do so again."""
        permanent = error.code == "upstream_refused" and error.status in PERMANENT and error.retry_after_s is None
        if self._ttl_s > 0 and permanent and error.age_s is None and len(error.body or b"") <= MAX_BODY_BYTES:
            self._known[key] = now_s, error.copy()
            self._known.move_to_end(key)
            if len(self._known) > MAX_ENTRIES:
                self._known.popitem(last=False)
