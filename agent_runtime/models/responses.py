"""What goes by in a stream of the Responses API? Pure, no I/O.

Every event is passed on as it came. Usage stands in the event that ends the response; only that one is parsed.
"""

from __future__ import annotations

import re

import orjson

from agent_runtime.models.sse import StreamReader, frame_json, split_frames
from agent_runtime.usage import usage_from

_TURN = re.compile(rb'"type"\s*:\s*"(?:response\.(?:created|completed|incomplete|failed)|error)"')
"""An event the runtime has to look into. Within a text its quotation marks would be escaped."""


class ResponsesReader(StreamReader):
    """Follows the stream of one response."""

    def __init__(self) -> None:
        super().__init__()
        self._events = 0

    def failure_frame(self, payload: bytes) -> bytes:
        """The API's own ``error`` event. It also holds the error object, which makes the OpenAI SDKs raise."""
        error = orjson.loads(payload)["error"]
        event = {"type": "error", "sequence_number": self._events, "error": error}
        event |= {name: error.get(name) for name in ("code", "message", "param")}
        return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"

    def _note(self, data: bytes) -> tuple[bytes, bytes]:
        self._events += data.count(b"data:")
        self.frames += data.count(b'.delta"')
        if _TURN.search(data):
            for frame in split_frames(data):
                self._turn(frame_json(frame)) if _TURN.search(frame) else None
        return data, b""

    def _turn(self, event: object) -> None:
        kind = event.get("type") if isinstance(event, dict) else None
        response = event.get("response") if isinstance(event, dict) else None
        if kind in ("response.completed", "response.incomplete"):
            self.finished = True
        elif kind in ("response.failed", "error"):
            self.failed = True
        self.usage = usage_from(response) or self.usage


def reader_of(operation: str) -> StreamReader:
    """What follows a stream of this operation."""
    return ResponsesReader() if operation == "responses" else StreamReader()


def response_id(answer: bytes) -> str | None:
    """Id of the response in a JSON answer, or in the frames that begin a stream; None when there is none yet."""
    if answer.startswith(b"{"):
        return _id_in(_parsed(answer))
    for frame in split_frames(answer):
        event = frame_json(frame)
        found = _id_in(event.get("response")) if isinstance(event, dict) else None
        if found is not None:
            return found
    return None


def _id_in(response: object) -> str | None:
    found = response.get("id") if isinstance(response, dict) else None
    return found if isinstance(found, str) else None


def _parsed(answer: bytes) -> object:
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None
