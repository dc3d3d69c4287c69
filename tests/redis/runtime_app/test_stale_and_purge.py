"""Answers whose time is over, for callers who accept them, and answers that everybody must forget."""

import asyncio
import time

import pytest

from agent_runtime import parts
from agent_runtime.cache import listening
from agentpool_api.wire import BudgetAction, BudgetNotice
from tests.redis.runtime_app.conftest import BEARER, RedisServer, Runtime, Start, settings_for, until
from tests.redis.runtime_app.test_cache_and_coalescing import outcome
from tests.redis.runtime_app.test_failures import refusing
from tests.redis.runtime_app.upstream import Upstream


async def short_lived(start: Start, upstream: Upstream, ttl: str = "100ms") -> Runtime:
    cache = {"ttl": ttl, "keepStale": "1m"}
    return await start(settings_for(upstream.url, cache=cache, connections={"retries": 0}))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stale_answer_serves_at_once_while_one_new_one_is_made(
    start: Start, upstream: Upstream, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, ahead_s = time.time, 0.0  # noqa: TID251
    monkeypatch.setattr(parts, "unix_time", lambda: real() + ahead_s)
    runtime = await short_lived(start, upstream, ttl="1h")
    await outcome(runtime.chat(stream=stream))
    ahead_s = 3601.0
    good, go_on = upstream.script, asyncio.Event()

    async def slow(call) -> None:
        await go_on.wait()
        await good(call)

    upstream.script = slow
    wish = {"Cache-Control": "stale-while-revalidate=60"}
    for _ in range(3):
        async with runtime.chat(stream=stream, headers=wish) as response:
            assert response.headers["x-agentpool-cache"] == "l1"
            assert "; ttl=-" in response.headers["cache-status"] or "; ttl=0" in response.headers["cache-status"]
            await response.read()
    await until(lambda: len(upstream.calls) == 2)
    go_on.set()
    await until(lambda: not runtime.app.pipeline.revalidations.running)
    upstream.script = good
    assert (await outcome(runtime.chat(stream=stream)))[0] == "l1"
    assert len(upstream.calls) == 2


async def test_no_answer_is_staler_than_the_caller_allows(start: Start, upstream: Upstream) -> None:
    runtime = await short_lived(start, upstream)
    await outcome(runtime.chat())
    await asyncio.sleep(1.3)
    asked = runtime.chat(headers={"Cache-Control": "stale-while-revalidate=1, max-age=0"})
    assert (await outcome(asked))[0] == "miss"


async def test_a_stale_answer_serves_who_accepts_it_and_everybody_while_the_budget_asks_for_it(
    start: Start, upstream: Upstream
) -> None:
    runtime = await short_lived(start, upstream)
    await outcome(runtime.chat())
    await asyncio.sleep(0.15)
    assert (await outcome(runtime.chat(headers={"Cache-Control": "max-stale=60"})))[0] == "l1"
    runtime.app.budget.take(BudgetNotice(actions=[BudgetAction.AGGRESSIVE_CACHING]).model_dump_json().encode(), 0.0)
    assert (await outcome(runtime.chat()))[0] == "l1"
    assert len(upstream.calls) == 1
    assert not runtime.app.pipeline.revalidations.running
    assert (await outcome(runtime.chat(headers={"Cache-Control": "max-stale=0"})))[
        0
    ] == "miss"  # the caller's word rules
    runtime.app.budget.take(BudgetNotice().model_dump_json().encode(), 1.0)
    await asyncio.sleep(0.15)
    assert (await outcome(runtime.chat()))[0] == "miss"


async def test_a_stale_answer_stands_in_for_an_error_when_the_caller_allows_it(
    start: Start, upstream: Upstream
) -> None:
    runtime = await short_lived(start, upstream)
    await outcome(runtime.chat())
    await asyncio.sleep(0.15)
    upstream.script = refusing(500)
    assert (await outcome(runtime.chat()))[0] == "502"
    assert (await outcome(runtime.chat(headers={"Cache-Control": "stale-if-error=60"})))[0] == "l1"
    upstream.script = refusing(400, b'{"error":{"message":"your fault"}}')
    assert (await outcome(runtime.chat(headers={"Cache-Control": "stale-if-error=60"})))[0] == "400"


def purge(runtime: Runtime, body: bytes = b"", headers: dict[str, str] | None = None):
    return runtime.session.post(f"{runtime.url}/cache/purge", data=body, headers=headers or BEARER)


async def test_a_purge_reaches_every_agent_and_every_tier(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.purges.CLOCK_MARGIN_S", 0.0)
    monkeypatch.setattr(listening, "CATCH_UP_S", 3600.0)  # nobody reads the list of purges again
    agents = [await start(redis_url=redis_server.url) for _ in range(3)]
    for agent in agents:
        await outcome(agent.chat("kept in all"))
        await until(lambda: bool(redis_server.command("KEYS", "*response*")))
    assert len(upstream.calls) == 1
    await until(lambda: redis_server.command("PUBSUB", "NUMSUB", "agentpool:{default}:purges:local")[1] == 3)
    async with purge(agents[0]) as response:
        assert response.status == 200
    await until(lambda: all(agent.app.cache.purges._cuts_s for agent in agents))
    assert (await outcome(agents[1].chat("kept in all")))[0] == "miss"
    late = await start(redis_url=redis_server.url)
    await until(lambda: bool(late.app.cache.purges._cuts_s))


async def test_a_purge_of_one_model_or_tenant_leaves_the_others(
    start: Start, upstream: Upstream, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.purges.CLOCK_MARGIN_S", 0.0)
    runtime = await start()
    (tmp_path / "local-key" / "other").write_text("sk-other")
    runtime.app.secrets.reload()
    other = {"Authorization": "Bearer sk-other"}
    await outcome(runtime.chat())
    await outcome(runtime.chat(headers=other))
    async with purge(runtime, b'{"model":"embed"}') as response:
        assert response.status == 200
    assert (await outcome(runtime.chat()))[0] == "l1"
    async with purge(runtime, b'{"model":"chat"}', other) as response:
        assert response.status == 200
    assert (await outcome(runtime.chat()))[0] == "l1"
    assert (await outcome(runtime.chat(headers=other)))[0] == "miss"


async def test_an_answer_that_was_being_made_during_a_purge_is_not_kept(
    runtime: Runtime, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.purges.CLOCK_MARGIN_S", 0.0)
    good, go_on = upstream.script, asyncio.Event()

    async def slow(call) -> None:
        await go_on.wait()
        await good(call)

    upstream.script = slow
    asked = asyncio.create_task(outcome(runtime.chat()))
    await until(lambda: bool(upstream.calls))
    async with purge(runtime) as response:
        assert response.status == 200
    go_on.set()
    assert (await asked)[0] == "miss"
    upstream.script = good
    assert (await outcome(runtime.chat()))[0] == "miss"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model":"nope"}', b'{"modell":"chat"}', b'{"model":["chat"]}'])
async def test_a_bad_purge_is_a_400(runtime: Runtime, body: bytes) -> None:
    async with purge(runtime, body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["message"]


async def test_a_purge_that_reaches_only_this_agent_says_so(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    runtime = await start(redis_url=redis_server.url, AGENTPOOL_DRAIN_TIMEOUT_S="1")
    await outcome(runtime.chat())
    redis_server.stop()
    async with purge(runtime) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (503, "purge_not_shared")
    assert (await outcome(runtime.chat()))[0] == "miss"


async def test_a_purge_needs_a_key(runtime: Runtime) -> None:
    async with purge(runtime, headers={"Authorization": "Bearer nope"}) as response:
        assert response.status == 401
