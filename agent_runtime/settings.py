"""With which settings does this process run?

The configuration file (the ``runtime`` section of a pool) and the environment of the pod, checked before anything
starts. Reads no clock and opens no connection.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from agent_runtime.connection_rules import check_connections, check_embedder, check_models, check_tracing
from agent_runtime.errors import RuntimeSetupError
from agent_runtime.redis.wire import Address, parse_url
from agentpool_api.quantity import duration_s, size_bytes
from agentpool_api.runtime_settings import CA_DIR, CACHE_DIR, SECRETS_DIR, RuntimeSettings

STANDALONE_POOL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What the environment says about this process."""

    pod: str
    uid: str
    namespace: str
    pool: str
    capacity_type: str
    concurrency: int
    """Requests worked on at once."""
    redis: Address | None
    """None: cache and accounting stay in the process."""
    drain_timeout_s: float
    """Longest time from SIGTERM to exit."""
    secrets_dir: Path
    ca_dir: Path
    """Where the bundle of ``connections.authorities`` lies."""
    cache_dir: Path
    """Where the disk tier of the cache lives."""
    host: str
    port: int
    log_format: str
    in_cluster: bool
    """False on a laptop: then a missing secret stops the start instead of being reported."""
    api_key: str | None
    """A pool key from the environment, beside those of the Secret."""

    @property
    def field_prefix(self) -> str:
        """What stands before a setting's path in messages: its place in the AgentPool, or nothing."""
        return "spec.runtime." if self.in_cluster else ""


def load_process(environ: Mapping[str, str]) -> Process:
    """Settings from the environment. Raises RuntimeSetupError naming the variable."""
    in_cluster = "POD_NAME" in environ
    log_format = environ.get("AGENTPOOL_LOG_FORMAT", "json" if in_cluster else "text")
    if log_format not in ("json", "text"):
        raise RuntimeSetupError(f"AGENTPOOL_LOG_FORMAT is {log_format!r}; set it to json or text")
    pod = environ.get("POD_NAME", "local")
    return Process(
        pod=pod,
        uid=environ.get("POD_UID", pod),
        namespace=environ.get("POD_NAMESPACE", "default"),
        pool=environ.get("AGENTPOOL_POOL", STANDALONE_POOL),
        capacity_type=environ.get("AGENTPOOL_CAPACITY_TYPE", "on-demand"),
        concurrency=int(_number(environ, "AGENTPOOL_CONCURRENCY", 4, lowest=1, highest=100_000, whole=True)),
        redis=_redis(environ.get("AGENTPOOL_REDIS_URL")),
        drain_timeout_s=_number(environ, "AGENTPOOL_DRAIN_TIMEOUT_S", 30, lowest=1, highest=86_400),
        secrets_dir=Path(environ.get("AGENTPOOL_SECRETS_DIR", SECRETS_DIR)),
        ca_dir=Path(environ.get("AGENTPOOL_CA_DIR", CA_DIR)),
        cache_dir=Path(environ.get("AGENTPOOL_CACHE_DIR", CACHE_DIR)),
        host=environ.get("AGENTPOOL_HOST", "0.0.0.0" if in_cluster else "127.0.0.1"),
        port=int(_number(environ, "AGENTPOOL_PORT", 8080, lowest=0, highest=65_535, whole=True)),
        log_format=log_format,
        in_cluster=in_cluster,
        api_key=environ.get("AGENTPOOL_API_KEY") or None,
    )


def _redis(url: str | None) -> Address | None:
    """Never quotes the URL: it may hold a password."""
    if not url:
        return None
    try:
        return parse_url(url)
    except ValueError as error:
        raise RuntimeSetupError(f"AGENTPOOL_REDIS_URL: {error}") from None


def load_settings(path: str | os.PathLike[str], *, refuse_unknown: bool) -> RuntimeSettings:
    """The configuration file, YAML or JSON. Raises RuntimeSetupError naming the file or the field.

    A field nobody knows is most often a slip of the pen: it is refused where a person wrote the file, and ignored in
    a pod, whose file the operator wrote and may be of a newer release.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RuntimeSetupError(f"cannot read the configuration {path}: {reason}; name a file with --config") from None
    return parse_settings(_parse(text, str(path)), refuse_unknown=refuse_unknown)


def parse_settings(raw: object, *, refuse_unknown: bool) -> RuntimeSettings:
    """Checked settings from a parsed file. Raises RuntimeSetupError naming the field."""
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise RuntimeSetupError("the configuration must be a mapping with fields such as models, auth and cache")
    try:
        settings = RuntimeSettings.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise RuntimeSetupError(f"{_path(first['loc'])}: {_lower(first['msg'])}") from None
    if refuse_unknown and (unknown := _unknown_field(raw, settings)):
        raise RuntimeSetupError(unknown)
    _check_rules(settings)
    return settings


def _parse(text: str, name: str) -> object:
    try:
        return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise RuntimeSetupError(f"{name} line {error.lineno}: not JSON: {error.msg}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise RuntimeSetupError(f"{name}{where}: not YAML: {problem}") from None
    except RecursionError:
        raise RuntimeSetupError(f"{name}: nested too deeply") from None


def _check_rules(settings: RuntimeSettings) -> None:
    """The rules across fields that the API server checks as CEL, and the ranges of durations and sizes."""
    check_models(settings.models)
    check_connections(settings.connections)
    check_tracing(settings.telemetry.tracing)
    semantic = settings.cache.semantic
    if semantic.enabled and not settings.cache.enabled:
        raise RuntimeSetupError("cache.semantic.enabled needs cache.enabled: switch both on, or the semantic cache off")
    if semantic.match == "DomainWeighted" and not semantic.keywords:
        raise RuntimeSetupError("cache.semantic.keywords is empty: DomainWeighted needs the words of your domain")
    if semantic.embedder is not None:
        check_embedder(semantic.embedder, settings.models)
    if settings.right_sizing.mode != "Off" and not any(model.profile for model in settings.models):
        raise RuntimeSetupError(
            "rightSizing has no model to choose: give models[] a profile, or set rightSizing.mode to Off"
        )
    response_time = settings.response_time
    if response_time.fallback_model not in (None, *(model.name for model in settings.models if model.kind == "chat")):
        raise RuntimeSetupError(
            "responseTime.fallbackModel: no chat model of that name; use the name of one of models[]"
        )
    if duration_s(response_time.min_target) > duration_s(response_time.max_target):
        raise RuntimeSetupError("responseTime.minTarget is above maxTarget: lower the one or raise the other")
    for field, text in (
        ("responseTime.window", response_time.window),
        ("batching.window", settings.batching.window),
        ("responseTime.minTarget", response_time.min_target),
        ("responseTime.target", response_time.target or "1s"),
        ("responseTime.deadline", response_time.deadline or "1s"),
        ("limits.queueTimeout", settings.limits.queue_timeout),
        ("cache.ttl", settings.cache.ttl),
        ("cache.modelOutputs.ttl", settings.cache.model_outputs.ttl),
        ("cache.toolResults.ttl", settings.cache.tool_results.ttl),
    ):
        if duration_s(text) <= 0:
            raise RuntimeSetupError(f"{field} must be above 0; write it like 30s")
    if size_bytes(settings.limits.max_body_size) <= 0:
        raise RuntimeSetupError("limits.maxBodySize must be above 0; write it like 10Mi")


def _unknown_field(raw: object, model: BaseModel, path: str = "") -> str | None:
    """A sentence about the first field of ``raw`` that the model does not know; None when all are known."""
    if not isinstance(raw, dict):
        return None
    known: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        known[field.alias or name] = known[name] = getattr(model, name)
    for key, value in raw.items():
        if key not in known:
            names = ", ".join(field.alias or name for name, field in type(model).model_fields.items())
            return f"{path}{key}: no such field; the fields here are {names}"
        children = known[key] if isinstance(known[key], list) else [known[key]]
        values = value if isinstance(value, list) else [value]
        for index, (child, part) in enumerate(zip(children, values, strict=False)):
            step = f"{path}{key}[{index}]." if isinstance(value, list) else f"{path}{key}."
            if isinstance(child, BaseModel) and (found := _unknown_field(part, child, step)):
                return found
    return None


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "configuration"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _number(
    environ: Mapping[str, str], name: str, default: float, *, lowest: float, highest: float, whole: bool = False
) -> float:
    text = environ.get(name)
    if text is None or text == "":
        return default
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise RuntimeSetupError(f"{name} is {text!r}; set it to {kind}") from None
    if not lowest <= value <= highest:
        raise RuntimeSetupError(f"{name} is {text}; set it between {lowest:g} and {highest:g}")
    return value
