"""How is the operator configured? By its environment, checked once at start."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from agentpool_api.quantity import duration_s
from agentpool_operator.errors import SettingsError

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LEVELS = ("debug", "info", "warning", "error")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeImage:
    """The agent runtime every pod runs."""

    image: str
    semantic_image: str = ""
    """The same with the semantic cache's encoder; empty when the operator was given none."""
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAccess:
    """Where Redis is. ``url`` may hold a password: it is never logged."""

    url: str
    ca_pem: str = ""
    """Certificates that Redis's own is checked against; the system's when empty."""

    def __repr__(self) -> str:
        return f"RedisAccess({urlsplit(self.url).hostname})"

    @property
    def digest(self) -> str:
        """Eight hex digits that change when anything here does."""
        return hashlib.sha256(f"{self.url}\n{self.ca_pem}".encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one operator process. Times are seconds."""

    namespace: str
    """The operator's own namespace."""
    identity: str
    """Name of this instance in the Lease."""
    lease_name: str = "agentpool-operator"
    namespaces: tuple[str, ...] = ()
    """Namespaces that are served; empty: all."""
    runtime: RuntimeImage
    redis: RedisAccess
    """What the operator connects to."""
    agents_redis: RedisAccess
    """What the agents connect to."""
    http_port: int = 8080
    log_format: str = "json"
    log_level: str = "info"
    period_s: float = 2.0
    """How often Redis is read and every pool looked at."""
    workers: int = 8
    """Passes at once."""
    watch_silence_s: float = 70.0
    """A watch that showed nothing for so long is taken up anew. The API server says something every minute."""

    @property
    def lease_namespace(self) -> str:
        """Where the Lease lives: always inside what is watched, for the watch must see it come back."""
        if not self.namespaces or self.namespace in self.namespaces:
            return self.namespace
        return self.namespaces[0]


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment. Raises SettingsError with one line that names the variable."""
    env = _Environment(environment)
    password = environment.get("AGENTPOOL_REDIS_PASSWORD", "")
    ca_pem = env.file("AGENTPOOL_REDIS_CA_FILE")
    url = env.redis_url("AGENTPOOL_REDIS_URL", password)
    agents_url = env.redis_url("AGENTPOOL_RUNTIME_REDIS_URL", password, default=url)
    return Settings(
        namespace=env.name("AGENTPOOL_NAMESPACE", default=_own_namespace()),
        # A suffix for each process: two on one host, or one restarted, must not take each other for itself.
        identity=f"{environment.get('AGENTPOOL_POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}",
        lease_name=env.name("AGENTPOOL_LEASE_NAME", default="agentpool-operator"),
        namespaces=env.names("AGENTPOOL_NAMESPACES"),
        runtime=RuntimeImage(
            image=env.required("AGENTPOOL_RUNTIME_IMAGE", "the image of the agent runtime"),
            semantic_image=environment.get("AGENTPOOL_RUNTIME_SEMANTIC_IMAGE", "").strip(),
            pull_policy=env.choice("AGENTPOOL_RUNTIME_IMAGE_PULL_POLICY", _PULL_POLICIES, "IfNotPresent"),
            pull_secrets=env.names("AGENTPOOL_RUNTIME_IMAGE_PULL_SECRETS"),
        ),
        redis=RedisAccess(url=url, ca_pem=ca_pem),
        agents_redis=RedisAccess(url=agents_url, ca_pem=ca_pem),
        http_port=env.integer("AGENTPOOL_HTTP_PORT", 8080, 0, 65535),
        log_format=env.choice("AGENTPOOL_LOG_FORMAT", ("json", "text"), "json"),
        log_level=env.choice("AGENTPOOL_LOG_LEVEL", _LEVELS, "info"),
        period_s=env.seconds("AGENTPOOL_PERIOD", "2s", 0.2, 60.0),
        workers=env.integer("AGENTPOOL_WORKERS", 8, 1, 256),
        watch_silence_s=env.seconds("AGENTPOOL_WATCH_SILENCE", "70s", 1.0, 600.0),
    )


def _own_namespace() -> str:
    return NAMESPACE_FILE.read_text(encoding="utf-8").strip() if NAMESPACE_FILE.exists() else "default"


@dataclass(frozen=True, slots=True)
class _Environment:
    """Reads one variable at a time; every error names it."""

    values: Mapping[str, str]

    def required(self, name: str, meaning: str) -> str:
        value = self.values.get(name, "").strip()
        if not value:
            raise SettingsError(f"{name} is not set: give {meaning}")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.values.get(name) or default
        if value not in choices:
            raise SettingsError(f"{name} is {value!r}: use one of {', '.join(choices)}")
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        text = self.values.get(name) or str(default)
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise SettingsError(f"{name} is {text!r}: use a whole number from {low} to {high}")
        return int(text)

    def seconds(self, name: str, default: str, low: float, high: float) -> float:
        text = self.values.get(name) or default
        try:
            value = duration_s(text)
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from None
        if not low <= value <= high:
            raise SettingsError(f"{name} is {text}: use {low:g}s to {high:g}s")
        return value

    def name(self, name: str, *, default: str) -> str:
        value = self.values.get(name) or default
        if not _NAME.fullmatch(value):
            raise SettingsError(f"{name} is {value!r}: use lower-case letters, digits and hyphens, at most 63")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        found = [part.strip() for part in self.values.get(name, "").split(",") if part.strip()]
        for value in found:
            if not _NAME.fullmatch(value):
                raise SettingsError(f"{name} holds {value!r}: give names parted by commas, such as team-a,team-b")
        return tuple(dict.fromkeys(found))

    def redis_url(self, name: str, password: str, *, default: str = "") -> str:
        text = self.values.get(name, "").strip()
        if not text and default:
            return default
        if not text:
            raise SettingsError(f"{name} is not set: give a URL such as redis://redis:6379/0")
        parts = urlsplit(text)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise SettingsError(f"{name} is no Redis URL: write redis://host:6379/0, or rediss:// for TLS")
        if not password:
            return text
        host = parts.netloc.rpartition("@")[2]
        user = parts.username or ""
        return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))

    def file(self, name: str) -> str:
        path = self.values.get(name, "")
        if not path:
            return ""
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}: {path} cannot be read: {error}") from None
