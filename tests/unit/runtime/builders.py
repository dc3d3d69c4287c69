"""Values for the runtime's tests, with overrides."""

from agent_runtime.cache.entry import Entry
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
