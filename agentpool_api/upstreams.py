"""Which models may be called, where are they served, and how are those places reached?"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from agentpool_api.money import Usd
from agentpool_api.quantity import Duration
from agentpool_api.schema import ApiModel

DnsName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=253)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+(/[^\s]*)?$", max_length=2048)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Host = Annotated[str, StringConstraints(pattern=r"^[^\s,]+$", max_length=253)]
EndpointName = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
FileName = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]


class SecretKey(ApiModel):
    """One key of a Secret in the pool's namespace."""

    name: DnsName
    """Name of the Secret."""
    key: FileName = "api-key"
    """Key inside the Secret."""


class ModelPrice(ApiModel):
    """Price of a model in US dollars per million tokens; replaces the price catalogue's."""

    input_per_million: Usd
    """Price of input tokens."""
    output_per_million: Usd = "0"
    """Price of output tokens."""
    cached_input_per_million: Usd | None = None
    """Price of input tokens the endpoint served from its own prompt cache; the input price when absent."""


class ModelProfile(ApiModel):
    """What a model is worth, for choosing the right one. Take the figures from your own tests or the vendor's."""

    accuracy_percent: Annotated[int, Field(ge=0, le=100)]
    """Share of your tasks it solves right."""
    quality_percent: Annotated[int, Field(ge=0, le=100)]
    """How good its answers are otherwise; 100 for the best you know."""
    response_time: Duration
    """Usual time to a whole answer, such as `1500ms` or `2s`."""
    context_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Most tokens of prompt and answer together; not checked when absent."""
    tools: bool = True
    """It can call tools."""
    vision: bool = False
    """It can read images."""
    audio: bool = False
    """It can take sound."""


class ModelEndpoint(ApiModel):
    """One of several places that serve a model."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "!(has(self.apiKeySecretRef) && has(self.apiKeyEnv))",
            "give the endpoint's key once: set apiKeySecretRef or apiKeyEnv, not both",
        ),
        (
            "!has(self.clientCertificateSecretName) || self.url.startsWith('https://')",
            "a client certificate is shown over TLS only: make url https, or leave clientCertificateSecretName out",
        ),
    )

    name: EndpointName | None = None
    """Name that answers and traces tell it by; its place in the list, from 0, when absent."""
    url: Url
    """Base URL of an OpenAI-compatible API, up to and with ``/v1``."""
    upstream_model: ModelName | None = None
    """Name this endpoint knows the model by; the model's `upstreamModel` when absent."""
    api_key_secret_ref: SecretKey | None = None
    """The endpoint's key, from a Secret of the pool's namespace."""
    api_key_env: EnvName | None = None
    """The endpoint's key, from an environment variable of the runtime."""
    tls_server_name: DnsName | None = None
    """Name its certificate must show (and SNI asks for); the URL's host when absent."""
    client_certificate_secret_name: DnsName | None = None
    """Secret of type `kubernetes.io/tls` in the pool's namespace (`tls.crt`, `tls.key`) that the endpoint is shown."""
    price: ModelPrice | None = None
    """What this endpoint charges; the model's price when absent."""
    priority: Annotated[int, Field(ge=0, le=100)] = 0
    """Lower goes first; a higher one is called while none of the lower can be."""
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    """Share of the calls among endpoints of the same priority."""


class BatchEndpoint(ApiModel):
    """The model's endpoints answer `POST /v1/batch`, many requests in one call."""

    discount_percent: Annotated[int, Field(ge=0, le=100)]
    """What is taken off the model's price for requests in a batch, by your agreement with the vendor; 25, say."""


class Model(ApiModel):
    """A model the pool's agents may call and the endpoints that serve it."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "!(has(self.apiKeySecretRef) && has(self.apiKeyEnv))",
            "give the endpoint's key once: set apiKeySecretRef or apiKeyEnv, not both",
        ),
        (
            "has(self.endpoint) != has(self.endpoints)",
            "say once where the model is served: set endpoint, or endpoints for several",
        ),
        (
            "!has(self.endpoints) || !(has(self.apiKeySecretRef) || has(self.apiKeyEnv))",
            "with endpoints each one names its own key: move apiKeySecretRef or apiKeyEnv there",
        ),
        (
            "!has(self.batch) || self.kind == 'chat'",
            "only chat models have batches: leave batch out, or set kind to chat",
        ),
        (
            "!has(self.endpoints) || self.endpoints.all(one, !has(one.name) || "
            "self.endpoints.exists_one(other, has(other.name) && other.name == one.name))",
            "two endpoints have the same name: give each its own",
        ),
    )

    name: ModelName
    """Name the clients ask for."""
    endpoint: Url | None = None
    """Base URL of an OpenAI-compatible API, up to and with ``/v1``."""
    endpoints: Annotated[list[ModelEndpoint], Field(min_length=1, max_length=16)] | None = None
    """Several places that serve the model, in place of `endpoint`: calls are shared among those of the lowest priority,
    and go to another one when one fails before the first token."""
    upstream_model: ModelName | None = None
    """Name the endpoints know the model by; `name` when absent."""
    kind: Literal["chat", "embeddings"] = "chat"
    """What the model serves."""
    api_key_secret_ref: SecretKey | None = None
    """The endpoint's key, from a Secret of the pool's namespace."""
    api_key_env: EnvName | None = None
    """The endpoint's key, from an environment variable of the runtime."""
    price: ModelPrice | None = None
    """Price of the model; the shipped catalogue (genai-prices) when absent. Endpoints may have prices of their own."""
    batch: BatchEndpoint | None = None
    """Set when the model's endpoints have `POST /v1/batch`; `batching` says which requests go there."""
    profile: ModelProfile | None = None
    """What the model is worth; right-sizing chooses among the chat models that have a profile and a price."""

    @property
    def served_by(self) -> tuple[ModelEndpoint, ...]:
        """Its endpoints, in either form."""
        if self.endpoints is not None:
            return tuple(self.endpoints)
        if self.endpoint is None:
            return ()
        return (
            ModelEndpoint(url=self.endpoint, api_key_secret_ref=self.api_key_secret_ref, api_key_env=self.api_key_env),
        )


class Authorities(ApiModel):
    """Certificate authorities that are trusted beside the system's, as PEM from the pool's namespace."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "has(self.configMapName) != has(self.secretName)",
            "say once where the authorities are: set configMapName or secretName",
        ),
    )

    config_map_name: DnsName | None = None
    """ConfigMap that holds them."""
    secret_name: DnsName | None = None
    """Secret that holds them."""
    key: FileName = "ca.crt"
    """Key inside it."""


class CircuitBreaker(ApiModel):
    """When an endpoint is left alone for a while. Refusals of a request or a key never count as failures."""

    failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """Failures of an endpoint one after another after which it is not called."""
    open_for: Duration = "10s"
    """How long; then one call tries it. It doubles with every try that fails, up to eight times as long."""


class Connections(ApiModel):
    """The connections to the model endpoints, and how long and how often they are tried."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        ("self.perHost <= self.total", "perHost is above total: lower perHost or raise total"),
        ("self.warm <= self.perHost", "warm is above perHost: lower warm or raise perHost"),
    )

    total: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Most connections at once."""
    per_host: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Most connections to one host."""
    keep_alive: Duration = "30s"
    """How long an idle connection is kept."""
    warm: Annotated[int, Field(ge=0, le=1000)] = 1
    """Connections to each host made at the start, and kept while there were calls in the last ten minutes."""
    connect_timeout: Duration = "5s"
    """Longest wait for a connection to be made: name, TCP, proxy and TLS."""
    first_token_timeout: Duration = "120s"  # noqa: S105 - a time, no password
    """Streams: longest wait for an endpoint's first frame with data, for models that think before they speak."""
    token_timeout: Duration = "60s"  # noqa: S105 - a time, no password
    """Longest pause within an answer once it has begun."""
    timeout: Duration = "600s"
    """Longest time one call may take in all: every try, every wait, and the answer to its end."""
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    """Further tries after failures that may pass, with exponential backoff and jitter, honouring Retry-After. The first
    try at each other endpoint of the model does not count."""
    breaker: CircuitBreaker = CircuitBreaker()
    hedge_percent: Annotated[int, Field(ge=0, le=50)] = 0
    """Most calls, of a hundred, that may be sent a second time (to another endpoint where there is one) when their
    first token takes longer than that of 95 % of the calls before. Both cost money."""
    proxy: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@/]+/?$", max_length=2048)] | None = None
    """HTTP proxy to the endpoints, as `http://host:port`; the environment's HTTPS_PROXY and HTTP_PROXY when absent."""
    no_proxy: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=253)]], Field(max_length=100)
    ] = []
    """Hosts and domains reached without a proxy, beside the environment's NO_PROXY."""
    authorities: Authorities | None = None
    """Certificate authorities that are trusted beside the system's."""
