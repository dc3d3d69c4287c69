"""Which endpoint serves a model, and what must be said to it? Frozen values from the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
from yarl import URL

from agentpool_api.runtime_settings import Model

PATHS = {"chat": "chat/completions", "embeddings": "embeddings", "responses": "responses"}
"""Path of each operation below an endpoint's base URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where one model is served."""

    index: int
    """Place in ``models``."""
    model: str
    """Name the callers use."""
    upstream_model: str
    """Name the endpoint uses."""
    kind: str
    base: str
    host: str
    """Host and port, the label of metrics."""
    url: URL
    scope: bytes
    """What sets this endpoint's answers apart in the cache."""


def make_endpoint(index: int, model: Model) -> Endpoint:
    """The endpoint of ``models[index]``."""
    base = model.endpoint.rstrip("/")
    url = URL(f"{base}/{PATHS[model.kind]}")
    upstream = model.upstream_model or model.name
    return Endpoint(
        index=index,
        model=model.name,
        upstream_model=upstream,
        kind=model.kind,
        base=base,
        host=f"{url.host}:{url.port}",
        url=url,
        scope="\n".join((model.kind, base, upstream)).encode(),
    )


def operations_of(endpoint: Endpoint) -> list[Endpoint]:
    """The endpoint once for each operation it serves: a chat model answers the Responses API too."""
    if endpoint.kind != "chat":
        return [endpoint]
    return [endpoint, replace(endpoint, kind="responses", url=URL(f"{endpoint.base}/{PATHS['responses']}"))]


def rewrite(body: bytes, changes: dict[str, object]) -> bytes:
    """The same JSON object with these top-level fields set; every other value stays as the caller wrote it."""
    if not changes:
        return body
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    for name, value in changes.items():
        fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)
