"""What schemathesis cannot know.

Headers nobody knows are no error, the ids of a batch are each used once, and who allows no time or no call gets the 504
it asks for.
"""

from collections.abc import Mapping
from typing import Any

import schemathesis

ENOUGH_MS = 60_000


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Keep this case?"""
    headers = {name.lower(): str(value) for name, value in (case.headers or {}).items()}
    unknown = any(name.startswith("x-schemathesis-unknown") for name in headers)
    return not unknown and not _wants_a_504(headers) and not _repeats_an_id(case.body)


def _wants_a_504(headers: Mapping[str, str]) -> bool:
    try:
        hurried = 0 < float(headers.get("x-agentpool-deadline-ms", "nan")) < ENOUGH_MS
    except ValueError:
        hurried = False
    return hurried or "only-if-cached" in headers.get("cache-control", "").lower()


def _repeats_an_id(body: Any) -> bool:
    requests = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(requests, list):
        return False
    ids = [str(one.get("custom_id", at)) for at, one in enumerate(requests) if isinstance(one, dict)]
    return len(set(ids)) < len(ids)
