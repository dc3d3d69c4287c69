"""How does a chat request reach its model with fewer tokens and the same facts?

``compress`` runs the steps in order, from those that lose nothing to those that choose. One rule binds all of them but
the last: whatever is taken out may state no fact (protect.py) that does not also stand in what remains. Only
``truncate``, for prompts above the pool's limit, gives facts up, and says so. Pure: the tokenizer is an argument.

Left as they are: tools, tool calls and tool results, JSON, code but for its comments, quotations, numbers, everything
from the last user message on, and, unless the pool says otherwise, system prompts and requests with tools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agent_runtime.compression import steps
from agent_runtime.compression.phrases import Terseness
from agent_runtime.compression.prompt import Ledger, Text, fixed_texts, open_texts, texts_of, uses_tools, with_texts
from agent_runtime.compression.protect import Masked
from agent_runtime.compression.restated import drop_restated
from agent_runtime.compression.selection import drop_sentences
from agent_runtime.compression.sentences import information_words, split_sentences
from agent_runtime.compression.tokens import TokenCounter

MAX_CHARACTERS = 1_000_000
"""A longer prompt is passed on as it is: the work is linear, but it is done while other requests wait."""


class Step(StrEnum):
    WHITESPACE = "whitespace"
    CODE = "code"
    COURTESY = "courtesy"
    DUPLICATES = "duplicates"
    RESTATED = "restated"
    PHRASES = "phrases"
    WORDS = "words"
    SENTENCES = "sentences"
    MARKUP = "markup"
    FIELDS = "fields"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class Profile:
    """How far a prompt is cut."""

    name: str
    target: float
    """Share of the tokens to come down to; sentences are left out only while the prompt is above it."""
    terseness: Terseness
    coverage: float | None
    """Least share of a sentence's information words that must stand elsewhere for it to be left out; None: none is."""


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("Conservative", 0.85, Terseness.PADDING, None),
        Profile("Balanced", 0.70, Terseness.GRAMMAR, 0.8),
        Profile("Aggressive", 0.55, Terseness.PRONOUNS, 0.6),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a pool lets be compressed."""

    profile: Profile
    max_tokens: int = 12_000
    """Above it the middle of the conversation is cut out; 0: never."""
    head_share: float = 0.6
    """Share of the kept tokens that comes from the beginning when the middle is cut out."""
    system_prompt: bool = False
    with_tools: bool = False


@dataclass(frozen=True, slots=True)
class Compressed:
    """A request's messages after compression, and what it took out."""

    messages: Sequence[Any]
    tokens_before: int
    tokens_after: int
    removed: Mapping[Step, int] = field(default_factory=dict)
    """Tokens each step took out."""
    skipped: str = ""
    """Why nothing was done; empty when the steps ran."""

    @property
    def tokens_saved(self) -> int:
        return self.tokens_before - self.tokens_after

    @property
    def lost_facts(self) -> bool:
        return Step.TRUNCATE in self.removed


def compress(body: Mapping[str, Any], policy: Policy, count: TokenCounter) -> Compressed:
    """The messages of a chat request, compressed as the policy allows; the body is not modified."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return Compressed([], 0, 0, skipped="no messages")
    everything = [text for message in messages for _, text in texts_of(message)]
    if sum(map(len, everything)) > MAX_CHARACTERS:
        return Compressed(messages, 0, 0, skipped="too long")
    before = sum(map(count, everything))
    if uses_tools(body) and not policy.with_tools:
        return Compressed(messages, before, before, skipped="tools")
    texts = open_texts(messages, system_prompt=policy.system_prompt)
    fixed = list(fixed_texts(messages, texts))
    removed = _run(texts, fixed, policy, count, before, _question(messages))
    return Compressed(with_texts(messages, texts), before, before - sum(removed.values()), removed)


def _run(
    texts: list[Text], fixed: list[str], policy: Policy, count: TokenCounter, before: int, query: frozenset[str]
) -> dict[Step, int]:
    """Rewrite the texts step by step; the tokens that each step took out."""
    profile, ledger = policy.profile, _ledger(texts, fixed)
    fixed_tokens = sum(map(count, fixed))
    tokens = before
    removed: dict[Step, int] = {}

    def account(step: Step) -> None:
        nonlocal tokens
        after = fixed_tokens + sum(count(text.final()) for text in texts)
        if after != tokens:
            removed[step] = tokens - after
        tokens = after

    english = steps.english_texts(texts)
    steps.tidy_whitespace(texts)
    account(Step.WHITESPACE)
    steps.shorten_code(texts, ledger)
    account(Step.CODE)
    steps.drop_courtesy(texts, ledger)
    account(Step.COURTESY)
    steps.drop_duplicates(texts, fixed, ledger)
    account(Step.DUPLICATES)
    if profile.coverage is not None:
        drop_restated(texts, ledger)
        account(Step.RESTATED)
    steps.shorten_wording(english, ledger)
    account(Step.PHRASES)
    steps.drop_words(english, profile.terseness)
    account(Step.WORDS)
    excess = tokens - int(profile.target * before)
    if profile.coverage is not None and excess > 0:
        spoken = [text for text in texts if not text.system]
        drop_sentences(spoken, fixed, query=query, coverage=profile.coverage, excess=excess, count=count)
        account(Step.SENTENCES)
    if profile.terseness >= Terseness.GRAMMAR:
        steps.drop_list_marks(texts)
        account(Step.MARKUP)
    if policy.max_tokens and tokens > policy.max_tokens:
        system_tokens = sum(count(text.final()) for text in texts if text.system)
        room = policy.max_tokens - fixed_tokens - system_tokens
        steps.cut_middle(texts, room=room, head_share=policy.head_share, count=count)
        account(Step.TRUNCATE)
    elif profile.terseness >= Terseness.GRAMMAR:  # a cut may part a record from the one that names its fields
        steps.drop_field_names(texts)
        account(Step.FIELDS)
    return removed


def _ledger(texts: Sequence[Text], fixed: Sequence[str]) -> Ledger:
    ledger = Ledger()
    for text in texts:
        for sentence in split_sentences(text.prose):
            ledger.record(sentence.text, text.masked)
    for prose in fixed:
        ledger.record(prose, Masked(prose, ()))
    return ledger


def _question(messages: Sequence[Any]) -> frozenset[str]:
    """Information words of the last user message."""
    asked = [message for message in messages if isinstance(message, dict) and message.get("role") == "user"]
    return information_words(" ".join(text for _, text in texts_of(asked[-1]))) if asked else frozenset()
