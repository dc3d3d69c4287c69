"""Where can a stored answer be read again, and is it still the same? Pure.

A POST cannot be cached by what stands between (RFC 9110 section 9.3.3), so a stored answer also has an address of its
own for GET, told in ``Content-Location``. The address holds a mark of its tenant: nobody else's key opens it.
"""

from __future__ import annotations

import re
from hashlib import blake2b

PREFIX = "/v1/answers/"
_ADDRESS = re.compile(r"([0-9a-f]{40})([0-9a-f]{16})", re.ASCII)
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def address(key: str, tenant: str) -> str:
    """Path of the answer stored under a key."""
    return PREFIX + key + _mark(key, tenant)


def key_of(path: str, tenant: str) -> str | None:
    """Key of the answer at a path; None when there is none for this tenant."""
    found = _ADDRESS.fullmatch(path.removeprefix(PREFIX))
    return found[1] if found is not None and found[2] == _mark(found[1], tenant) else None


def etag(key: str, stored_s: float) -> str:
    """Entity tag of an answer: the same in every agent and tier, another one once the answer was made anew."""
    return f'"{key[:16]}-{int(stored_s * 1_000_000):x}"'


def is_unchanged(if_none_match: str, tag: str) -> bool:
    """Does the caller hold this answer already? By weak comparison, RFC 9110 section 13.1.2."""
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)


def _mark(key: str, tenant: str) -> str:
    return blake2b(key.encode(), key=tenant.encode()[:64], digest_size=8).hexdigest()
