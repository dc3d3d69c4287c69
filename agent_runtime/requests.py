"""What does a caller ask for? Checks what the runtime itself needs and leaves the rest to the endpoint. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from agent_runtime.cache.control import PLAIN, CacheControl
from agent_runtime.errors import ApiError
from agent_runtime.routing.wishes import NO_WISHES, Wishes
from agent_runtime.telemetry.tracing import Trace
from agent_runtime.usage import Usage

CHAT = "chat"
EMBEDDINGS = "embeddings"
RESPONSES = "responses"
STORED_RESPONSES = "stored_responses"
"""To read, list, end or delete what an endpoint keeps of a response: no call of a model."""

MAX_DEPTH = 200
"""Levels of lists and objects that every part of the runtime can handle."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A response that an endpoint keeps, and what is to be done with it."""

    method: str
    response: str
    path: str
    """Below the response, with a query: ``/input_items?limit=2``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of the API, as far as the runtime understands it."""

    operation: str
    body: bytes
    """As the caller sent it."""
    fields: Mapping[str, Any]
    """The body, parsed."""
    model: str
    stream: bool
    include_usage: bool
    """The caller asked for usage at the end of the stream."""
    tenant: str
    control: CacheControl = PLAIN
    forwarded: Mapping[str, str] = field(default_factory=dict)
    """Headers for the endpoint: trace context."""
    trace: Trace | None = None
    """None where the pool does not trace."""
    wishes: Wishes = NO_WISHES
    kept: Kept | None = None
    """What a request about a stored response is about; such a one has no body, fields or model."""
    account: str = ""
    """Whose endpoint has the response this one goes on from (``Endpoint.account``); empty: any may answer."""
    instead_of: str | None = None
    """The model that would have answered, had the pool not chosen another."""
    request_id: str
    started_s: float
    """Monotonic time at which the request was there."""


@dataclass(slots=True, kw_only=True)
class Told:
    """What happened to a request, for the headers of its answer."""

    model: str
    cache: str
    """l1, l2, l3, semantic, precomputed, coalesced, miss, bypass or fallback."""
    endpoint: str = ""
    """Name of the endpoint that was asked; empty where none was, or the model has but one."""
    account: str = ""
    """Where that endpoint keeps what it made (``Endpoint.account``)."""
    stored: bool = False
    stored_s: float | None = None
    """Unix second at which the answer was stored under the request's own key."""
    address: str = ""
    """Where the stored answer can be read again."""
    etag: str = ""
    usage: Usage | None = None
    cost_nanousd: int | None = None
    """None while a stream has not ended, or without a known price."""
    saved_nanousd: int = 0
    age_s: float | None = None
    life_left_s: float = 0.0
    overhead_s: float = 0.0
    right_sizing: str = ""
    """Which model was chosen and why; empty when none was."""
    batch: str = ""
    """With how many others the request went; empty when it went alone."""
    fallback: str = ""
    """What was answered because the deadline was over; empty when it was met, or there was none."""
    compression: str = ""
    """What was taken out of the prompt; empty when the pool does not compress."""


def parse_json(body: bytes) -> Any:
    """The value of a body. Raises ApiError 400."""
    try:
        value = orjson.loads(body)
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
            orjson.dumps(value)  # has a bound of its own: 254 levels
    except orjson.JSONDecodeError as error:
        raise _bad(f"the body is not JSON: {error}", "invalid_json") from None
    except TypeError:
        raise _bad(f"the body is nested too deeply; {MAX_DEPTH} levels are enough", "invalid_json") from None
    return value


def parse_fields(operation: str, body: bytes) -> dict[str, Any]:
    """The request's fields. Raises ApiError 400 naming the field and what to change."""
    fields = parse_json(body)
    if not isinstance(fields, dict):
        raise _bad("the body must be a JSON object", "invalid_json")
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise _bad("model must be the name of a model; GET /v1/models lists them", "invalid_model", "model")
    if operation == CHAT:
        messages = fields.get("messages")
        if not isinstance(messages, list) or not messages:
            raise _bad("messages must be a list with at least one message", "invalid_messages", "messages")
    elif operation == RESPONSES:
        _check_response(fields)
    elif not isinstance(fields.get("input"), str | list) or not fields["input"]:
        raise _bad("input must be a text, or a list of texts or tokens, that is not empty", "invalid_input", "input")
    if not isinstance(fields.get("stream"), bool | None):
        raise _bad("stream must be true or false", "invalid_stream", "stream")
    if not isinstance(fields.get("stream_options"), dict | None):
        raise _bad("stream_options must be an object", "invalid_stream_options", "stream_options")
    return fields


def parse_kept(method: str, path: str, query: bytes) -> tuple[Kept, bool]:
    """What a request to ``/v1/responses/<id>…`` is about, and whether it asks for events.

    The query is written anew, so that nothing but names and values reaches the endpoint. Raises ApiError 400.
    """
    response, slash, below = path.removeprefix("/v1/responses/").partition("/")
    wishes = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    asked = f"?{urlencode(wishes)}" if wishes else ""
    stream = [value for name, value in wishes if name == "stream"]
    if stream not in ([], ["true"], ["false"]):
        raise _bad("stream must be true or false", "invalid_stream", "stream")
    kept = Kept("GET" if method == "HEAD" else method, response, f"{slash}{below}{asked}")
    return kept, stream == ["true"]


def _check_response(fields: Mapping[str, Any]) -> None:
    """Refuse what would lose its bill, or reach what another caller stored under the pool's account."""
    background = fields.get("background")
    if background is not None and background is not False:
        raise _bad(
            "background responses end unseen, so nobody could count them: leave it out", "not_supported", "background"
        )
    if fields.get("conversation") is not None:
        message = (
            "conversations belong to the pool's account, not to one key: use previous_response_id, or send the messages"
        )
        raise _bad(message, "not_supported", "conversation")
    if not isinstance(fields.get("previous_response_id"), str | None):
        raise _bad("previous_response_id must be the id of a response", "invalid_response_id", "previous_response_id")
    items = fields.get("input")
    if isinstance(items, list) and any(
        isinstance(item, dict) and item.get("type") == "item_reference" for item in items
    ):
        raise _bad(
            "an item_reference may point to another caller's item: send the item itself", "not_supported", "input"
        )


def parse_statement(body: bytes) -> tuple[str, float]:
    """Statement and similarity of a request to forget what is near it. Raises ApiError 400."""
    fields = parse_json(body)
    near = fields.get("near") if isinstance(fields, dict) else None
    if not isinstance(near, str) or not near.strip():
        raise _bad('near must be a statement, as in {"near": "the opening hours have changed"}', "invalid_near", "near")
    similarity = fields.get("similarity", 0.6)
    if isinstance(similarity, bool) or not isinstance(similarity, int | float) or not 0 < similarity <= 1:
        raise _bad("similarity must be above 0 and at most 1", "invalid_similarity", "similarity")
    return near, float(similarity)


def parse_purge(body: bytes, models: Collection[str]) -> str | None:
    """Model of a request to purge, None for all. Raises ApiError 400."""
    fields = parse_json(body) if body.strip() else {}
    if not isinstance(fields, dict) or fields.keys() - {"model"}:
        raise _bad('send no body, or {"model": "<name>"} for the answers of one model', "invalid_purge")
    model = fields.get("model")
    if model is not None and model not in models:
        raise _bad("model is not one of this pool's; GET /v1/models lists them", "invalid_model", "model")
    return str(model) if model is not None else None


def wants_stream(operation: str, fields: Mapping[str, Any]) -> tuple[bool, bool]:
    """Is the answer to be streamed, and does its end tell the usage? That of a response always does."""
    stream = operation != EMBEDDINGS and fields.get("stream") is True
    options = fields.get("stream_options") or {}
    return stream, stream and (operation == RESPONSES or options.get("include_usage") is True)


def _bad(message: str, code: str, param: str | None = None) -> ApiError:
    return ApiError(400, code, message, param=param)
