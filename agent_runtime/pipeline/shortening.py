"""Is a request's prompt compressed on its way to the model, and what does its caller hear of it?

Joins the settings, the pure steps of ``compression`` and the metrics. The work is done in a thread: a prompt of 12,000
tokens takes a tenth of a second, which the other requests of the process should not wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_runtime.compression.compress import PROFILES, Compressed, Policy, compress
from agent_runtime.compression.tokens import TokenCounter, token_counter
from agent_runtime.telemetry.instruments import Instruments
from agentpool_api.money import usd_exact
from agentpool_api.runtime_settings import Compression

CostOfInput = Callable[[str, int], int | None]
"""Nano-USD of so many input tokens of a model; None when nobody knows its price."""


@dataclass(frozen=True, slots=True)
class Shortened:
    """A compressed prompt."""

    messages: Sequence[Any] | None
    """What the model gets; None: what the caller sent."""
    told: str
    """Value of the header ``x-agentpool-compression``: a dictionary by RFC 8941."""


class Shortening:
    """Compresses the prompts of one pool."""

    def __init__(
        self, policy: Policy, count: TokenCounter, cost_of_input: CostOfInput, instruments: Instruments
    ) -> None:
        self._policy = policy
        self._count = count
        self._cost_of_input = cost_of_input
        self._instruments = instruments

    async def shorten(self, model: str, fields: Mapping[str, Any]) -> Shortened:
        """The request's messages, compressed as the pool allows."""
        result = await asyncio.to_thread(self._compress, fields)
        saved_nanousd = self._saved_nanousd(model, result)
        self._instruments.compressed(model, result.tokens_before, result.tokens_after, saved_nanousd or 0)
        return Shortened(result.messages if result.removed else None, self._told(result, saved_nanousd))

    def _compress(self, fields: Mapping[str, Any]) -> Compressed:
        return compress(fields, self._policy, self._count)

    def _saved_nanousd(self, model: str, result: Compressed) -> int | None:
        """Cost of the tokens left out; None without a price. Tiers of context length make it a difference."""
        before = self._cost_of_input(model, result.tokens_before)
        after = self._cost_of_input(model, result.tokens_after)
        return None if before is None or after is None else before - after

    def _told(self, result: Compressed, saved_nanousd: int | None) -> str:
        if result.skipped:
            return f"profile={self._policy.profile.name}, skipped={result.skipped.replace(' ', '-')}"
        words = [f"profile={self._policy.profile.name}, before={result.tokens_before}, after={result.tokens_after}"]
        words += [f"{step}={tokens}" for step, tokens in result.removed.items()]
        if saved_nanousd is not None:
            words.append(f"saved-usd={usd_exact(saved_nanousd)}")
        if result.lost_facts:
            words.append("facts-lost")
        return ", ".join(words)


def make_shortening(settings: Compression, cost_of_input: CostOfInput, instruments: Instruments) -> Shortening | None:
    """The compressor of a pool, its vocabulary loaded; None when its profile is None."""
    profile = PROFILES.get(settings.profile)
    if profile is None:
        return None
    policy = Policy(
        profile=profile,
        max_tokens=settings.max_tokens,
        head_share=settings.head_percent / 100,
        system_prompt=settings.system_prompt,
        with_tools=settings.with_tools,
    )
    return Shortening(policy, token_counter(), cost_of_input, instruments)
