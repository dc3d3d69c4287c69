"""How do several requests go to an endpoint's ``POST /v1/batch``, and whose is each answer? Pure.

The lines of an OpenAI batch file as a list, answered by the lines of its output file: what the runtime's own
``/v1/batch`` speaks, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

URL = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Line:
    """The answer to one request of a batch."""

    status: int
    body: bytes


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None


class _Batch(msgspec.Struct):
    data: list[_Line]


def make_batch(bodies: Sequence[bytes]) -> bytes:
    """The requests as one body; each goes by its place."""
    requests = [{"custom_id": str(at), "url": URL, "body": msgspec.Raw(body)} for at, body in enumerate(bodies)]
    return msgspec.json.encode({"requests": requests})


def read_batch(answer: bytes, count: int) -> list[Line | None]:
    """The answers in the order of the requests, however they came; None where one is missing or unreadable."""
    lines: list[Line | None] = [None] * count
    try:
        batch = msgspec.json.decode(answer, type=_Batch)
    except msgspec.DecodeError:
        return lines
    places = {str(at): at for at in range(count)}
    for line in batch.data:
        place = places.get(line.custom_id)
        if place is not None and line.response is not None:
            lines[place] = Line(line.response.status_code, bytes(line.response.body))
    return lines
