"""Who may call, and with which credentials are the endpoints called?

Reads Secrets as files ``<secrets folder>/<secret>/<key>``, again every few seconds, so that a changed Secret works
without a restart. Values stay in here: problems name fields and files, never contents.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent_runtime.settings import Process
from agentpool_api.runtime_settings import RuntimeSettings
from agentpool_api.upstreams import Model, ModelEndpoint
from agentpool_api.wire import Problem

MAX_SECRET_BYTES = 64 * 1024
ANYBODY = "-"
"""Tenant of every caller where authentication is off."""


class Secrets:
    """The keys in force."""

    def __init__(self, settings: RuntimeSettings, process: Process, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._process = process
        self._environ = environ
        self._callers: tuple[bytes, ...] = ()
        self._endpoint_keys: tuple[str | None, ...] = ()
        self.problems: tuple[Problem, ...] = ()
        self.reload()

    @property
    def auth_enabled(self) -> bool:
        return self._settings.auth.enabled

    @property
    def auth_secret(self) -> str:
        """Name of the Secret whose values are the pool's keys."""
        return self._settings.auth.secret_name or f"{self._process.pool}-key"

    def tenant(self, authorization: bytes) -> str | None:
        """Who calls: a digest of the caller's key (16 hex digits), or None when the key is not valid.

        Every known key is compared, in constant time, whatever the outcome of the others.
        """
        if not self.auth_enabled:
            return ANYBODY
        scheme, _, token = authorization.partition(b" ")
        digest = hashlib.sha256(token.strip()).digest()
        found = False
        for known in self._callers:
            found |= hmac.compare_digest(known, digest)
        return digest[:8].hex() if found and scheme.lower() == b"bearer" else None

    def endpoint_key(self, number: int) -> str | None:
        """The credential for an endpoint, by its place among all endpoints of all models; None when it needs none or
        it is missing."""
        return self._endpoint_keys[number]

    def reload(self) -> None:
        """Read every Secret again."""
        problems: list[Problem] = []
        self._callers = self._read_callers(problems)
        self._endpoint_keys = tuple(
            self._read_endpoint_key(f"models[{index}]{place}", endpoint, problems)
            for index, model in enumerate(self._settings.models)
            for place, endpoint in _places(model)
        )
        self.problems = tuple(problems)

    def _read_callers(self, problems: list[Problem]) -> tuple[bytes, ...]:
        if not self.auth_enabled:
            return ()
        folder = self._process.secrets_dir / self.auth_secret
        values = [value for path in _files(folder) if (value := _value(path))]
        if self._process.api_key:
            values.append(self._process.api_key)
        if not values:
            what = f"no pool key: put a value into the Secret {self.auth_secret} (read from {folder})"
            extra = "" if self._process.in_cluster else ", set AGENTPOOL_API_KEY, or set auth.enabled to false"
            problems.append(self._missing("auth.secretName", what + extra))
        return tuple(hashlib.sha256(value.encode()).digest() for value in values)

    def _read_endpoint_key(self, field: str, endpoint: ModelEndpoint, problems: list[Problem]) -> str | None:
        if ref := endpoint.api_key_secret_ref:
            path = self._process.secrets_dir / ref.name / ref.key
            if value := _value(path):
                return value
            message = f"key {ref.key} of Secret {ref.name} is missing or empty: create it (read from {path})"
            problems.append(self._missing(f"{field}.apiKeySecretRef", message))
        elif name := endpoint.api_key_env:
            if value := self._environ.get(name, "").strip():
                return value
            problems.append(self._missing(f"{field}.apiKeyEnv", f"the environment has no variable {name}: set it"))
        return None

    def _missing(self, field: str, message: str) -> Problem:
        return Problem(reason="SecretMissing", field=self._process.field_prefix + field, message=message)


def _places(model: Model) -> Iterator[tuple[str, ModelEndpoint]]:
    """A model's endpoints, each with what its settings' path has after the model's."""
    for place, endpoint in enumerate(model.served_by):
        yield "" if model.endpoints is None else f".endpoints[{place}]", endpoint


def _files(folder: Path) -> list[Path]:
    """Keys of a mounted Secret: its visible files. Kubernetes' own links begin with two dots."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _value(path: Path) -> str | None:
    """A secret's value without the newline an editor leaves; None when there is none that fits an HTTP header."""
    try:
        if path.stat().st_size > MAX_SECRET_BYTES:
            return None
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if text and text.isprintable() and text.isascii() else None
