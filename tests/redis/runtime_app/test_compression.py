"""Compressed prompts as the endpoint gets them and as the caller is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.redis.runtime_app.conftest import Runtime, Start, settings_for
from tests.redis.runtime_app.upstream import Upstream

TALK = [
    {"role": "system", "content": "You are a very helpful agent of the airline."},
    {"role": "user", "content": "Hello! I would really like to change the flight of reservation H9ZU1C, please."},
    {
        "role": "assistant",
        "content": 'Certainly! The flight costs $241. The data is {"a":  1}.\n\n\n\nIs that the one?',
    },
    {"role": "user", "content": "Could you please  change it, thank you?"},
]


async def run(start: Start, upstream: Upstream, **compression: Any) -> Runtime:
    return await start(settings_for(upstream.url, compression={"profile": "Balanced"} | compression))


async def ask(runtime: Runtime, messages: Any = TALK, **fields: Any) -> Any:
    async with runtime.chat(messages=messages, **fields) as response:
        assert response.status == 200, await response.text()
        await response.read()
        return response.headers


async def test_prompts_are_left_alone_unless_a_profile_is_set(runtime: Runtime, upstream: Upstream) -> None:
    headers = await ask(runtime)
    assert "x-agentpool-compression" not in headers
    assert upstream.calls[0].json["messages"] == TALK


@pytest.mark.parametrize("stream", [False, True])
async def test_the_endpoint_gets_fewer_tokens_and_the_caller_is_told(
    start: Start, upstream: Upstream, stream: bool
) -> None:
    runtime = await run(start, upstream)
    headers = await ask(runtime, stream=stream, temperature=0.5)
    sent = upstream.calls[0].json
    assert sent["messages"][0] == TALK[0]
    assert sent["messages"][1]["content"] == "I want change flight of reservation H9ZU1C."
    assert '$241. data {"a":  1}.' in sent["messages"][2]["content"]
    assert sent["messages"][3] == TALK[3]
    assert sent["temperature"] == 0.5
    told = dict(part.partition("=")[::2] for part in headers["x-agentpool-compression"].split(", "))
    before, after = int(told["before"]), int(told["after"])
    assert told["profile"] == "Balanced"
    assert 0 < after < before
    assert float(told["saved-usd"]) == pytest.approx((before - after) * 2e-6)
    assert await runtime.metric("agentpool_runtime_prompt_compression_tokens_total") == before + after
    saved = await runtime.metric("agentpool_runtime_prompt_compression_saved_usd_total")
    assert saved == pytest.approx((before - after) * 2e-6)


async def test_requests_with_tools_are_left_alone_and_it_is_said(start: Start, upstream: Upstream) -> None:
    runtime = await run(start, upstream)
    tools = [{"type": "function", "function": {"name": "f", "description": "The   description of the tool."}}]
    headers = await ask(runtime, tools=tools)
    assert headers["x-agentpool-compression"] == "profile=Balanced, skipped=tools"
    assert upstream.calls[0].json["messages"] == TALK
    runtime = await run(start, upstream, withTools=True)
    await ask(runtime, tools=tools, seed=2)
    assert upstream.calls[1].json["tools"] == tools
    assert upstream.calls[1].json["messages"][1]["content"] == "I want change flight of reservation H9ZU1C."


async def test_a_prompt_above_the_limit_says_that_facts_were_lost(start: Start, upstream: Upstream) -> None:
    runtime = await run(start, upstream, maxTokens=60)
    talk = [{"role": "user", "content": f"Message {at} names item{at} of the list."} for at in range(40)]
    headers = await ask(runtime, [*talk, TALK[-1]])
    assert headers["x-agentpool-compression"].endswith("facts-lost")
    assert "truncate=" in headers["x-agentpool-compression"]


async def test_a_cached_answer_needs_no_compression(start: Start, upstream: Upstream) -> None:
    runtime = await run(start, upstream)
    await ask(runtime)
    headers = await ask(runtime)
    assert headers["x-agentpool-cache"] == "l1"
    assert "x-agentpool-compression" not in headers
    assert len(upstream.calls) == 1


async def test_messages_of_any_shape_reach_the_endpoint_as_they_are(start: Start, upstream: Upstream) -> None:
    runtime = await run(start, upstream, withTools=True, systemPrompt=True)
    odd = [1, "x", {"role": 3}, {"role": "user"}, {"role": "user", "content": [1, {"type": "text", "text": None}]}]
    await ask(runtime, odd)
    assert json.loads(upstream.calls[0].body)["messages"] == odd
