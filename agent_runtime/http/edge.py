"""What may caches between the runtime and its callers keep? Stored answers at their addresses, and the list of models.

Standard HTTP (RFC 9110, RFC 9111): ``ETag`` and 304, ``Cache-Control`` and ``Vary``. Unless the pool says ``Public``,
only the caller's own cache may keep an answer, since it was made for one key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b

from agent_runtime.cache.addresses import etag, is_unchanged, key_of
from agent_runtime.cache.control import parse_cache_control
from agent_runtime.cache.responses import Found, Lookup, ResponseCache
from agent_runtime.errors import ApiError
from agent_runtime.http.replies import JSON, Headers
from agent_runtime.models.assembly import whole_answer
from agent_runtime.telemetry.instruments import Instruments

MODELS_MAX_AGE_S = 60

Sent = Mapping[bytes, bytes]
Page = tuple[int, Headers, bytes]
"""Status, headers and body."""


class Edge:
    """Answers GETs so that standard caches can keep them. ``public``: also those that many callers share."""

    def __init__(
        self,
        cache: ResponseCache | None,
        *,
        public: bool,
        max_age_s: float,
        instruments: Instruments,
        unix_time: Callable[[], float],
    ) -> None:
        self._cache = cache if cache is not None and cache.addressed else None
        self._public = public
        self._max_age_s = max_age_s
        self._instruments = instruments
        self._unix_time = unix_time

    async def answer(self, tenant: str, path: str, sent: Sent) -> Page:
        """The stored answer at an address, or that it is unchanged. Raises ApiError 404."""
        key = key_of(path, tenant)
        found = await self._find(key, tenant, sent.get(b"cache-control", b"")) if key is not None else None
        body = _whole(found) if found is not None else None
        if key is None or found is None or body is None:
            raise ApiError(404, "answer_not_stored", "no answer is stored here for this key; POST the request again")
        entry = found.entry
        max_age_s = min(entry.expires_s - entry.stored_s - found.age_s, self._max_age_s)
        scope = b"public" if self._public else b"private"
        status, headers, body = _tagged(sent, etag(key, entry.stored_s), body)
        self._instruments.cache_result("revalidated" if status == 304 else found.tier)
        headers.append((b"cache-control", b"%s, max-age=%d" % (scope, max(max_age_s, 0))))
        headers.append((b"x-agentpool-cache", found.tier.encode()))
        return status, headers, body

    def page(self, body: bytes, sent: Sent) -> Page:
        """What changes with the pool's settings only, or that it is unchanged."""
        status, headers, body = _tagged(sent, f'"{blake2b(body, digest_size=12).hexdigest()}"', body)
        headers.append((b"cache-control", b"private, max-age=%d" % MODELS_MAX_AGE_S))
        return status, headers, body

    async def _find(self, key: str, tenant: str, control: bytes) -> Found | None:
        if self._cache is None:
            return None
        ask = Lookup(key, tenant, parse_cache_control(control.decode("latin-1")))
        now_s = self._unix_time()
        return self._cache.lookup(ask, now_s) or await self._cache.lookup_shared(ask, now_s)


def _tagged(sent: Sent, tag: str, body: bytes) -> Page:
    headers = [(b"etag", tag.encode()), (b"vary", b"authorization")]
    if is_unchanged(sent.get(b"if-none-match", b"").decode("latin-1"), tag):
        return 304, headers, b""
    return 200, [JSON, *headers], body


def _whole(found: Found) -> bytes | None:
    entry = found.entry
    return whole_answer(entry.body, entry.usage_frame) if entry.streamed else entry.body
