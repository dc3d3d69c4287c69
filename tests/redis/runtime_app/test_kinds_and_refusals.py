"""Kinds of answers live in tiers of their own, and what an endpoint refused for good is not asked again at once."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent_runtime import parts
from tests.redis.runtime_app.conftest import BEARER, RedisServer, Runtime, Start, settings_for, until
from tests.redis.runtime_app.test_cache_and_coalescing import outcome
from tests.redis.runtime_app.upstream import Upstream, answer

NO = b'{"error":{"message":"no such thing"}}'


def refusing(upstream: Upstream, status: int, extra: str = ""):
    async def refuse(call) -> None:
        await answer(call, status, NO, extra=extra)

    good, upstream.script = upstream.script, refuse
    return good


def embed(runtime: Runtime, *, headers: dict[str, str] | None = None, **fields: object):
    body = {"model": "embed", "input": "hi"} | fields
    return runtime.session.post(f"{runtime.url}/embeddings", json=body, headers=BEARER | (headers or {}))


def after_tool(city: str = "Rome", call_id: str = "call_1", arguments: str = '{"city": "Rome", "days": 1}') -> list:
    call = {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return [
        {"role": "user", "content": f"weather in {city}?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "sunny"},
    ]


@pytest.mark.parametrize("status", [400, 404, 410, 413, 414, 415, 422])
async def test_a_request_that_was_refused_for_good_is_refused_again_without_asking(
    runtime: Runtime, upstream: Upstream, status: int
) -> None:
    good = refusing(upstream, status)
    assert await outcome(runtime.chat()) == (str(status), NO)
    upstream.script = good
    async with runtime.chat() as response:
        assert (response.status, await response.read()) == (status, NO)
        assert response.headers["x-agentpool-cache"] == "refused"
        assert int(response.headers["age"]) < 60
        assert response.headers["cache-status"] == "agentpool; hit; detail=refused"
    assert (await outcome(runtime.chat(stream=True)))[0] == "refused"
    assert (await outcome(runtime.chat("other")))[0] == "miss"
    assert (await outcome(runtime.chat(headers={"Cache-Control": "no-cache"})))[0] == "miss"
    assert await runtime.metric("agentpool_runtime_cache_requests_total") == 4
    assert (await outcome(runtime.chat()))[0] == "l1"


async def test_a_refusal_is_forgotten_after_its_time_and_by_a_purge(start: Start, upstream: Upstream) -> None:
    short = await start(settings_for(upstream.url, cache={"refusals": "200ms"}))
    purged = await start()
    good = refusing(upstream, 400)
    for runtime in (short, purged):
        await outcome(runtime.chat())
    upstream.script = good
    async with purged.session.post(f"{purged.url}/cache/purge", headers=BEARER) as response:
        assert response.status == 200
    assert (await outcome(purged.chat()))[0] == "miss"
    await asyncio.sleep(0.25)
    assert (await outcome(short.chat()))[0] == "miss"


async def test_what_a_refusal_says_about_later_is_taken_at_its_word(start: Start, upstream: Upstream) -> None:
    off = await start(settings_for(upstream.url, cache={"refusals": "0s"}))
    runtime = await start()
    for agent, extra in ((runtime, "Retry-After: 1\r\n"), (off, "")):
        good = refusing(upstream, 400, extra)
        await outcome(agent.chat())
        upstream.script = good
        assert (await outcome(agent.chat()))[0] == "miss"


async def test_a_refusal_is_known_to_its_own_key_only(start: Start, upstream: Upstream, tmp_path) -> None:
    runtime = await start()
    (tmp_path / "local-key" / "other").write_text("sk-other")
    runtime.app.secrets.reload()
    good = refusing(upstream, 400)
    await outcome(runtime.chat())
    upstream.script = good
    assert (await outcome(runtime.chat(headers={"Authorization": "Bearer sk-other"})))[0] == "miss"


async def test_embeddings_are_kept_in_every_tier_and_answers_after_tools_not_on_disk(
    start: Start, upstream: Upstream, redis_server: RedisServer, tmp_path
) -> None:
    settings = settings_for(upstream.url, cache={"diskSize": "1Mi"})
    runtime = await start(settings, redis_url=redis_server.url, AGENTPOOL_CACHE_DIR=str(tmp_path / "cache"))
    await outcome(embed(runtime))
    await outcome(runtime.chat(messages=after_tool()))
    await until(lambda: len(redis_server.command("KEYS", "*response*")) == 2)
    assert [(await outcome(embed(runtime)))[0] for _ in range(2)] == ["l1", "l1"]
    runtime.app.cache.memory.clear()
    assert [(await outcome(embed(runtime)))[0] for _ in range(2)] == ["l2", "l1"]
    assert [(await outcome(runtime.chat(messages=after_tool())))[0] for _ in range(2)] == ["l2", "l1"]
    lives_ms = sorted(redis_server.command("PTTL", key) for key in redis_server.command("KEYS", "*response*"))
    assert [round(life_ms / 60_000) for life_ms in lives_ms] == [70, 180]  # with the hour for stale ones
    await runtime.app.cache.disk.flush()
    redis_server.command("FLUSHALL")
    runtime.app.cache.memory.clear()
    assert (await outcome(embed(runtime)))[0] == "l3"
    assert (await outcome(runtime.chat(messages=after_tool())))[0] == "miss"


async def test_embeddings_kept_in_the_process_are_those_of_their_key_and_request_until_a_purge(
    start: Start, redis_server: RedisServer, tmp_path
) -> None:
    runtime = await start(redis_url=redis_server.url)
    (tmp_path / "local-key" / "other").write_text("sk-other")
    runtime.app.secrets.reload()
    first = await outcome(embed(runtime))
    assert await outcome(embed(runtime)) == ("l1", first[1])
    for other in ({"dimensions": 256}, {"encoding_format": "base64"}, {"input": ["hi"]}):
        assert (await outcome(embed(runtime, **other)))[0] == "miss"
    assert (await outcome(embed(runtime, headers={"Authorization": "Bearer sk-other"})))[0] == "miss"
    assert await runtime.metric("agentpool_runtime_cache_bytes") > len(first[1])
    async with runtime.session.post(f"{runtime.url}/cache/purge", headers=BEARER) as response:
        assert response.status == 200
    assert (await outcome(embed(runtime)))[0] == "miss"


async def test_without_redis_and_disk_every_kind_is_kept_in_the_process(runtime: Runtime) -> None:
    await outcome(embed(runtime))
    assert (await outcome(embed(runtime)))[0] == "l1"


async def test_an_answer_after_a_tool_is_found_by_what_was_called_not_how_it_was_written(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ahead_s = time.time, 0.0  # noqa: TID251
    monkeypatch.setattr(parts, "unix_time", lambda: real() + ahead_s)
    runtime = await start(settings_for(upstream.url, cache={"toolResults": {"ttl": "10m", "tiers": ["L1"]}}))
    await outcome(runtime.chat(messages=after_tool()))
    same = after_tool(call_id="call_x", arguments='{"days":1.0,"city":"Rome"}')
    assert (await outcome(runtime.chat(messages=same)))[0] == "l1"
    other = after_tool(arguments='{"city": "Rome", "days": 2}')
    assert (await outcome(runtime.chat(messages=other)))[0] == "miss"
    ahead_s = 601.0
    assert (await outcome(runtime.chat(messages=same)))[0] == "miss"


async def test_a_body_nested_too_deeply_is_refused(runtime: Runtime, upstream: Upstream) -> None:
    deep: list = []
    for _ in range(300):
        deep = [deep]
    assert (await outcome(runtime.chat(tools=deep)))[0] == "400"
    assert not upstream.calls
