"""Which calls does the API have? The one list that serving, refusing and the OpenAPI document are made from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent_runtime.errors import ApiError
from agent_runtime.profiling.on_demand import PROFILE_S
from agent_runtime.requests import CHAT, EMBEDDINGS, RESPONSES, STORED_RESPONSES

JSON = "application/json"
EVENTS = "text/event-stream"
TEXT = "text/plain"
SVG = "image/svg+xml"

FORGET = "/v1/cache/forget"
PURGE = "/v1/cache/purge"
BATCH = "/v1/batch"
MODEL = "/v1/models/{name}"
ANSWER = "/v1/answers/{id}"
RESPONSE = "/v1/responses/{id}"
CPU_PROFILE = "/debug/profile/cpu"
MEMORY_PROFILE = "/debug/profile/memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call of the API."""

    method: str
    path: str
    summary: str
    operation: str = ""
    """What an endpoint is asked for; empty when none is."""
    body: str = ""
    """Schema of the body; empty when there is none."""
    body_required: bool = True
    answer: str = "Anything"
    """Schema of the answer."""
    types: tuple[str, ...] = (JSON,)
    """Content types of the answer."""
    needs_key: bool = True
    tagged: bool = False
    """Has an entity tag, and answers 304 to who holds it already."""
    seconds: tuple[float, float] | None = None
    """Range of its parameter ``seconds``; None when it has none."""

    @property
    def methods(self) -> tuple[str, ...]:
        """GET answers to HEAD too."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


ROUTES = (
    Route(
        method="POST",
        path="/v1/chat/completions",
        summary="Answer a chat, whole or as events",
        operation=CHAT,
        body="ChatRequest",
        answer="ChatCompletion",
        types=(JSON, EVENTS),
    ),
    Route(
        method="POST",
        path="/v1/responses",
        summary="Answer by the Responses API, whole or as events",
        operation=RESPONSES,
        body="ResponsesRequest",
        answer="Response",
        types=(JSON, EVENTS),
    ),
    Route(
        method="GET",
        path=RESPONSE,
        summary="Read a response that its endpoint keeps",
        operation=STORED_RESPONSES,
        answer="Response",
        types=(JSON, EVENTS),
    ),
    Route(
        method="DELETE",
        path=RESPONSE,
        summary="Delete a response where it is kept",
        operation=STORED_RESPONSES,
        answer="Deleted",
    ),
    Route(
        method="GET",
        path=f"{RESPONSE}/input_items",
        summary="List what a response was made from",
        operation=STORED_RESPONSES,
        answer="List",
    ),
    Route(
        method="POST",
        path=f"{RESPONSE}/cancel",
        summary="End a response that is being made",
        operation=STORED_RESPONSES,
        answer="Response",
    ),
    Route(
        method="POST",
        path="/v1/embeddings",
        summary="Embed texts",
        operation=EMBEDDINGS,
        body="EmbeddingsRequest",
        answer="List",
    ),
    Route(method="POST", path=BATCH, summary="Answer many requests at once", body="BatchRequest", answer="List"),
    Route(
        method="POST",
        path=PURGE,
        summary="Forget the caller's stored answers in every agent",
        body="PurgeRequest",
        body_required=False,
        answer="Purged",
    ),
    Route(
        method="POST",
        path=FORGET,
        summary="Forget the caller's stored answers near a statement",
        body="ForgetRequest",
        answer="Forgotten",
    ),
    Route(method="GET", path="/v1/models", summary="List the pool's models", answer="List", tagged=True),
    Route(method="GET", path=MODEL, summary="Describe one of the pool's models", answer="Model", tagged=True),
    Route(method="GET", path=ANSWER, summary="Read a stored answer again", tagged=True),
    Route(method="GET", path="/v1/stats", summary="Tell what the pool has done and saved", answer="Stats"),
    Route(
        method="GET",
        path=CPU_PROFILE,
        summary="Draw where this agent's processor time goes in the next seconds",
        types=(SVG,),
        seconds=PROFILE_S,
    ),
    Route(
        method="GET",
        path=MEMORY_PROFILE,
        summary="Tell what holds this agent's memory, and what the next seconds add",
        answer="MemoryProfile",
        seconds=PROFILE_S,
    ),
    Route(method="GET", path="/healthz", summary="The process lives", types=(TEXT,), needs_key=False),
    Route(method="GET", path="/readyz", summary="Ready, or why not", answer="Readiness", needs_key=False),
    Route(method="GET", path="/metrics", summary="Metrics for Prometheus", types=(TEXT,), needs_key=False),
    Route(method="GET", path="/openapi.json", summary="This document", needs_key=False),
)

OPERATIONS = {route.path: route.operation for route in ROUTES if route.operation and route.body}
"""Of the calls of models."""


def _by_path() -> dict[str, list[Route]]:
    found: dict[str, list[Route]] = {}
    for route in ROUTES:
        found.setdefault(route.path, []).append(route)
    return found


def _form(path: str) -> re.Pattern[str]:
    """What the paths of a route look like: names of models may have slashes, ids have none."""
    return re.compile(path.replace("{name}", ".*").replace("{id}", "[^/]+"), re.DOTALL)


_BY_PATH = _by_path()
_BY_FORM = [(_form(path), routes) for path, routes in _BY_PATH.items() if "{" in path]


def find_route(path: str, method: str) -> Route:
    """The call that is meant. Raises ApiError 404 or 405."""
    routes = _BY_PATH.get(path)
    if routes is None:
        routes = next((found for form, found in _BY_FORM if form.fullmatch(path)), None)
    if routes is None:
        raise ApiError(404, "unknown_url", f"there is no {method} {path[:200]} here; GET /openapi.json lists what is")
    for route in routes:
        if method in route.methods:
            return route
    allowed = [one for route in routes for one in route.methods]
    what = " and ".join(route.method for route in routes)
    raise ApiError(405, "method_not_allowed", f"{path[:200]} answers to {what} only", allow=", ".join(allowed))
