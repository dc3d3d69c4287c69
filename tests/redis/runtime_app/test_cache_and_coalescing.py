"""Answers that are there already, and calls that are shared."""

import asyncio

import orjson
import pytest

from tests.redis.runtime_app.conftest import KEY, RedisServer, Runtime, Start, settings_for, until
from tests.redis.runtime_app.upstream import (
    DONE,
    STREAM,
    USAGE_FRAME,
    Upstream,
    answer,
    completion,
    end_stream,
    priced_usage,
    start_stream,
    stream_part,
)


async def outcome(request) -> tuple[str, bytes]:
    async with request as response:
        return response.headers.get("x-agentpool-cache", str(response.status)), await response.read()


async def test_the_same_question_is_asked_once(runtime: Runtime, upstream: Upstream) -> None:
    first = await outcome(runtime.chat())
    async with runtime.chat() as response:
        assert response.headers["x-agentpool-cache"] == "l1"
        assert response.headers["x-agentpool-cost-usd"] == "0.00"
        assert response.headers["x-agentpool-saved-usd"] == "0.000052"
        assert int(response.headers["age"]) < 100
        assert response.headers["cache-status"].startswith("agentpool; hit; ttl=35")
        assert await response.read() == first[1]
    assert len(upstream.calls) == 1
    assert await runtime.metric("agentpool_runtime_saved_usd_total") == pytest.approx(0.000052)


async def test_a_stream_is_replayed_as_a_stream_with_usage_only_when_asked(
    runtime: Runtime, upstream: Upstream
) -> None:
    await outcome(runtime.chat(stream=True))
    await asyncio.sleep(0.01)
    assert await outcome(runtime.chat(stream=True)) == ("l1", b"".join([*STREAM, DONE]))
    asked = runtime.chat(stream=True, stream_options={"include_usage": True})
    assert await outcome(asked) == ("l1", b"".join([*STREAM, priced_usage(0), DONE]))
    assert len(upstream.calls) == 1


async def test_a_stream_and_a_whole_answer_serve_each_other(runtime: Runtime, upstream: Upstream) -> None:
    await outcome(runtime.chat("one", stream=True))
    cache, body = await outcome(runtime.chat("one"))
    whole = orjson.loads(body)
    assert (cache, whole["choices"][0]["message"]["content"]) == ("l1", "hello")
    assert whole["usage"]["completion_tokens"] == 4
    await outcome(runtime.chat("two"))
    cache, body = await outcome(runtime.chat("two", stream=True))
    assert cache == "l1" and b'"content":"hello"' in body and body.endswith(DONE)
    assert len(upstream.calls) == 2


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"temperature": 0.7}, {}),
        ({"n": 2}, {}),
        ({}, {"Cache-Control": "no-cache"}),
        ({}, {"Cache-Control": "no-store"}),
        ({}, {"Cache-Control": "max-age=0"}),
    ],
)
async def test_who_wants_a_new_answer_gets_one(runtime: Runtime, upstream: Upstream, fields, headers) -> None:
    for _ in range(2):
        await outcome(runtime.chat(**fields))
    await asyncio.sleep(0.01)
    before = len(upstream.calls)
    cache, _ = await outcome(runtime.chat(headers=headers, **fields))
    assert cache in ("miss", "bypass")
    assert len(upstream.calls) == before + 1


async def test_a_caller_may_accept_a_stored_sample(runtime: Runtime, upstream: Upstream) -> None:
    for expected in ("miss", "l1"):
        asked = runtime.chat(temperature=1, headers={"Cache-Control": "max-age=60"})
        assert (await outcome(asked))[0] == expected


async def test_only_if_cached_never_asks_the_model(runtime: Runtime, upstream: Upstream) -> None:
    only = {"Cache-Control": "only-if-cached"}
    async with runtime.chat(headers=only) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (504, "not_cached")
        assert response.headers["x-should-retry"] == "false"
    assert not upstream.calls
    await outcome(runtime.chat())
    assert (await outcome(runtime.chat(headers=only)))[0] == "l1"


async def test_tenants_never_see_each_others_answers(start: Start, upstream: Upstream, tmp_path) -> None:
    runtime = await start()
    (tmp_path / "local-key" / "other").write_text("sk-other")
    runtime.app.secrets.reload()
    await outcome(runtime.chat())
    cache, _ = await outcome(runtime.chat(headers={"Authorization": "Bearer sk-other"}))
    assert cache == "miss"
    assert len(upstream.calls) == 2


@pytest.mark.parametrize(
    "body",
    [completion(choices=[]), completion(error={"message": "x"}), {"object": "chat.completion", "choices": "?"}],
)
async def test_an_answer_that_is_not_finished_is_not_kept(runtime: Runtime, upstream: Upstream, body) -> None:
    async def odd(call) -> None:
        await answer(call, 200, orjson.dumps(body))

    upstream.script = odd
    for _ in range(2):
        assert (await outcome(runtime.chat()))[0] == "miss"


@pytest.mark.parametrize("status", [401, 403, 408, 409, 425, 429, 500, 503])
async def test_an_error_that_may_pass_is_not_kept(start: Start, upstream: Upstream, status: int) -> None:
    async def refuse(call) -> None:
        await answer(call, status, b'{"error":{"message":"no"}}')

    runtime = await start(settings_for(upstream.url, connections={"retries": 0}))
    good, upstream.script = upstream.script, refuse
    assert (await outcome(runtime.chat()))[0].isdigit()
    upstream.script = good
    assert (await outcome(runtime.chat()))[0] == "miss"


async def test_what_one_agent_stored_another_serves(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    one = await start(redis_url=redis_server.url)
    two = await start(redis_url=redis_server.url)
    body = (await outcome(one.chat()))[1]
    await until(lambda: bool(redis_server.command("KEYS", "*response*")))
    assert await outcome(two.chat()) == ("l2", body)
    assert await outcome(two.chat()) == ("l1", body)
    assert len(upstream.calls) == 1


async def test_damaged_bytes_in_redis_are_a_miss(start: Start, upstream: Upstream, redis_server: RedisServer) -> None:
    one = await start(redis_url=redis_server.url)
    two = await start(redis_url=redis_server.url)
    await outcome(one.chat())
    await until(lambda: bool(redis_server.command("KEYS", "*response*")))
    redis_server.command("SET", redis_server.command("KEYS", "*response*")[0], "garbage")
    assert (await outcome(two.chat()))[0] == "miss"


@pytest.mark.parametrize("stream", [False, True])
async def test_identical_requests_in_flight_are_one_call(runtime: Runtime, upstream: Upstream, stream: bool) -> None:
    good = upstream.script

    async def when_all_have_asked(call) -> None:
        (flight,) = runtime.app.pipeline._leading._flights.values()
        await until(lambda: flight._followers == 19)
        await good(call)

    upstream.script = when_all_have_asked
    results = await asyncio.gather(*(outcome(runtime.chat(stream=stream)) for _ in range(20)))
    assert len(upstream.calls) == 1
    assert sorted(cache for cache, _ in results) == ["coalesced"] * 19 + ["miss"]
    assert len({body for _, body in results}) == 1
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == pytest.approx(0.000052)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_shared_call_outlives_the_caller_who_began_it(
    runtime: Runtime, upstream: Upstream, stream: bool
) -> None:
    go_on = asyncio.Event()

    async def slow(call) -> None:
        if stream:
            await start_stream(call)
            await stream_part(call, STREAM[0])
            await go_on.wait()
            for part in [*STREAM[1:], USAGE_FRAME, DONE]:
                await stream_part(call, part)
            await end_stream(call)
        else:
            await go_on.wait()
            await answer(call, 200, orjson.dumps(completion()))

    upstream.script = slow
    first = asyncio.create_task(outcome(runtime.chat(stream=stream)))
    await until(lambda: bool(upstream.calls))
    (flight,) = runtime.app.pipeline._leading._flights.values()
    second = asyncio.create_task(outcome(runtime.chat(stream=stream)))
    await until(lambda: flight._followers == 1)
    first.cancel()
    await asyncio.sleep(0.1)
    go_on.set()
    cache, body = await second
    assert cache == "coalesced"
    assert body == (b"".join([*STREAM, DONE]) if stream else orjson.dumps(completion()))
    assert len(upstream.calls) == 1


async def test_the_cache_can_be_switched_off(start: Start, upstream: Upstream) -> None:
    runtime = await start(settings_for(upstream.url, cache={"enabled": False}))
    for _ in range(2):
        assert (await outcome(runtime.chat()))[0] == "bypass"
    assert KEY not in str(upstream.calls[0].headers)
