"""When is a failed call repeated, and after how long? Pure.

Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): the wait
is uniform between 0 and min(cap, base × 2^attempt). An endpoint's Retry-After is a lower bound.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

BASE_S = 0.25
CAP_S = 8.0
LONGEST_RETRY_AFTER_S = 60.0
"""A longer Retry-After is not waited for: the caller gets the answer and decides."""

RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


def backoff_s(attempt: int, retry_after_s: float | None, chance: float) -> float | None:
    """Seconds to wait after failed attempt number ``attempt`` (from 0), or None when it is not worth waiting.

    ``chance`` is uniform in [0, 1).
    """
    jitter_s: float = chance * min(CAP_S, BASE_S * 2**attempt)
    if retry_after_s is None:
        return jitter_s
    return None if retry_after_s > LONGEST_RETRY_AFTER_S else retry_after_s + jitter_s


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """Seconds of a Retry-After header, in seconds or as an HTTP date; None when there is none that makes sense."""
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return min(float(text[:15]), 1e9)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now_s, 0.0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
