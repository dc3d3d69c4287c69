"""What does a whole answer say about itself? Pure. Reads usage and endings without building the rest."""

from __future__ import annotations

from typing import Any

import msgspec

from agent_runtime.errors import ApiError
from agent_runtime.models.endpoints import Endpoint
from agent_runtime.usage import Usage, usage_from


class _Choice(msgspec.Struct):
    finish_reason: Any = None


class _Answer(msgspec.Struct):
    usage: Any = None
    choices: list[_Choice] = []
    error: Any = None


class NotJson(Exception):  # noqa: N818
    """Raised when an answer is no JSON."""


def read_answer(body: bytes, operation: str) -> tuple[Usage | None, bool]:
    """Usage of an answer, and whether it is a finished one that may be served again. Raises NotJson."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.ValidationError:
        return None, False
    except msgspec.DecodeError:
        raise NotJson from None
    finished = operation != "chat" or (
        bool(answer.choices) and all(isinstance(choice.finish_reason, str) for choice in answer.choices)
    )
    return usage_from({"usage": answer.usage}), finished and answer.error is None


def invalid(endpoint: Endpoint, what: str) -> ApiError:
    """The error of an answer that is none."""
    return ApiError(
        502,
        "upstream_invalid_answer",
        f"the endpoint of model {endpoint.model} sent {what}: check {endpoint.url_field}",
        kind="server_error",
        should_retry=False,
    )


def incomplete(model: str) -> ApiError:
    """The error of a stream that ended too soon."""
    return ApiError(
        502,
        "upstream_incomplete",
        f"the endpoint of model {model} ended its stream before the answer was whole; try again",
        kind="server_error",
    )
