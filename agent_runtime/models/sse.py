"""What goes by in a stream of server-sent events? Pure, no I/O.

Cuts a byte stream into whole frames, takes out the frame that only holds usage (the runtime asks for it; the caller may
not have), and notes what metering and the cache need. The common case, a chunk of whole frames without usage, is passed
on without being parsed.
"""

from __future__ import annotations

import re

import orjson

from agent_runtime.usage import Usage, usage_from

MAX_FRAME_BYTES = 4 * 1024 * 1024

_END = re.compile(rb"\r?\n\r?\n|\r\r")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_DONE = re.compile(rb"^data:\s*\[DONE\]", re.MULTILINE)
_ERROR = re.compile(rb'^data:\s*\{\s*"error"\s*:', re.MULTILINE)

_ERROR_FIRST = re.compile(rb'^(?::[^\n]*\n|[\r\n]+|event:[^\n]*\n)*data:\s*\{\s*"error"\s*:')

DONE_FRAME = b"data: [DONE]\n\n"


class FrameTooLarge(Exception):  # noqa: N818
    """Raised when one frame passes MAX_FRAME_BYTES."""


class StreamReader:
    """Follows one stream. ``feed`` every chunk; then the attributes tell what was seen."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.frames = 0
        self.finished = False
        """A finish_reason or the [DONE] mark came by."""
        self.failed = False
        """The endpoint reported an error within the stream."""
        self._rest = b""

    @property
    def complete(self) -> bool:
        return self.finished and not self.failed and not self._rest

    def feed(self, chunk: bytes) -> tuple[bytes, bytes]:
        """Whole frames to pass on, and apart the frame that only holds usage; either may be empty.

        Raises FrameTooLarge.
        """
        data = self._rest + chunk if self._rest else chunk
        if data.endswith(b"\n\n"):
            self._rest = b""
        else:
            data = self._hold_back(data)
            if not data:
                return b"", b""
        return self._note(data)

    def failure_frame(self, payload: bytes) -> bytes:
        """What tells the caller that the stream broke; ``payload`` is an error object."""
        return data_frame(payload)

    def _note(self, data: bytes) -> tuple[bytes, bytes]:
        self.frames += data.count(b"data:")
        if not self.finished and (_FINISHED.search(data) or _DONE.search(data)):
            self.finished = True
        if b'"error"' in data and _ERROR.search(data):
            self.failed = True
        return self._take_usage(data) if _USAGE.search(data) else (data, b"")

    def _hold_back(self, data: bytes) -> bytes:
        last = 0
        for match in _END.finditer(data):
            last = match.end()
        self._rest = data[last:]
        if len(self._rest) > MAX_FRAME_BYTES:
            raise FrameTooLarge
        return data[:last]

    def _take_usage(self, data: bytes) -> tuple[bytes, bytes]:
        kept, taken = [], b""
        for frame in split_frames(data):
            found = frame_json(frame) if _USAGE.search(frame) else None
            usage = usage_from(found)
            if usage is not None:
                self.usage = usage
            if usage is not None and isinstance(found, dict) and not found.get("choices"):
                taken = frame
            else:
                kept.append(frame)
        return b"".join(kept), taken


def begins_with_error(chunk: bytes) -> bool:
    """Does a stream's beginning report an error before anything else?"""
    return b'"error"' in chunk and _ERROR_FIRST.match(chunk) is not None


def split_frames(data: bytes) -> list[bytes]:
    """Whole frames, each with its blank line; a last piece without one is left out."""
    frames, start = [], 0
    for match in _END.finditer(data):
        frames.append(data[start : match.end()])
        start = match.end()
    return frames


def frame_json(frame: bytes) -> object:
    """The JSON value of a frame's data lines; None when it has none."""
    lines = [line[5:].lstrip(b" ") for line in frame.splitlines() if line.startswith(b"data:")]
    try:
        return orjson.loads(b"\n".join(lines))
    except orjson.JSONDecodeError:
        return None


def with_usage(body: bytes, usage_frame: bytes) -> bytes:
    """Frames with the usage frame in its place, before the [DONE] mark."""
    if not usage_frame:
        return body
    if body.endswith(DONE_FRAME):
        return body[: -len(DONE_FRAME)] + usage_frame + DONE_FRAME
    return body + usage_frame


def with_cost(usage_frame: bytes, cost_nanousd: int | None) -> bytes:
    """A usage frame that also tells what the answer cost, as ``usage.cost_nanousd``; None: nobody knows.

    A whole number, because client libraries add usage up, field by field, and some of them only know whole numbers.
    """
    found = frame_json(usage_frame) if usage_frame and cost_nanousd is not None else None
    if not isinstance(found, dict) or not isinstance(found.get("usage"), dict):
        return usage_frame
    return data_frame(orjson.dumps({**found, "usage": {**found["usage"], "cost_nanousd": cost_nanousd}}))


def data_frame(payload: bytes) -> bytes:
    """A frame around one line of JSON."""
    return b"data: " + payload + b"\n\n"
