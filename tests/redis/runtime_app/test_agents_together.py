"""Identical requests to several agents of a pool."""

import asyncio
import signal

import orjson
import pytest

from agent_runtime.cache.flights import Flight
from agentpool_api import keys
from tests.redis.runtime_app.conftest import RedisServer, Start, settings_for, until
from tests.redis.runtime_app.test_cache_and_coalescing import outcome
from tests.redis.runtime_app.test_failures import refusing
from tests.redis.runtime_app.upstream import DONE, STREAM, Upstream, completion


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hundred_identical_requests_to_three_agents_are_one_call(
    start: Start, upstream: Upstream, redis_server: RedisServer, stream: bool
) -> None:
    agents = [await start(redis_url=redis_server.url) for _ in range(3)]
    good = upstream.script

    def flights() -> list[Flight]:
        return [flight for agent in agents for flight in agent.app.pipeline._leading._flights.values()]

    def asking() -> int:
        """Callers who lead a call or have joined one, without what writes it down for other agents."""
        writers = sum(len(agent.app.cache.broadcast._tasks) for agent in agents)
        return len(flights()) + sum(flight._followers for flight in flights()) - writers

    async def when_all_have_asked(call) -> None:
        await until(lambda: asking() == 100)
        await good(call)

    upstream.script = when_all_have_asked
    asked = [outcome(agents[number % 3].chat(stream=stream)) for number in range(100)]
    results = await asyncio.gather(*asked)
    assert len(upstream.calls) == 1
    assert {body for _, body in results} == {b"".join([*STREAM, DONE]) if stream else orjson.dumps(completion())}
    assert sorted({cache for cache, _ in results}) == ["coalesced", "miss"]
    await until(lambda: not redis_server.command("KEYS", "*flight*"))


async def test_an_agent_takes_over_when_the_one_that_makes_the_answer_fails(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.shared.LEASE_MS", 60_000)
    settings = settings_for(upstream.url, connections={"retries": 0})
    agents = [await start(settings, redis_url=redis_server.url) for _ in range(2)]
    good = upstream.script
    failing = iter([refusing(500)])

    async def first_fails(call) -> None:
        await asyncio.sleep(0.2)
        await next(failing, good)(call)

    upstream.script = first_fails
    async with asyncio.timeout(20):  # sooner than the failed agent's turn would expire
        results = await asyncio.gather(*(outcome(agent.chat()) for agent in agents))
    assert sorted(cache for cache, _ in results) == ["502", "miss"]
    assert len(upstream.calls) == 2


async def test_an_agent_takes_over_when_the_one_that_makes_the_answer_dies(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.shared.LEASE_MS", 300)
    agent = await start(redis_url=redis_server.url)
    await outcome(agent.chat("first", temperature=0))
    await until(lambda: bool(redis_server.command("KEYS", "*response*")))
    stored = redis_server.command("KEYS", "*response*")[0]
    redis_server.command("DEL", stored)
    digest = stored.rsplit(":", 1)[1]
    agent.app.cache.memory.clear()
    redis_server.command("SET", keys.flight("default", "local", digest), "a dead agent", "PX", "300")
    assert (await outcome(agent.chat("first", temperature=0)))[0] == "miss"
    assert len(upstream.calls) == 2


async def test_a_long_answer_keeps_its_turn(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_runtime.cache.shared.RENEW_S", 0.1)
    agents = [await start(redis_url=redis_server.url) for _ in range(2)]
    good = upstream.script

    async def until_its_turn_is_prolonged(call) -> None:
        (turn,) = redis_server.command("KEYS", "*flight*")
        redis_server.command("PEXPIRE", turn, "30000")
        await until(lambda: redis_server.command("PTTL", turn) > 30_000)
        await good(call)

    upstream.script = until_its_turn_is_prolonged
    results = await asyncio.gather(*(outcome(agent.chat()) for agent in agents))
    assert sorted(cache for cache, _ in results) == ["coalesced", "miss"]
    assert len(upstream.calls) == 1


async def test_a_caller_who_leaves_while_it_is_asked_whose_turn_it_is_holds_up_no_other_agent(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    first, second = [await start(redis_url=redis_server.url) for _ in range(2)]
    await outcome(first.chat("asks Redis in the long form, once"))
    assert redis_server.process is not None and first.app.link is not None
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        leaving = asyncio.create_task(outcome(first.chat()))
        await until(lambda: bool(first.app.link._requests._owed))
        leaving.cancel()
        await until(lambda: first.app.service.active == 0)
    finally:
        redis_server.process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(30):  # sooner than a turn that nobody gives back runs out
        assert (await outcome(second.chat()))[0] == "miss"


async def test_a_caller_who_leaves_when_its_turn_has_come_holds_up_no_other_agent(
    start: Start, upstream: Upstream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [await start(redis_url=redis_server.url) for _ in range(2)]
    reading = asyncio.Event()

    async def slow_disk(*_: object) -> None:
        reading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(first.app.cache, "_from_disk", slow_disk)
    leaving = asyncio.create_task(outcome(first.chat()))
    await reading.wait()
    leaving.cancel()
    await until(lambda: first.app.service.active == 0)
    async with asyncio.timeout(30):  # sooner than a turn that nobody gives back runs out
        assert (await outcome(second.chat()))[0] == "miss"


async def test_who_only_wants_a_stored_answer_makes_nobody_else_fail(
    start: Start, upstream: Upstream, redis_server: RedisServer
) -> None:
    agent = await start(redis_url=redis_server.url)
    only = {"Cache-Control": "only-if-cached"}
    results = await asyncio.gather(outcome(agent.chat(headers=only)), outcome(agent.chat()))
    assert [cache for cache, _ in results] == ["504", "miss"]


async def test_a_stored_stream_that_cannot_be_put_together_is_asked_again(start: Start, upstream: Upstream) -> None:
    from tests.redis.runtime_app.test_failures import breaking
    from tests.redis.runtime_app.upstream import frame, model

    odd = frame({"id": "c", "choices": [{"index": 0, "delta": {"parts": [1]}, "finish_reason": "stop"}]})
    agent = await start()
    upstream.script = breaking([odd, DONE], clean=True)
    await outcome(agent.chat(stream=True))
    assert (await outcome(agent.chat(stream=True)))[0] == "l1"
    upstream.script = model
    assert (await outcome(agent.chat()))[0] == "miss"
