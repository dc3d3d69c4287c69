"""What the pool has saved, asked of any of its agents."""

from typing import Any

import orjson

from agent_runtime.pod.pool_stats import GONE_AFTER_S
from tests.redis.runtime_app.conftest import BEARER, RedisServer, Runtime, Start, settings_for
from tests.redis.runtime_app.upstream import Upstream

STATS = "agentpool:{default}:stats:local"


async def stats(runtime: Runtime) -> dict[str, Any]:
    async with runtime.session.get(f"{runtime.url}/stats", headers=BEARER) as response:
        assert response.status == 200
        return await response.json()


async def ask(runtime: Runtime, *contents: str) -> None:
    for content in contents:
        async with runtime.chat(content) as response:
            assert response.status == 200


async def test_one_agent_tells_hits_tokens_and_money(start: Start, upstream: Upstream) -> None:
    target = {"minTarget": "60s", "maxTarget": "60s"}  # no pause of a busy machine is as long
    runtime = await start(settings_for(upstream.url, responseTime=target))
    await ask(runtime, "a", "a", "b")
    told = await stats(runtime)
    assert (told["scope"], len(told["agents"])) == ("agent", 1)
    assert told["cache"] == {"results": {"l1": 1, "miss": 2}, "hit_ratio": 0.3333}
    assert told["tokens"] == {"input": 20, "output": 8}
    assert (told["cost_usd"], told["saved_usd"]["cache"]) == ("0.000104", "0.000052")
    assert told["requests"]["by_operation"] == {"chat": 3}
    assert told["latency_ms"]["request"]["chat"]["count"] == 3
    assert told["upstream"] == {"calls": {"ok": 2}, "retries": 0}
    assert (told["response_time"]["answers"], told["response_time"]["target_ms"]) == (3, 60_000.0)
    assert told["response_time"]["met_ratio"] == 1.0
    assert list(told["response_time"]["quantiles_ms"]) == ["p50", "p90", "p95", "p99"]


async def test_any_agent_tells_of_the_whole_pool(start: Start, redis_server: RedisServer) -> None:
    first = await start(redis_url=redis_server.url, POD_NAME="one", AGENTPOOL_DRAIN_TIMEOUT_S="1")
    second = await start(redis_url=redis_server.url, POD_NAME="two", AGENTPOOL_DRAIN_TIMEOUT_S="1")
    await ask(first, "a", "b")
    await ask(second, "a")
    await first.app.stats.write()
    told = await stats(second)
    assert (told["scope"], [agent["pod"] for agent in told["agents"]]) == ("pool", ["one", "two"])
    assert told["requests"]["total"] == 3 and told["cache"]["hit_ratio"] == 0.3333
    assert 0 < redis_server.command("PTTL", STATS) <= 3_600_000


async def test_an_agent_that_is_gone_is_not_counted_and_nonsense_is_dropped(
    start: Start, redis_server: RedisServer
) -> None:
    runtime = await start(redis_url=redis_server.url)
    old = {"pod": "old", "started_s": 1.0, "at_s": runtime.app.stats._unix_time() - GONE_AFTER_S - 1, "counts": {}}
    redis_server.command("HSET", STATS, "old", orjson.dumps(old).decode(), "bad", "{")
    assert [agent["pod"] for agent in (await stats(runtime))["agents"]] == ["local"]
    assert redis_server.command("HKEYS", STATS) == ["local"]


async def test_without_redis_it_says_that_it_tells_of_one_agent(start: Start, redis_server: RedisServer) -> None:
    runtime = await start(redis_url=redis_server.url)
    redis_server.stop()
    assert (await stats(runtime))["scope"] == "agent"


async def test_leaving_takes_the_counts_along(start: Start, redis_server: RedisServer) -> None:
    runtime = await start(redis_url=redis_server.url)
    await runtime.app.stats.write()
    await runtime.app.drain()
    assert redis_server.command("HKEYS", STATS) == []


async def test_it_is_for_callers_of_the_pool_only(runtime: Runtime) -> None:
    async with runtime.session.get(f"{runtime.url}/stats") as response:
        assert response.status == 401
