"""What does the API look like to a program? Its OpenAPI 3.1 document, made from the list of routes. Pure.

The schemas say what the runtime itself checks; every further field of a request goes to the endpoint as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent_runtime.http.batch import MAX_ITEMS
from agent_runtime.http.routes import JSON, MODEL, RESPONSE, ROUTES, Route
from agent_runtime.routing.complexity import Complexity

Schema = dict[str, Any]

_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}

HEADERS: Schema = {
    "x-agentpool-min-quality": _SHARE,
    "x-agentpool-accuracy": _SHARE,
    "x-agentpool-max-latency-ms": {"type": "number", "minimum": 0},
    "x-agentpool-complexity": {"anyOf": [{"enum": [kind.value for kind in Complexity]}, _SHARE]},
    "x-agentpool-deadline-ms": {"type": "number", "exclusiveMinimum": 0},
    "x-agentpool-batch": {"enum": ["true", "false"]},
    "cache-control": {"type": "string"},
    "traceparent": {"type": "string"},
}
"""Headers of calls of a model."""

_STREAM: Schema = {"stream": {"type": ["boolean", "null"]}, "stream_options": {"type": ["object", "null"]}}


def document(models: Sequence[str]) -> Schema:
    """The document of a pool with these models."""
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _call(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "agentpool runtime",
            "version": "1",
            "description": "An OpenAI-compatible API in front of the model endpoints of a pool.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(models),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _call(route: Route) -> Schema:
    told: Schema = {"summary": route.summary, "security": [{"key": []}] if route.needs_key else []}
    told["responses"] = {
        "200": {"description": "The answer.", "content": {kind: _content(route, kind) for kind in route.types}},
        "4XX": {"description": "The request, or what it asks for, is refused.", "content": {JSON: _ref("Error")}},
        "5XX": {"description": "The runtime or an endpoint failed.", "content": {JSON: _ref("Error")}},
    }
    if route.path == "/readyz":
        told["responses"]["503"] = {"description": "Not ready.", "content": {JSON: _ref("Readiness")}}
    if route.body:
        told["requestBody"] = {"required": route.body_required, "content": {JSON: _ref(route.body)}}
    if route.operation and route.body:
        told["parameters"] = [{"name": name, "in": "header", "schema": schema} for name, schema in HEADERS.items()]
    if route.tagged:
        told["responses"]["304"] = {"description": "What the caller holds is unchanged."}
    if "{id}" in route.path:
        told["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    if route.path == RESPONSE and route.method == "GET":
        told["parameters"].append({"name": "stream", "in": "query", "schema": {"type": "boolean"}})
    if route.seconds is not None:
        least, most = route.seconds
        seconds = {"type": "number", "minimum": least, "maximum": most}
        told["parameters"] = [{"name": "seconds", "in": "query", "required": True, "schema": seconds}]
    if route.path == MODEL:
        told["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": _ref("ModelName")["schema"]}]
    return told


def _content(route: Route, kind: str) -> Schema:
    match kind:
        case "application/json":
            return _ref(route.answer)
        case "text/event-stream":
            return {}  # OpenAPI 3.1 has no words for events
        case _:
            return {"schema": {"type": "string"}}


def _ref(name: str) -> Schema:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


def _object(required: Sequence[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _schemas(models: Sequence[str]) -> Schema:
    model: Schema = {"type": "string", "enum": list(models)} if models else {"type": "string", "minLength": 1}
    name = _ref("ModelName")["schema"]
    text = {"type": "string"}
    whole = {"type": "integer", "minimum": 0}
    texts: Schema = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1}]}
    item = _object(["body"], custom_id=text, url=text, body={"type": "object"})
    return {
        "Anything": {},
        "ModelName": model,
        "ChatRequest": _object(["model", "messages"], model=name, messages={"type": "array", "minItems": 1}, **_STREAM),
        "ResponsesRequest": _object(
            ["model"],
            model=name,
            background={"enum": [False, None]},
            conversation={"type": "null"},
            previous_response_id={"type": ["string", "null"]},
            **_STREAM,
        ),
        "EmbeddingsRequest": _object(["model", "input"], model=name, input=texts, **_STREAM),
        "BatchRequest": _object(
            ["requests"], requests={"type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": item}
        ),
        "PurgeRequest": _object([], model={"anyOf": [name, {"type": "null"}]}) | {"additionalProperties": False},
        "ForgetRequest": _object(
            ["near"],
            near={"type": "string", "pattern": r"\S"},
            similarity={"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        ),
        "ChatCompletion": _object(["choices"], choices={"type": "array"}),
        "Response": _object(["id", "output"], id=text, output={"type": "array"}),
        "List": _object(["object", "data"], object={"const": "list"}, data={"type": "array"}),
        "Model": _object(["id", "object"], id=text, object={"const": "model"}, owned_by=text, created=whole),
        "Deleted": _object(["id", "deleted"], id=text, deleted={"type": "boolean"}),
        "Purged": _object(["purged"], purged={"const": True}),
        "Forgotten": _object(["dropped"], dropped=whole),
        "Readiness": _object(
            ["ready", "draining", "problems"],
            ready={"type": "boolean"},
            draining={"type": "boolean"},
            problems={"type": "array", "items": _object(["reason", "field", "message"])},
        ),
        "Stats": _object(["object", "pool", "scope", "agents", "requests", "cache", "cost_usd", "saved_usd"]),
        "MemoryProfile": _object(["seconds", "process_bytes", "new", "objects"]),
        "Error": _object(
            ["error"],
            error=_object(["message"], message=text, type=text, param={"type": ["string", "null"]}),
        ),
    }
