"""What schemathesis cannot know: headers nobody knows are no error, and the ids of a batch are each used once."""

from typing import Any

import schemathesis


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Keep this case?"""
    unknown_header = any(name.startswith("x-schemathesis-unknown") for name in case.headers or {})
    return not unknown_header and not _repeats_an_id(case.body)


def _repeats_an_id(body: Any) -> bool:
    requests = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(requests, list):
        return False
    ids = [str(one.get("custom_id", at)) for at, one in enumerate(requests) if isinstance(one, dict)]
    return len(set(ids)) < len(ids)
