"""How is an agent runtime configured?

One model for two places: the ``runtime`` section of an AgentPool and the file of ``python -m agent_runtime --config``.
Secrets are named, never held: a runtime reads them as files ``<secrets folder>/<secret name>/<key>``, where the
operator mounts them (``SECRETS_DIR``), or from the environment.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from agentpool_api.quantity import Duration, Size
from agentpool_api.schema import ApiModel
from agentpool_api.serving import Batching, ResponseTime
from agentpool_api.upstreams import Connections, DnsName, Model, ModelName

SECRETS_DIR = "/var/run/agentpool/secrets"
CACHE_DIR = "/var/cache/agentpool"
CA_DIR = "/var/run/agentpool/ca"
CONFIG_PATH = "/etc/agentpool/runtime.json"


class Authentication(ApiModel):
    """Who may call the runtime."""

    enabled: bool = True
    """Refuse requests that hold no valid pool key."""
    secret_name: DnsName | None = None
    """Secret whose every value is a valid key. The operator makes `<pool>-key` with one key when absent."""


class PrecomputedAnswer(ApiModel):
    """An answer that is given without asking a model."""

    question: Annotated[str, StringConstraints(min_length=1, max_length=800)]
    """The question, in the words most often used."""
    answer: Annotated[str, StringConstraints(min_length=1, max_length=32768)]
    """The text that is answered."""


EXACT_QUESTIONS = 10_000
"""Up to so many questions are searched one by one, with numpy alone; above, a graph's library is needed."""


class SemanticEmbedder(ApiModel):
    """An embeddings model of the pool, called and billed like any other. It gets the questions and their answers."""

    model: ModelName
    """Name of one of `models[]` whose kind is embeddings. All its endpoints must serve the same model."""
    timeout: Duration = "500ms"
    """Longest wait for a question's vector, 10s at most; then the question is asked as if it were new."""


class SemanticCache(ApiModel):
    """Serve a stored answer to the same question in other words. Only single questions without tools count."""

    enabled: bool = False
    """Serve answers to questions in other words; the response cache must be enabled too."""
    match: Literal["Learned", "Fuzzy", "DomainWeighted"] = "Learned"
    """Learned compares meaning and learns, answer by answer, how much likeness is enough. Fuzzy needs more than 70 % of
    the words to be the same; DomainWeighted a score above 0.65, 60 % of it keywords and 40 % words."""
    embedder: SemanticEmbedder | None = None
    """Learned: the model that turns texts into vectors; the encoder in the runtime's image when absent."""
    max_wrong_per_mille: Annotated[int, Field(ge=1, le=100)] = 10
    """Learned: most wrong answers in a thousand served."""
    sample_percent: Annotated[int, Field(ge=1, le=50)] = 3
    """Learned: share of hits that ask the model all the same, to learn from its answer."""
    max_entries: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Most questions held in the process; above 10000 the image with the encoder is needed in any case."""
    vector_cache_size: Size = "16Mi"
    """Learned: most bytes of embeddings kept for texts seen again."""
    keywords: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=100)]], Field(max_length=1000)
    ] = []
    """DomainWeighted: words that carry the meaning in your domain."""
    answers: Annotated[list[PrecomputedAnswer], Field(max_length=1000)] = []
    """Answers given at once to questions that match by their words, whatever the model."""


class KindOfAnswers(ApiModel):
    """How long, and where, answers of one kind are kept."""

    ttl: Duration
    """How long an answer may be served again."""
    tiers: Annotated[list[Literal["L1", "L2", "L3"]], Field(min_length=1, max_length=3)]
    """Where: the process, Redis, the agent's disk. Where none of them is there, the process."""


class ResponseCache(ApiModel):
    """The exact-match cache of answers: in the process (L1) and in Redis (L2)."""

    enabled: bool = True
    """Serve an identical request from the cache."""
    ttl: Duration = "1h"
    """How long an answer may be served again."""
    max_entries: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    """Most entries in the process."""
    max_size: Size = "100Mi"
    """Most bytes in the process; what comes first counts."""
    max_temperature_percent: Annotated[int, Field(ge=0, le=200)] = 0
    """Highest temperature, in hundredths, at which a request may get a stored answer, in other words too; a higher one
    asks for chance and gets a new answer."""
    adaptive_size: bool = False
    """Let both bounds grow while doubling them would bring one hit more in a hundred requests, up to a quarter of the
    memory limit, and shrink while half of them is as good or memory is short. They are then where it begins."""
    shared: bool = True
    """Share answers among the pool's agents through Redis."""
    disk_size: Size = "0"
    """Most bytes of answers on the agent's disk (L3), where they outlive a restart of its container; 0 for none."""
    keep_stale: Duration = "1h"
    """How long after its `ttl` an answer is kept for callers who accept a stale one (`stale-while-revalidate`,
    `stale-if-error`)."""
    model_outputs: KindOfAnswers = KindOfAnswers(ttl="2h", tiers=["L1", "L2", "L3"])
    """Embeddings."""
    tool_results: KindOfAnswers = KindOfAnswers(ttl="10m", tiers=["L1", "L2"])
    """Answers to requests whose last message is a tool's result."""
    refusals: Duration = "30s"
    """How long a request that an endpoint refused for good (400, 404, 410, 413, 414, 415, 422) is refused again without
    asking; 0s: never."""
    deduplicate: bool = False
    """Store answers in Redis and on disk as what differs from one that is nearly the same (90 % of three words in a row
    in common, embeddings 95 %). Everybody still gets their own answer; storing one takes some more CPU time."""
    edge: Literal["Off", "Private", "Public"] = "Private"
    """Who else may keep stored answers, read by GET at the address in `Content-Location`: nobody; the caller's own HTTP
    cache; or, with Public, also a CDN, which then gives an answer to anyone who knows its address."""
    edge_max_age: Duration = "5m"
    """Longest time such caches may keep an answer without asking; no purge reaches them."""
    semantic: SemanticCache = SemanticCache()


class Compression(ApiModel):
    """Shorter prompts. Tools, tool results, JSON, code, quotations, numbers and the last user message never change."""

    profile: Literal["None", "Conservative", "Balanced", "Aggressive"] = "None"
    """How far prompts are cut: None leaves them alone; Conservative drops duplicates, courtesy and articles; Balanced
    also little words, list marks, repeated names of fields and what the rest of the prompt says too; Aggressive also
    pronouns."""
    max_tokens: Annotated[int, Field(ge=0, le=100_000_000)] = 12_000
    """Above so many tokens the middle of the conversation is cut out, facts included; 0 never cuts."""
    head_percent: Annotated[int, Field(ge=0, le=100)] = 60
    """Share of the kept tokens that comes from the beginning when the middle is cut out."""
    system_prompt: bool = False
    """Word system prompts shorter too. No sentence of them is left out."""
    with_tools: bool = False
    """Compress requests that offer or call tools too."""


class RightSizingWeights(ApiModel):
    """What counts how much in choosing a model."""

    cost: Annotated[int, Field(ge=0, le=1000)] = 30
    """Weight of a low expected cost."""
    quality: Annotated[int, Field(ge=0, le=1000)] = 50
    """Weight of the profile's quality."""
    speed: Annotated[int, Field(ge=0, le=1000)] = 20
    """Weight of a short response time."""


class RightSizing(ApiModel):
    """Let the runtime choose the model that fits a request."""

    mode: Literal["Off", "OnRequest", "Always"] = "Off"
    """OnRequest chooses for requests that ask for the model `auto`; Always may also answer a request for a model with a
    cheaper one that fits."""
    min_quality_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Least quality of a chosen model, whatever a request asks for."""
    simple_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    """Below so many input tokens a simple request gets the cheapest model that fits."""
    simple_complexity_percent: Annotated[int, Field(ge=0, le=100)] = 30
    """Below this complexity a request is simple."""
    weights: RightSizingWeights = RightSizingWeights()


class Limits(ApiModel):
    """What one request may take."""

    max_body_size: Size = "10Mi"
    """Largest request body; a larger one is refused with 413."""
    max_queued: Annotated[int, Field(ge=0, le=1_000_000)] = 256
    """Requests that may wait for a free slot; one more is refused with 429 and Retry-After."""
    queue_timeout: Duration = "30s"
    """Longest wait for a free slot; then 503 and Retry-After."""
    max_memory: Size | None = None
    """Memory the runtime works within: from 80 % of it cached answers are let go, from 92 % requests are refused. The
    container's limit when absent, and never more than that."""


class Tracing(ApiModel):
    """Traces of requests, sent to an OpenTelemetry collector by OTLP over HTTP. Prompts and answers are not in them."""

    endpoint: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=2048)] | None = None
    """Base URL of the collector, such as `http://collector:4318`; without one nothing is traced."""
    sample_percent: Annotated[int, Field(ge=0, le=100)] = 10
    """Share of the requests that are traced. A request whose `traceparent` has decided that already keeps to it."""


class Telemetry(ApiModel):
    """What the runtime tells about its work beyond its metrics."""

    tracing: Tracing = Tracing()


class RuntimeSettings(ApiModel):
    """Settings of an agent runtime."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "self.models.all(m, self.models.exists_one(o, o.name == m.name))",
            "two models have the same name: give each model of the pool a name of its own",
        ),
        (
            "self.rightSizing.mode == 'Off' || self.models.exists(m, has(m.profile))",
            "right-sizing has no model to choose: give models a profile, or set rightSizing.mode to Off",
        ),
        (
            "!has(self.responseTime.fallbackModel)"
            " || self.models.exists(m, m.name == self.responseTime.fallbackModel && m.kind == 'chat')",
            "responseTime.fallbackModel names no chat model of the pool: use the name of one of models[]",
        ),
        (
            "!has(self.cache.semantic.embedder)"
            " || self.models.exists(m, m.name == self.cache.semantic.embedder.model && m.kind == 'embeddings')",
            "cache.semantic.embedder.model names no embeddings model of the pool: use the name of one of models[]",
        ),
    )

    models: Annotated[list[Model], Field(max_length=64)] = []
    """Models the agents may call. A request for another model is refused with 404."""
    auth: Authentication = Authentication()
    cache: ResponseCache = ResponseCache()
    compression: Compression = Compression()
    right_sizing: RightSizing = RightSizing()
    connections: Connections = Connections()
    response_time: ResponseTime = ResponseTime()
    batching: Batching = Batching()
    limits: Limits = Limits()
    telemetry: Telemetry = Telemetry()
