"""With a real Redis: answers found by other words come from there too, and a statement drops them for every agent."""

from __future__ import annotations

from tests.redis.runtime_app.conftest import BEARER, RedisServer, Start, settings_for, until
from tests.redis.runtime_app.upstream import Upstream

QUESTION = "how do i reset my old password"


def with_fuzzy(upstream: Upstream) -> dict[str, object]:
    return settings_for(upstream.url, cache={"maxEntries": 1, "semantic": {"enabled": True, "match": "Fuzzy"}})


async def cached(request) -> str:
    async with request as response:
        assert response.status == 200
        return response.headers["x-agentpool-cache"]


async def test_an_answer_that_left_the_process_is_served_from_redis(
    start: Start, redis_server: RedisServer, upstream: Upstream
) -> None:
    runtime = await start(with_fuzzy(upstream), redis_url=redis_server.url)
    await cached(runtime.chat(QUESTION))
    await until(lambda: len(redis_server.command("KEYS", "*response*")) == 1)
    runtime.app.cache.memory.clear()
    assert await cached(runtime.chat(QUESTION + " please")) == "semantic"
    assert len(upstream.calls) == 1


async def test_an_answer_that_is_gone_everywhere_is_asked_for_again(
    start: Start, redis_server: RedisServer, upstream: Upstream
) -> None:
    runtime = await start(with_fuzzy(upstream), redis_url=redis_server.url)
    await cached(runtime.chat(QUESTION))
    await until(lambda: len(redis_server.command("KEYS", "*response*")) == 1)
    runtime.app.cache.memory.clear()
    redis_server.command("FLUSHALL")
    assert await cached(runtime.chat(QUESTION + " please")) == "miss"
    assert await cached(runtime.chat(QUESTION + " please")) == "l1"


async def test_a_statement_drops_the_stored_answer_for_every_agent(
    start: Start, redis_server: RedisServer, upstream: Upstream
) -> None:
    first = await start(with_fuzzy(upstream), redis_url=redis_server.url)
    await cached(first.chat(QUESTION))
    await until(lambda: len(redis_server.command("KEYS", "*response*")) == 1)
    url = f"{first.root}/v1/cache/forget"
    async with first.session.post(url, json={"near": QUESTION}, headers=BEARER) as reply:
        assert (reply.status, await reply.json()) == (200, {"dropped": 1})
    assert redis_server.command("KEYS", "*response*") == []
    second = await start(with_fuzzy(upstream), redis_url=redis_server.url, POD_UID="second")
    assert await cached(second.chat(QUESTION)) == "miss"


async def test_forgetting_needs_a_key_of_the_pool(start: Start, redis_server: RedisServer, upstream: Upstream) -> None:
    runtime = await start(with_fuzzy(upstream), redis_url=redis_server.url)
    async with runtime.session.post(f"{runtime.root}/v1/cache/forget", json={"near": QUESTION}) as reply:
        assert reply.status == 401
