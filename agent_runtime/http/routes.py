"""Which calls does the API have? The one list that serving, refusing and the OpenAPI document are made from."""

from __future__ import annotations

from dataclasses import dataclass

from agent_runtime.errors import ApiError
from agent_runtime.profiling.on_demand import PROFILE_S
from agent_runtime.requests import CHAT, EMBEDDINGS, RESPONSES

JSON = "application/json"
EVENTS = "text/event-stream"
TEXT = "text/plain"
SVG = "image/svg+xml"

FORGET = "/v1/cache/forget"
PURGE = "/v1/cache/purge"
BATCH = "/v1/batch"
MODEL = "/v1/models/{name}"
ANSWER = "/v1/answers/{id}"
CPU_PROFILE = "/debug/profile/cpu"
MEMORY_PROFILE = "/debug/profile/memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call of the API."""

    method: str
    path: str
    summary: str
    operation: str = ""
    """What a model is called for; empty when none is."""
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

OPERATIONS = {route.path: route.operation for route in ROUTES if route.operation}
_BY_PATH = {route.path: route for route in ROUTES if "{" not in route.path}
_BY_PREFIX = {route.path.partition("{")[0]: route for route in ROUTES if "{" in route.path}


def find_route(path: str, method: str) -> Route:
    """The call that is meant. Raises ApiError 404 or 405."""
    route = _BY_PATH.get(path)
    if route is None:
        route = next((found for prefix, found in _BY_PREFIX.items() if path.startswith(prefix)), None)
    if route is None:
        if path.startswith("/v1/responses/"):
            raise ApiError(404, "response_not_kept", "this runtime keeps no responses: POST /v1/responses gives all")
        raise ApiError(404, "unknown_url", f"there is no {method} {path[:200]} here; GET /openapi.json lists what is")
    if method not in route.methods:
        raise ApiError(
            405, "method_not_allowed", f"{path[:200]} answers to {route.method} only", allow=", ".join(route.methods)
        )
    return route
