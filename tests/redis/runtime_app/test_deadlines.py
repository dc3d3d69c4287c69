"""What a caller gets when its answer is not there in time, and what becomes of the answer."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import orjson
import pytest

from agent_runtime.errors import RuntimeSetupError
from agent_runtime.settings import parse_settings
from tests.redis.runtime_app.conftest import PRICE, RedisServer, Runtime, Start, settings_for, until
from tests.redis.runtime_app.upstream import Call, Upstream, answer, model

SORRY = {"deadline": "100ms", "fallbackText": "This takes longer. Ask again in a moment."}


class Slow:
    """Answers of ``chat`` wait until they may go on; others come at once."""

    def __init__(self, upstream: Upstream, *slow: str) -> None:
        self.go_on = asyncio.Event()
        self.slow = slow or ("up",)
        upstream.script = self

    async def __call__(self, call: Call) -> None:
        if call.json["model"] in self.slow:
            await self.go_on.wait()
        await model(call)


def pool(upstream: Upstream, **response_time: Any) -> dict[str, Any]:
    settings = settings_for(upstream.url, responseTime=response_time)
    settings["models"].append({"name": "quick", "endpoint": upstream.url, "price": PRICE})
    return settings


async def ask(runtime: Runtime, content: str = "hi", **more: Any) -> tuple[int, Any, str]:
    async with runtime.chat(content, **more) as response:
        return response.status, response.headers, await response.text()


async def late(runtime: Runtime, outcome: str = "whole") -> None:
    counter = runtime.app.instruments._late.labels(outcome)._value
    await until(lambda: counter.get() == 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_after_the_deadline_the_text_is_answered_and_the_late_answer_is_kept(
    start: Start, upstream: Upstream, redis_server: RedisServer, stream: bool
) -> None:
    slow = Slow(upstream)
    runtime = await start(pool(upstream, **SORRY), redis_url=redis_server.url)
    status, told, body = await ask(runtime, stream=stream)
    assert status == 200
    assert told["x-agentpool-fallback"] == "text, deadline-ms=100"
    assert told["x-agentpool-cache"] == "fallback"
    assert told["x-agentpool-cost-usd"] == "0.00"
    assert SORRY["fallbackText"] in body
    assert body.endswith("data: [DONE]\n\n") is stream
    slow.go_on.set()
    await late(runtime)
    _, told, body = await ask(runtime, stream=stream)
    assert told["x-agentpool-cache"] == "l1"
    assert "x-agentpool-fallback" not in told
    assert SORRY["fallbackText"] not in body
    assert len(upstream.calls) == 1
    assert await runtime.metric("agentpool_runtime_cost_usd_total") > 0
    await until(lambda: runtime.app.settlement is not None and runtime.app.settlement.pending == 0)
    assert redis_server.command("XLEN", "agentpool:{default}:usage") == 2  # the late answer, and the hit
    assert await runtime.metric("agentpool_runtime_fallbacks_total") == 1
    assert await runtime.metric("agentpool_runtime_in_flight") == 0


async def test_a_fallback_is_never_stored(start: Start, upstream: Upstream) -> None:
    slow = Slow(upstream)
    runtime = await start(pool(upstream, **SORRY))
    for _ in range(2):
        assert (await ask(runtime))[1]["x-agentpool-cache"] == "fallback"
    await until(lambda: bool(upstream.calls))
    assert len(upstream.calls) == 1  # the second request joined the call that was under way
    slow.go_on.set()
    await until(lambda: runtime.app.slots.in_flight == 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_faster_model_answers_in_place_of_a_late_one(start: Start, upstream: Upstream, stream: bool) -> None:
    slow = Slow(upstream)
    # The faster model has as long: a busy machine must not make it late too.
    runtime = await start(pool(upstream, fallbackModel="quick", **SORRY | {"deadline": "2s"}))
    _, told, body = await ask(runtime, stream=stream)
    assert told["x-agentpool-fallback"] == 'model="quick", deadline-ms=2000'
    assert told["x-agentpool-model"] == "quick"
    assert SORRY["fallbackText"] not in body
    slow.go_on.set()
    await late(runtime)
    _, told, _ = await ask(runtime, stream=stream)
    assert (told["x-agentpool-model"], told["x-agentpool-cache"]) == ("chat", "l1")
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == pytest.approx(2 * 0.000052)


async def test_the_text_stands_in_when_the_faster_model_is_late_too(start: Start, upstream: Upstream) -> None:
    slow = Slow(upstream, "up", "quick")
    runtime = await start(pool(upstream, fallbackModel="quick", **SORRY))
    assert (await ask(runtime))[1]["x-agentpool-fallback"] == "text, deadline-ms=100"
    slow.go_on.set()
    await until(lambda: runtime.app.slots.in_flight == 0)


async def test_without_a_fallback_the_caller_is_told_to_ask_again(start: Start, upstream: Upstream) -> None:
    slow = Slow(upstream)
    runtime = await start(pool(upstream))
    status, told, body = await ask(runtime, headers={"x-agentpool-deadline-ms": "80"})
    assert (status, orjson.loads(body)["error"]["code"]) == (504, "deadline_exceeded")
    assert told["retry-after"] == "1"
    slow.go_on.set()
    await late(runtime)
    assert (await ask(runtime))[1]["x-agentpool-cache"] == "l1"


async def test_a_text_does_not_stand_in_for_structured_output(start: Start, upstream: Upstream) -> None:
    slow = Slow(upstream)
    runtime = await start(pool(upstream, **SORRY))
    assert (await ask(runtime, response_format={"type": "json_object"}))[0] == 504
    assert (await ask(runtime, response_format={"type": "text"}))[0] == 200
    slow.go_on.set()
    await until(lambda: runtime.app.slots.in_flight == 0)


async def test_an_answer_in_time_is_the_answer(start: Start, upstream: Upstream) -> None:
    runtime = await start(pool(upstream, deadline="50s", fallbackText="no"))
    for stream in (False, True):
        _, told, _ = await ask(runtime, str(stream), stream=stream)
        assert (told["x-agentpool-cache"], "x-agentpool-fallback" in told) == ("miss", False)
    upstream.script = refuse
    assert (await ask(runtime, "bad"))[0] == 400
    assert await runtime.metric("agentpool_runtime_fallbacks_total") == 0


async def refuse(call: Call) -> None:
    await answer(call, 400, b'{"error":{"message":"no","type":"x","param":null,"code":"y"}}')


async def test_a_late_failure_is_counted_and_troubles_nobody(start: Start, upstream: Upstream) -> None:
    go_on = asyncio.Event()

    async def script(call: Call) -> None:
        await go_on.wait()
        await refuse(call)

    upstream.script = script
    runtime = await start(pool(upstream, **SORRY))
    assert (await ask(runtime))[0] == 200
    go_on.set()
    await late(runtime, "failed")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_who_leaves_before_the_deadline_ends_the_call(
    start: Start, upstream: Upstream, stream: bool
) -> None:
    Slow(upstream)
    runtime = await start(pool(upstream, deadline="30s", fallbackText="no"))
    task = asyncio.create_task(ask(runtime, stream=stream))
    await until(lambda: len(upstream.calls) == 1)
    task.cancel()
    await until(lambda: runtime.app.service.active == 0 and upstream.lost == 1)
    assert await runtime.metric("agentpool_runtime_client_disconnects_total") == 1
    assert await runtime.metric("agentpool_runtime_in_flight") == 0


async def test_a_caller_who_leaves_in_the_middle_of_a_stream_ends_the_call(start: Start, upstream: Upstream) -> None:
    async def script(call: Call) -> None:
        call.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        while True:
            call.writer.write(b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n')
            await call.writer.drain()
            await asyncio.sleep(0.01)

    upstream.script = script
    runtime = await start(pool(upstream, deadline="30s", fallbackText="no"))
    async with runtime.chat(stream=True) as response:
        await response.content.readany()
    await until(lambda: runtime.app.service.active == 0 and upstream.lost == 1)
    assert await runtime.metric("agentpool_runtime_in_flight") == 0


async def test_others_who_joined_keep_the_call_of_a_caller_who_left(start: Start, upstream: Upstream) -> None:
    slow = Slow(upstream)
    runtime = await start(pool(upstream, deadline="50s", fallbackText="no"))
    first = asyncio.create_task(ask(runtime))
    await until(lambda: len(upstream.calls) == 1)
    (flight,) = runtime.app.pipeline._leading._flights.values()
    second = asyncio.create_task(ask(runtime))
    await until(lambda: flight._followers == 1)
    first.cancel()
    await until(lambda: flight._cancel is not None)  # it is known that the first has left
    slow.go_on.set()
    assert (await second)[1]["x-agentpool-cache"] == "coalesced"
    await until(lambda: runtime.app.service.active == 0)
    assert len(upstream.calls) == 1


async def test_a_fallback_alone_sets_the_profiles_deadline(start: Start, upstream: Upstream) -> None:
    for profile, deadline_s in (("General", 2.0), ("Data", 1.5)):
        runtime = await start(pool(upstream, profile=profile, fallbackText="later"))
        assert runtime.app.answering._deadline_s == deadline_s
    runtime = await start(pool(upstream))
    assert runtime.app.answering._deadline_s is None


@pytest.mark.parametrize("value", ["0", "-1", "soon", "inf"])
async def test_a_wrong_deadline_is_refused_by_name(runtime: Runtime, value: str) -> None:
    status, _, body = await ask(runtime, headers={"x-agentpool-deadline-ms": value})
    assert status == 400
    assert "x-agentpool-deadline-ms" in body


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"fallbackModel": "none"}, "responseTime.fallbackModel"),
        ({"minTarget": "2s", "maxTarget": "1s"}, "responseTime.minTarget"),
        ({"deadline": "0s"}, "responseTime.deadline"),
    ],
)
def test_settings_that_cannot_be_kept_stop_the_start(changes: dict[str, str], field: str) -> None:
    with pytest.raises(RuntimeSetupError, match=field):
        parse_settings({"responseTime": changes}, refuse_unknown=True)


async def test_response_times_are_measured_and_shown(start: Start, upstream: Upstream) -> None:
    runtime = await start(pool(upstream, minTarget="60s", maxTarget="60s"))  # no pause of a busy machine is as long
    for at in range(5):
        await ask(runtime, str(at))
    seen = runtime.app.state.response_times()
    assert (seen.answers, seen.met, seen.target_s) == (5, 1.0, 60.0)
    assert seen.quantiles is not None and 0 < seen.quantiles[0.5] <= seen.quantiles[0.99] < 60
    assert await runtime.metric("agentpool_runtime_response_time_target_seconds") == 60.0
    assert await runtime.metric("agentpool_runtime_response_time_met_ratio") == 1.0
    assert await runtime.metric("agentpool_runtime_response_time_seconds") == pytest.approx(
        sum(seen.quantiles.values())
    )


async def test_whoever_leaves_when_no_slot_is_lost(start: Start, upstream: Upstream, redis_server: RedisServer) -> None:
    chance = random.Random(7)

    async def script(call: Call) -> None:
        await asyncio.sleep(chance.choice([0, 0.02, 0.04, 0.05, 0.06, 0.1]))
        await model(call)

    upstream.script = script
    runtime = await start(pool(upstream, deadline="50ms", fallbackText="no"), redis_url=redis_server.url)

    async def one() -> None:
        task = asyncio.create_task(ask(runtime, str(chance.randrange(40)), stream=chance.random() < 0.5))
        if chance.random() < 0.4:
            await asyncio.sleep(chance.random() * 0.08)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(6):
        await asyncio.gather(*(one() for _ in range(30)))
    app = runtime.app
    await until(lambda: app.service.active == 0 and app.slots.in_flight == 0 and not app.answering._deadlines._tasks)
    assert (app.slots.queued, app.state.unexpected_errors) == (0, 0)
