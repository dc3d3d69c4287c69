"""Several endpoints for one model: who is called, who is left alone, and what the callers notice."""

import asyncio
import time
from typing import Any

import orjson
import pytest

from tests.redis.runtime_app.conftest import PRICE, Runtime, Start, until
from tests.redis.runtime_app.upstream import (
    DONE,
    STREAM,
    Call,
    Script,
    Upstream,
    answer,
    completion,
    start_stream,
    stream_part,
)


def served_by(*upstreams: Upstream, ranks: tuple[int, ...] = (0, 1), **connections: Any) -> dict[str, Any]:
    """A chat model at these endpoints, in this order of priority."""
    places = [
        {"url": at.url, "priority": rank, "apiKeyEnv": "UP_KEY"} for at, rank in zip(upstreams, ranks, strict=False)
    ]
    model = {"name": "chat", "upstreamModel": "up", "endpoints": places, "price": PRICE}
    patient = {"connectTimeout": "20s"} | connections  # a busy machine's pause is no failure of the endpoint
    return {"models": [model], "connections": patient, "cache": {"enabled": False}}


def refusing(status: int, extra: str = "", body: bytes = b'{"error":{"message":"no"}}') -> Script:
    async def script(call: Call) -> None:
        await answer(call, status, body, extra=f"{extra}Connection: close\r\n")

    return script


async def reset(call: Call) -> None:
    call.writer.transport.abort()


async def silent(call: Call) -> None:
    await asyncio.sleep(30)


async def status_of(request: Any) -> int:
    async with request as response:
        await response.read()
        return int(response.status)


async def error_of(request: Any) -> tuple[int, str, Any]:
    async with request as response:
        return response.status, (await response.json())["error"]["code"], response.headers


async def circuit(runtime: Runtime, endpoint: Upstream) -> str:
    """State of an endpoint's circuit, as the metrics tell it."""
    async with runtime.session.get(f"{runtime.root}/metrics") as response:
        lines = (await response.text()).splitlines()
    host = endpoint.url.split("/")[2]
    (state,) = [
        line.split('state="')[1].split('"')[0]
        for line in lines
        if line.startswith("agentpool_runtime_upstream_circuit{") and host in line and line.endswith(" 1.0")
    ]
    return state


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(refusing(500), id="500"),
        pytest.param(refusing(503), id="503"),
        pytest.param(refusing(401), id="401"),
        pytest.param(refusing(404), id="404"),
        pytest.param(refusing(429, "Retry-After: 30\r\n"), id="429"),
        pytest.param(reset, id="reset"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_call_goes_to_the_next_endpoint_when_the_first_fails(
    start: Start, upstream: Upstream, other: Upstream, bad: Script, stream: bool
) -> None:
    runtime = await start(served_by(upstream, other))
    upstream.script = bad
    began = time.monotonic()
    async with runtime.chat(stream=stream) as response:
        body = await response.read()
        assert response.status == 200
    assert time.monotonic() - began < 20  # it does not wait as long as a 429 asks for
    assert body.endswith(DONE) if stream else orjson.loads(body)["choices"]
    assert (len(upstream.calls), len(other.calls)) == (1, 1)
    assert other.calls[0].headers["authorization"] == "Bearer sk-upstream"
    assert await runtime.metric("agentpool_runtime_upstream_failovers_total") == 1


async def test_a_refusal_of_the_request_itself_is_not_taken_elsewhere(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    runtime = await start(served_by(upstream, other))
    upstream.script = refusing(400)
    assert await status_of(runtime.chat()) == 400
    assert (len(upstream.calls), len(other.calls)) == (1, 0)


async def test_a_stream_that_begins_with_an_error_goes_elsewhere(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    async def overloaded(call: Call) -> None:
        await start_stream(call)
        await stream_part(call, b': thinking\n\ndata: {"error":{"message":"overloaded"}}\n\n')
        await asyncio.sleep(30)

    runtime = await start(served_by(upstream, other))
    upstream.script = overloaded
    async with runtime.chat(stream=True) as response:
        assert (await response.read()).endswith(DONE)
    assert (len(upstream.calls), len(other.calls)) == (1, 1)


async def test_a_call_that_has_begun_to_answer_is_never_made_again(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    async def breaks(call: Call) -> None:
        await start_stream(call)
        await stream_part(call, STREAM[0])
        call.writer.transport.abort()

    runtime = await start(served_by(upstream, other))
    upstream.script = breaks
    async with runtime.chat(stream=True) as response:
        body = await response.read()
    assert body.startswith(STREAM[0]) and b"upstream_disconnected" in body
    assert (len(upstream.calls), len(other.calls)) == (1, 0)


async def test_a_stream_that_does_not_begin_in_time_goes_elsewhere(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    async def only_comments(call: Call) -> None:
        await start_stream(call)
        while True:
            await stream_part(call, b": still there\n\n")
            await asyncio.sleep(0.05)

    runtime = await start(served_by(upstream, other, firstTokenTimeout="2s"))
    for script in (silent, only_comments):
        upstream.script = script
        async with runtime.chat(stream=True) as response:
            assert (await response.read()).endswith(DONE)
    assert (len(upstream.calls), len(other.calls)) == (2, 2)
    await until(lambda: upstream.lost == 2)


async def test_a_whole_answer_may_take_longer_than_a_first_token(start: Start, upstream: Upstream) -> None:
    async def thinks(call: Call) -> None:
        await asyncio.sleep(0.6)
        await answer(call, 200, orjson.dumps(completion()))

    runtime = await start(served_by(upstream, firstTokenTimeout="200ms", tokenTimeout="200ms"))
    upstream.script = thinks
    assert await status_of(runtime.chat()) == 200


async def test_a_pause_within_an_answer_ends_it(start: Start, upstream: Upstream) -> None:
    async def stalls(call: Call) -> None:
        if call.json.get("stream"):
            await start_stream(call)
            await stream_part(call, STREAM[0])
        else:
            await call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{")
        await asyncio.sleep(30)

    runtime = await start(served_by(upstream, tokenTimeout="300ms"))
    upstream.script = stalls
    async with runtime.chat(stream=True) as response:
        body = await response.read()
    assert body.startswith(STREAM[0])
    assert orjson.loads(body.split(b"data: ")[-1])["error"]["code"] == "upstream_timeout"
    status, code, _ = await error_of(runtime.chat())
    assert (status, code) == (504, "upstream_timeout")
    await until(lambda: upstream.lost == 2)


async def test_a_stream_may_go_on_longer_than_any_pause_is_allowed(start: Start, upstream: Upstream) -> None:
    async def steady(call: Call) -> None:
        await start_stream(call)
        for _ in range(24):
            await stream_part(call, STREAM[0])
            await asyncio.sleep(0.1)
        await stream_part(call, STREAM[2] + DONE)
        await call.send(b"0\r\n\r\n")

    runtime = await start(served_by(upstream, tokenTimeout="2s"))
    upstream.script = steady
    async with runtime.chat(stream=True) as response:
        assert (await response.read()).endswith(DONE)


async def test_the_deadline_holds_over_all_tries_and_the_stream_itself(start: Start, upstream: Upstream) -> None:
    async def endless(call: Call) -> None:
        await start_stream(call)
        while True:
            await stream_part(call, STREAM[0])
            await asyncio.sleep(0.02)

    runtime = await start(served_by(upstream, timeout="700ms", retries=10))
    upstream.script = refusing(500)
    began = time.monotonic()
    assert await status_of(runtime.chat()) in (502, 504)  # 504 when a try was under way at the time
    assert time.monotonic() - began < 15  # the waits between ten tries alone are longer
    upstream.script = endless
    async with runtime.chat(stream=True) as response:
        assert b"upstream_timeout" in await response.read()


async def test_an_endpoint_that_fails_again_and_again_is_left_alone_until_a_probe_succeeds(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    good = upstream.script
    runtime = await start(served_by(upstream, other, breaker={"failures": 2, "openFor": "300s"}))
    upstream.script = refusing(500)
    for _ in range(4):
        assert await status_of(runtime.chat()) == 200
    assert (len(upstream.calls), len(other.calls)) == (2, 4)
    assert await circuit(runtime, upstream) == "open"
    for each in runtime.app.upstream._circuits:
        if each._open_until_s is not None:
            each._open_until_s -= 300
    assert await circuit(runtime, upstream) == "half_open"
    upstream.script = good
    assert await status_of(runtime.chat()) == 200
    assert len(upstream.calls) == 3
    assert await circuit(runtime, upstream) == "closed"


async def test_when_every_circuit_is_open_callers_learn_at_once_when_to_come_again(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    runtime = await start(served_by(upstream, other, retries=0, breaker={"failures": 1, "openFor": "300s"}))
    upstream.script = other.script = refusing(500)
    assert (await error_of(runtime.chat()))[:2] == (502, "upstream_error")
    status, code, headers = await error_of(runtime.chat())
    assert (status, code) == (503, "upstream_unavailable")
    assert 200 <= int(headers["retry-after"]) <= 300
    assert "x-should-retry" not in headers
    assert (len(upstream.calls), len(other.calls)) == (1, 1)


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_refusals_do_not_open_a_circuit(start: Start, upstream: Upstream, status: int) -> None:
    runtime = await start(served_by(upstream, breaker={"failures": 1, "openFor": "60s"}))
    upstream.script = refusing(status)
    for _ in range(3):
        await status_of(runtime.chat())
    assert len(upstream.calls) == 3
    assert await circuit(runtime, upstream) == "closed"


async def test_a_429_with_retry_after_cools_its_endpoint_alone(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    runtime = await start(served_by(upstream, other))
    upstream.script = refusing(429, "Retry-After: 30\r\n")
    for _ in range(3):
        assert await status_of(runtime.chat()) == 200
    assert (len(upstream.calls), len(other.calls)) == (1, 3)
    assert await circuit(runtime, upstream) == "cooling"
    assert await circuit(runtime, other) == "closed"


async def test_a_429_storm_at_every_endpoint_is_a_429_at_once(
    start: Start, upstream: Upstream, other: Upstream
) -> None:
    runtime = await start(served_by(upstream, other, retries=3))
    upstream.script = other.script = refusing(429, "Retry-After: 300\r\n")
    assert await status_of(runtime.chat()) == 429
    status, code, headers = await error_of(runtime.chat())
    assert (status, code) == (429, "upstream_rate_limited")
    assert 200 <= int(headers["retry-after"]) <= 300
    assert (len(upstream.calls), len(other.calls)) == (1, 1)


async def test_waiting_for_a_connection_does_not_tell_against_the_endpoint(start: Start, upstream: Upstream) -> None:
    raw = served_by(upstream, total=1, perHost=1, timeout="2s", retries=0, breaker={"failures": 1})
    runtime = await start(raw, AGENTPOOL_CONCURRENCY="10")

    async def slow(call: Call) -> None:
        if len(upstream.calls) > 1:
            await asyncio.sleep(30)
        await until(lambda: runtime.app.slots.in_flight == 4)
        await answer(call, 200, orjson.dumps(completion()))

    upstream.script = slow
    got = await asyncio.gather(*(error_of_or_200(runtime.chat(str(number))) for number in range(4)))
    assert 200 in got
    assert (504, "upstream_timeout") in got
    assert await runtime.metric("agentpool_runtime_upstream_connections_opened") >= 1
    outcomes = await runtime.metric("agentpool_runtime_upstream_calls_total")
    assert outcomes == 4


async def error_of_or_200(request: Any) -> Any:
    async with request as response:
        found = await response.json()
        return 200 if response.status == 200 else (response.status, found["error"]["code"])


async def test_weights_share_the_calls(start: Start, upstream: Upstream, other: Upstream) -> None:
    raw = served_by(upstream, other, ranks=(0, 0))
    raw["models"][0]["endpoints"][0]["weight"] = 9
    runtime = await start(raw)
    await asyncio.gather(*(status_of(runtime.chat(str(number))) for number in range(200)))
    assert len(upstream.calls) + len(other.calls) == 200
    assert len(upstream.calls) > len(other.calls) > 0


async def test_connections_are_made_before_the_first_call_and_used_again(start: Start, upstream: Upstream) -> None:
    runtime = await start(served_by(upstream, warm=2))
    await until(lambda: runtime.app.state.ready)
    while await runtime.metric("agentpool_runtime_upstream_connections_opened") < 2:  # noqa: ASYNC110 (it is asked)
        await asyncio.sleep(0.05)
    for number in range(5):
        assert await status_of(runtime.chat(str(number))) == 200
    assert await runtime.metric("agentpool_runtime_upstream_connections_opened") == 2


async def test_an_agent_is_ready_when_one_endpoint_of_each_model_can_be_reached(
    start: Start, upstream: Upstream
) -> None:
    raw = served_by(upstream)
    away = {"url": "http://127.0.0.1:9/v1"}
    raw["models"][0]["endpoints"].append(away)
    runtime = await start(raw)
    await until(lambda: runtime.app.state.ready)
    assert runtime.app.state.problems == []
    raw["models"].append({"name": "nowhere", "endpoints": [away, away]})
    runtime = await start(raw)
    await until(lambda: bool(runtime.app.state.problems))
    assert [problem.field for problem in runtime.app.state.problems] == ["models[1].endpoints[0].url"]
    assert not runtime.app.state.ready


async def test_a_late_call_is_sent_a_second_time_and_both_are_paid_for(
    start: Start, upstream: Upstream, other: Upstream, redis_server
) -> None:
    runtime = await start(served_by(upstream, other, hedgePercent=50), redis_url=redis_server.url)
    for number in range(20):
        assert await status_of(runtime.chat(f"before {number}")) == 200
    assert len(other.calls) == 0
    spent = await runtime.metric("agentpool_runtime_cost_usd_total")
    upstream.script = silent
    async with runtime.chat("late") as response:
        assert response.status == 200
    assert len(other.calls) == 1
    await until(lambda: upstream.lost == 1)
    assert await runtime.metric("agentpool_runtime_upstream_hedges_total") == 1
    lost = await runtime.metric("agentpool_runtime_upstream_hedge_cost_usd_total")
    assert 0 < lost < await runtime.metric("agentpool_runtime_cost_usd_total") - spent
    while await runtime.metric("agentpool_runtime_settled_answers_total") < 22:  # noqa: ASYNC110 (it is asked)
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
    assert await runtime.metric("agentpool_runtime_settled_answers_total") == 22


async def test_by_default_no_call_is_sent_a_second_time(start: Start, upstream: Upstream, other: Upstream) -> None:
    async def slow(call: Call) -> None:
        await asyncio.sleep(0.5)
        await answer(call, 200, orjson.dumps(completion()))

    runtime = await start(served_by(upstream, other))
    for number in range(25):
        assert await status_of(runtime.chat(str(number))) == 200
    upstream.script = slow
    assert await status_of(runtime.chat("late")) == 200
    assert len(other.calls) == 0


async def test_a_caller_who_leaves_ends_both_calls(start: Start, upstream: Upstream, other: Upstream) -> None:
    runtime = await start(served_by(upstream, other, hedgePercent=50))
    for number in range(20):
        assert await status_of(runtime.chat(str(number))) == 200
    upstream.script = other.script = silent
    leaving = asyncio.ensure_future(status_of(runtime.chat("late")))
    await until(lambda: len(other.calls) == 1)
    leaving.cancel()
    await until(lambda: upstream.lost == other.lost == 1 and runtime.app.service.active == 0)
    assert await runtime.metric("agentpool_runtime_upstream_connections_opened") >= 2
