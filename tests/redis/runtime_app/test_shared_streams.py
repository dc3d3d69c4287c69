"""A stream that one agent makes reaches callers of the others while it is made."""

from __future__ import annotations

import asyncio
import signal

import pytest

from agentpool_api import keys
from tests.redis.runtime_app.conftest import RedisServer, Runtime, Start, settings_for, until
from tests.redis.runtime_app.test_cache_and_coalescing import outcome
from tests.redis.runtime_app.upstream import (
    DONE,
    STREAM,
    USAGE_FRAME,
    Upstream,
    end_stream,
    model,
    priced_usage,
    start_stream,
    stream_part,
)

WHOLE = b"".join([*STREAM, DONE])


class Paced:
    """An endpoint that sends the first frame of a stream, and the rest when it may; or breaks off instead."""

    def __init__(self, upstream: Upstream) -> None:
        self.go_on = asyncio.Event()
        self.breaks = False
        upstream.script = self

    async def __call__(self, call) -> None:
        await start_stream(call)
        await stream_part(call, STREAM[0])
        await self.go_on.wait()
        if self.breaks:
            call.writer.transport.abort()
            return
        for part in [*STREAM[1:], USAGE_FRAME, DONE]:
            await stream_part(call, part)
        await end_stream(call)


def followers(runtime: Runtime) -> int:
    """Callers who have joined a call that another one began at this agent."""
    return sum(flight._followers for flight in runtime.app.pipeline._leading._flights.values())


async def two_agents(start: Start, redis_server: RedisServer, **settings) -> tuple[Runtime, Runtime]:
    first = await start(redis_url=redis_server.url, POD_UID="first", **settings)
    return first, await start(redis_url=redis_server.url, POD_UID="second", **settings)


async def test_the_first_token_comes_to_other_agents_before_the_last_one_is_made(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    first, second = await two_agents(start, redis_server)
    paced = Paced(upstream)
    leading = asyncio.create_task(outcome(first.chat(stream=True)))
    await until(lambda: bool(upstream.calls))
    with_usage = second.chat(stream=True, stream_options={"include_usage": True})
    async with second.chat(stream=True) as response:
        assert response.headers["x-agentpool-cache"] == "coalesced"
        begun = await response.content.readany()
        assert begun == STREAM[0] and not leading.done()
        beside = asyncio.create_task(outcome(with_usage))  # joins what the second agent follows already
        await until(lambda: followers(second) == 1)
        paced.go_on.set()
        assert begun + await response.read() == WHOLE
    assert await beside == ("coalesced", b"".join([*STREAM, priced_usage(0), DONE]))
    assert await leading == ("miss", WHOLE)
    assert len(upstream.calls) == 1
    assert await second.metric("agentpool_runtime_saved_usd_total") == pytest.approx(2 * 0.000052)
    assert (await outcome(second.chat(stream=True)))[0] in ("l1", "l2")
    await until(lambda: not redis_server.command("KEYS", "*flight*"))


async def test_a_stream_nobody_else_waits_for_is_not_written_to_redis(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    first, _ = await two_agents(start, redis_server)
    await outcome(first.chat(stream=True))
    assert "cmdstat_rpush" not in redis_server.command("INFO", "commandstats")


async def test_a_stream_that_breaks_at_the_endpoint_breaks_for_all_who_saw_its_beginning(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    first, second = await two_agents(start, redis_server, raw=settings_for(upstream.url, connections={"retries": 0}))
    paced = Paced(upstream)
    paced.breaks = True
    leading = asyncio.create_task(outcome(first.chat(stream=True)))
    await until(lambda: bool(upstream.calls))
    async with second.chat(stream=True) as response:
        begun = await response.content.readany()
        paced.go_on.set()
        body = begun + await response.read()
    for seen in (body, (await leading)[1]):
        assert seen.startswith(STREAM[0]) and b'"error"' in seen and b"[DONE]" not in seen
    upstream.script = model
    await until(lambda: not redis_server.command("KEYS", "*flight*"))
    assert await outcome(second.chat(stream=True)) == ("miss", WHOLE)


async def test_a_stream_whose_agent_dies_ends_for_those_who_saw_its_beginning_and_is_made_anew_for_others(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    agent = await start(redis_url=redis_server.url)
    await outcome(agent.chat(stream=True))
    await until(lambda: bool(redis_server.command("KEYS", "*response*")))
    digest = redis_server.command("KEYS", "*response*")[0].rsplit(":", 1)[1]
    redis_server.command("FLUSHALL")
    agent.app.cache.memory.clear()
    turn = keys.flight("default", "local", digest)
    redis_server.command("SET", turn, "dead.1")
    item = f"part 0 {len(STREAM[0])}\n{STREAM[0].decode()}"
    redis_server.command("RPUSH", keys.frames("default", "local", digest, "dead.1"), item)
    async with agent.chat(stream=True) as response:
        assert response.headers["x-agentpool-cache"] == "coalesced"
        begun = await response.content.readany()
        redis_server.command("DEL", turn)  # it runs out
        body = begun + await response.read()
    assert body.startswith(STREAM[0]) and b"the shared stream broke off" in body
    redis_server.command("SET", turn, "dead.2", "PX", "300")
    assert await outcome(agent.chat(stream=True)) == ("miss", WHOLE)
    assert len(upstream.calls) == 2


async def test_an_agent_stops_writing_when_the_others_have_left(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.broadcast.WANTED_FOR_S", 60.0)
    first, second = await two_agents(start, redis_server)
    sent = asyncio.Event()

    async def endless(call) -> None:
        await start_stream(call)
        while not sent.is_set():
            await stream_part(call, STREAM[0])
            await asyncio.sleep(0.02)
        await stream_part(call, STREAM[-1] + DONE)
        await end_stream(call)

    upstream.script = endless
    leading = asyncio.create_task(outcome(first.chat(stream=True)))
    await until(lambda: bool(upstream.calls))
    async with second.chat(stream=True) as response:
        await response.content.readany()
        assert first.app.cache.broadcast._wanted_s
    monkeypatch.setattr("agent_runtime.cache.broadcast.WANTED_FOR_S", 0.1)
    await until(lambda: not first.app.cache.broadcast._wanted_s)
    sent.set()
    assert (await leading)[1].endswith(DONE)


async def test_a_short_absence_of_redis_does_not_break_a_shared_stream(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    first, second = await two_agents(start, redis_server)
    paced = Paced(upstream)
    leading = asyncio.create_task(outcome(first.chat(stream=True)))
    await until(lambda: bool(upstream.calls))
    async with second.chat(stream=True) as response:
        begun = await response.content.readany()
        for agent in (first, second):
            agent.app.link._background.break_off("cut")
        await asyncio.sleep(0.1)
        paced.go_on.set()
        assert begun + await response.read() == WHOLE
    assert (await leading)[1] == WHOLE
    assert len(upstream.calls) == 1


async def test_a_redis_that_freezes_ends_a_shared_stream_and_hangs_nobody(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.broadcast.WITHOUT_REDIS_S", 0.3)
    monkeypatch.setattr("agent_runtime.redis.link.BACKGROUND_PATIENCE_S", 4.0)
    first, second = await two_agents(start, redis_server)
    paced = Paced(upstream)
    leading = asyncio.create_task(outcome(first.chat(stream=True)))
    await until(lambda: bool(upstream.calls))
    assert redis_server.process is not None
    async with second.chat(stream=True) as response:
        begun = await response.content.readany()
        redis_server.process.send_signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(60):
                body = begun + await response.read()
            paced.go_on.set()
            assert await leading == ("miss", WHOLE)  # who made it is not touched by it
        finally:
            redis_server.process.send_signal(signal.SIGCONT)
    assert body.startswith(STREAM[0]) and b"the shared stream broke off" in body
