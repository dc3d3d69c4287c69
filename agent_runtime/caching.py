"""Which caches does a pool want, and how are they put together?"""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runtime.cache.broadcast import Broadcast
from agent_runtime.cache.disk import DiskTier
from agent_runtime.cache.memory import MemoryTier
from agent_runtime.cache.policies import MODEL_OUTPUT, RESPONSE, TOOL_RESULT, Policy
from agent_runtime.cache.purges import Purges
from agent_runtime.cache.responses import TIERS, ResponseCache
from agent_runtime.cache.shared import SharedTier
from agent_runtime.errors import RuntimeSetupError
from agent_runtime.pipeline.paraphrases import Paraphrases
from agent_runtime.pod.memory import Shed
from agent_runtime.redis.link import RedisLink
from agent_runtime.semantic.matcher import WordMatcher
from agent_runtime.settings import Process
from agent_runtime.telemetry.instruments import Instruments
from agentpool_api.quantity import duration_s, size_bytes
from agentpool_api.runtime_settings import (
    EXACT_QUESTIONS,
    KindOfAnswers,
    RuntimeSettings,
    SemanticCache,
    SemanticEmbedder,
)
from agentpool_api.runtime_settings import ResponseCache as CacheSettings

if TYPE_CHECKING:
    from agent_runtime.semantic.learned import LearnedCache
    from agent_runtime.semantic.vectors import VectorSource

MakeEmbedder = Callable[[SemanticEmbedder, int, Callable[[], None]], "VectorSource"]
"""Of a model of the pool; with bytes of vectors to keep, and what to call when its vectors change."""

ENCODER_DIR = "/opt/agentpool/encoder"
"""Where the image keeps the encoder of the semantic cache."""


def make_cache(
    settings: RuntimeSettings,
    process: Process,
    link: RedisLink | None,
    unix_time: Callable[[], float],
    clock: Callable[[], float],
) -> ResponseCache | None:
    """The exact cache with the tiers that are wanted; None when it is switched off."""
    cache = settings.cache
    if not cache.enabled:
        return None
    keep_s = duration_s(cache.keep_stale)
    shared: SharedTier | None = None
    broadcast: Broadcast | None = None
    if link is not None and cache.shared:
        shared = SharedTier(link, process.namespace, process.pool, keep_s)
        broadcast = Broadcast(link, process.namespace, process.pool, shared.token, clock)
    memory = MemoryTier(cache.max_entries, size_bytes(cache.max_size), keep_s, adaptive=cache.adaptive_size)
    disk_bytes = size_bytes(cache.disk_size)
    disk = DiskTier(process.cache_dir, disk_bytes, keep_s, unix_time) if disk_bytes else None
    responses = ResponseCache(memory, shared, make_policies(cache), disk, broadcast)
    responses.addressed = cache.edge != "Off"
    if cache.deduplicate:  # its library is loaded only where it is wanted
        from agent_runtime.cache.duplicates import Duplicates

        responses.duplicates = Duplicates()
    return responses


def make_policies(cache: CacheSettings) -> dict[str, Policy]:
    """How long and where each kind of answers is kept."""

    def policy(wanted: KindOfAnswers) -> Policy:
        return Policy(duration_s(wanted.ttl), frozenset(tier.lower() for tier in wanted.tiers))

    return {
        RESPONSE: Policy(duration_s(cache.ttl), frozenset(TIERS)),
        MODEL_OUTPUT: policy(cache.model_outputs),
        TOOL_RESULT: policy(cache.tool_results),
    }


def longest_life_s(cache: CacheSettings) -> float:
    """After so long no stored answer is left."""
    return max(policy.ttl_s for policy in make_policies(cache).values()) + duration_s(cache.keep_stale)


def sheds(cache: ResponseCache | None, paraphrases: Paraphrases | None) -> list[Shed]:
    """What the caches can let go when memory is short, the cheapest to get again first."""
    answers = [Shed("l1", cache.memory.clear)] if cache is not None else []
    vectors = [Shed("embeddings", paraphrases.drop_vectors)] if paraphrases is not None else []
    alike = [Shed("duplicates", cache.duplicates.clear)] if cache is not None and cache.duplicates is not None else []
    return [*answers, *alike, *vectors]


async def clear_disk_with_purges(disk: DiskTier, purges: Purges) -> None:
    """Purges live in the process and in Redis; the disk may outlive both, so its answers go with each of them."""
    while True:
        await purges.news.wait()
        await asyncio.shield(_clear_purged(disk, purges))  # the drain closes the disk after it


async def close_disk(disk: DiskTier, purges: Purges) -> None:
    """Close the disk tier, without what the last purge was about."""
    if purges.news.is_set():
        await _clear_purged(disk, purges)
    await disk.aclose()


async def _clear_purged(disk: DiskTier, purges: Purges) -> None:
    answers = purges.take_news()
    await (disk.clear() if answers is None else disk.drop(answers))


def make_paraphrases(
    settings: RuntimeSettings,
    process: Process,
    cache: ResponseCache | None,
    instruments: Instruments,
    environ: Mapping[str, str],
    unix_time: Callable[[], float],
    make_embedder: MakeEmbedder,
) -> Paraphrases | None:
    """The semantic cache, if it is wanted. Raises RuntimeSetupError when its encoder is not there."""
    wanted = settings.cache.semantic
    if cache is None or not wanted.enabled:
        return None
    learned, embedder = None, None
    if wanted.match == "Learned":
        learned, embedder = _make_learned(wanted, process, environ, make_embedder)
    keywords = frozenset(word.lower() for word in wanted.keywords) if wanted.match == "DomainWeighted" else None
    return Paraphrases(
        cache,
        learned=learned,
        embedder=embedder,
        matcher=WordMatcher(keywords=keywords, max_entries=wanted.max_entries),
        precomputed=_make_precomputed(wanted, keywords),
        answers=[prepared.answer for prepared in wanted.answers],
        instruments=instruments,
        chance=random.random,  # noqa: TID251
        unix_time=unix_time,
        max_temperature=settings.cache.max_temperature_percent / 100,
    )


def _make_learned(
    wanted: SemanticCache, process: Process, environ: Mapping[str, str], make_embedder: MakeEmbedder
) -> tuple[LearnedCache, VectorSource]:
    """Raises RuntimeSetupError when the encoder, or what comparing vectors needs, is not there."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime 1.29 and later would report to its vendor
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # on matrices of 64 rows more threads only spin
    cache_bytes = size_bytes(wanted.vector_cache_size)
    try:  # numpy and onnxruntime are loaded only for those who want them
        from agent_runtime.semantic.learned import LearnedCache

        learned = LearnedCache(
            delta=wanted.max_wrong_per_mille / 1000,
            sample_share=wanted.sample_percent / 100,
            max_entries=wanted.max_entries,
        )
        if wanted.max_entries > EXACT_QUESTIONS:
            import usearch.index  # noqa: F401  (found missing now, not at the question after so many)
        if wanted.embedder is not None:
            return learned, make_embedder(wanted.embedder, cache_bytes, learned.begin_anew)
        from agent_runtime.semantic.embedder import Embedder, Encoder

        folder = Path(environ.get("AGENTPOOL_ENCODER_DIR", ENCODER_DIR))
        return learned, Embedder(Encoder(folder), cache_bytes=cache_bytes)
    except (ImportError, FileNotFoundError) as error:
        raise RuntimeSetupError(
            f"{process.field_prefix}cache.semantic.match: Learned needs the encoder, and {error}; name its folder in "
            "AGENTPOOL_ENCODER_DIR, name a model of the pool in cache.semantic.embedder, or set match to Fuzzy or "
            "DomainWeighted"
        ) from None


def _make_precomputed(wanted: SemanticCache, keywords: frozenset[str] | None) -> WordMatcher:
    """The questions whose answers the pool's owner wrote."""
    precomputed = WordMatcher(keywords=keywords, max_entries=max(len(wanted.answers), 1))
    for number, prepared in enumerate(wanted.answers):
        precomputed.add("", "", prepared.question, str(number), expires_s=math.inf)
    return precomputed
