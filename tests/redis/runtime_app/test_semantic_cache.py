"""With a real Redis: answers found by other words come from there too, and a statement drops them for every agent."""

from __future__ import annotations

import orjson

from agentpool_api import keys
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


async def test_a_statement_drops_what_other_agents_were_asked(
    start: Start, redis_server: RedisServer, upstream: Upstream
) -> None:
    settings = settings_for(upstream.url, cache={"shared": False, "semantic": {"enabled": True, "match": "Fuzzy"}})
    first, second = [await start(settings, redis_url=redis_server.url, POD_UID=uid) for uid in ("first", "second")]
    await cached(second.chat(QUESTION))
    assert await cached(second.chat(QUESTION)) == "l1"
    async with first.session.post(f"{first.root}/v1/cache/forget", json={"near": QUESTION}, headers=BEARER) as reply:
        assert (reply.status, await reply.json()) == (200, {"dropped": 0})
    await until(lambda: not second.app.paraphrases.entries)
    assert await cached(second.chat(QUESTION)) == "miss"


async def test_a_dropped_answer_leaves_agents_that_only_fetched_it(
    start: Start, redis_server: RedisServer, upstream: Upstream
) -> None:
    settings = settings_for(upstream.url, cache={"semantic": {"enabled": True, "match": "Fuzzy"}})
    first, second = [await start(settings, redis_url=redis_server.url, POD_UID=uid) for uid in ("first", "second")]
    await cached(first.chat(QUESTION))
    await until(lambda: len(redis_server.command("KEYS", "*response*")) == 1)
    assert [await cached(second.chat(QUESTION)) for _ in range(2)] == ["l2", "l1"]
    key = redis_server.command("KEYS", "*response*")[0].rsplit(":", 1)[1]
    async with first.session.post(f"{first.root}/v1/cache/forget", json={"near": QUESTION}, headers=BEARER) as reply:
        assert (await reply.json()) == {"dropped": 1}
    await until(lambda: second.app.cache.purges.cut_s("", "", key) > 0)
    assert await cached(second.chat(QUESTION)) == "miss"


async def test_an_agent_that_was_cut_off_learns_of_a_statement_later(
    start: Start, redis_server: RedisServer, upstream: Upstream, monkeypatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.listening.CATCH_UP_S", 0.1)
    settings = settings_for(upstream.url, cache={"semantic": {"enabled": True, "match": "Fuzzy"}})
    runtime = await start(settings, redis_url=redis_server.url)
    await cached(runtime.chat(QUESTION))
    tenant = next(iter(runtime.app.paraphrases._matcher._questions.values())).tenant
    statement = orjson.dumps({"tenant": tenant, "near": QUESTION, "similarity": 0.6}).decode()
    redis_server.command("HSET", keys.forgets("default", "local"), "some-id", statement)  # said, and not heard
    await until(lambda: not runtime.app.paraphrases.entries)
    redis_server.command("HSET", keys.forgets("default", "local"), "other-id", "not JSON")
    assert await cached(runtime.chat(QUESTION)) == "miss"
