"""Do the settings of models, connections and collector fit? The rules the API server checks, and ranges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from agent_runtime.errors import RuntimeSetupError
from agentpool_api.quantity import duration_s
from agentpool_api.runtime_settings import SemanticEmbedder, Tracing
from agentpool_api.upstreams import Connections, Model

LONGEST_LOOKUP_S = 10.0
"""No question waits longer for what was answered before."""


def check_models(models: Sequence[Model]) -> None:
    """Raises RuntimeSetupError naming the field and what to change."""
    names = [model.name for model in models]
    for index, model in enumerate(models):
        path = f"models[{index}]"
        if names.index(model.name) != index:
            raise RuntimeSetupError(f"{path}.name: {model.name!r} is taken: give each model its own name")
        if (model.endpoint is None) == (model.endpoints is None):
            raise RuntimeSetupError(f"{path}.endpoint: say once where the model is served: endpoint, or endpoints")
        if model.endpoints is not None and (model.api_key_secret_ref or model.api_key_env):
            raise RuntimeSetupError(f"{path}: with endpoints each one names its own key: move it there")
        if model.batch is not None and model.kind != "chat":
            raise RuntimeSetupError(f"{path}.batch: only chat models have batches; leave it out, or set kind to chat")
        given = [endpoint.name for endpoint in model.served_by if endpoint.name is not None]
        if len(set(given)) < len(given):
            raise RuntimeSetupError(f"{path}.endpoints: two have the same name: give each its own")
        for place, endpoint in enumerate(model.served_by):
            at = path if model.endpoints is None else f"{path}.endpoints[{place}]"
            if endpoint.api_key_secret_ref and endpoint.api_key_env:
                raise RuntimeSetupError(f"{at}: set apiKeySecretRef or apiKeyEnv, not both")
            if endpoint.client_certificate_secret_name and not endpoint.url.startswith("https://"):
                raise RuntimeSetupError(f"{at}.clientCertificateSecretName: it is shown over TLS only: make url https")
            if not _has_host(endpoint.url):
                field = f"{at}.endpoint" if model.endpoints is None else f"{at}.url"
                raise RuntimeSetupError(f"{field}: {endpoint.url!r} is not a URL like https://host/v1")


def check_connections(connections: Connections) -> None:
    """Raises RuntimeSetupError naming the field and what to change."""
    if connections.per_host > connections.total:
        raise RuntimeSetupError("connections.perHost is above connections.total: lower the one or raise the other")
    if connections.warm > connections.per_host:
        raise RuntimeSetupError("connections.warm is above connections.perHost: lower the one or raise the other")
    if connections.proxy is not None and not _has_host(connections.proxy):
        raise RuntimeSetupError(f"connections.proxy: {connections.proxy!r} is not a URL like http://proxy:3128")
    own = connections.authorities
    if own is not None and (own.config_map_name is None) == (own.secret_name is None):
        raise RuntimeSetupError("connections.authorities: set configMapName or secretName, one of them")
    for field, text in (
        ("connectTimeout", connections.connect_timeout),
        ("firstTokenTimeout", connections.first_token_timeout),
        ("tokenTimeout", connections.token_timeout),
        ("timeout", connections.timeout),
        ("breaker.openFor", connections.breaker.open_for),
    ):
        if duration_s(text) <= 0:
            raise RuntimeSetupError(f"connections.{field} must be above 0; write it like 30s")


def check_embedder(embedder: SemanticEmbedder, models: Sequence[Model]) -> None:
    """Raises RuntimeSetupError naming the field and what to change."""
    if embedder.model not in {model.name for model in models if model.kind == "embeddings"}:
        raise RuntimeSetupError(
            "cache.semantic.embedder.model: no embeddings model of that name; use the name of one of models[]"
        )
    if not 0 < duration_s(embedder.timeout) <= LONGEST_LOOKUP_S:
        raise RuntimeSetupError(
            f"cache.semantic.embedder.timeout must be above 0 and at most {LONGEST_LOOKUP_S:g}s; write it like 500ms"
        )


def check_tracing(tracing: Tracing) -> None:
    """Raises RuntimeSetupError naming the field and what to change."""
    if tracing.endpoint is not None and not _has_host(tracing.endpoint):
        raise RuntimeSetupError(
            f"telemetry.tracing.endpoint: {tracing.endpoint!r} is not a URL like http://collector:4318"
        )


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
