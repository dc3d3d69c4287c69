"""Values for the runtime's tests, with overrides."""

from agent_runtime.cache.entry import Entry
from agent_runtime.cache.policies import MODEL_OUTPUT, RESPONSE, TOOL_RESULT, Policy
from agent_runtime.cache.responses import TIERS
from agent_runtime.usage import Usage


def entry(body: bytes = b"{}", **changes) -> Entry:
    fields = {
        "body": body,
        "usage_frame": b"",
        "streamed": False,
        "model": "m",
        "usage": Usage(3, 1, 2),
        "cost_nanousd": 5,
        "stored_s": 1000.0,
        "expires_s": 1060.0,
    }
    return Entry(**(fields | changes))


def policies(ttl_s: float, *tiers: str) -> dict[str, Policy]:
    """The same policy for every kind of answers."""
    return {kind: Policy(ttl_s, frozenset(tiers or TIERS)) for kind in (RESPONSE, MODEL_OUTPUT, TOOL_RESULT)}
