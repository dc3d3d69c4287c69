"""Endpoints that misbehave, and what their callers learn."""

import asyncio
import time
from collections.abc import Mapping

import orjson
import pytest

from tests.redis.runtime_app.conftest import KEY, Runtime, Start, settings_for, until
from tests.redis.runtime_app.upstream import (
    DONE,
    STREAM,
    USAGE_FRAME,
    Call,
    Upstream,
    answer,
    end_stream,
    start_stream,
    stream_part,
)


async def failure(request) -> tuple[int, dict, Mapping[str, str]]:
    async with request as response:
        return response.status, (await response.json())["error"], response.headers


def refusing(status: int, body: bytes = b"", extra: str = ""):
    async def script(call: Call) -> None:
        await answer(call, status, body, extra=f"{extra}Connection: close\r\n")

    return script


async def reset(call: Call) -> None:
    call.writer.transport.abort()


async def test_a_call_that_fails_is_repeated_until_it_succeeds(runtime: Runtime, upstream: Upstream) -> None:
    good = upstream.script
    failures = iter([refusing(500), reset, refusing(503)])

    async def shaky(call: Call) -> None:
        await (next(failures, None) or good)(call)

    upstream.script = shaky
    async with runtime.chat() as response:
        assert response.status == 200
    assert len(upstream.calls) == 4
    assert await runtime.metric("agentpool_runtime_upstream_retries_total") == 3


@pytest.mark.parametrize(
    ("script", "status", "code", "calls"),
    [
        pytest.param(refusing(500), 502, "upstream_error", 4, id="500"),
        pytest.param(refusing(503), 503, "upstream_error", 4, id="503"),
        pytest.param(reset, 502, "upstream_disconnected", 4, id="reset"),
        pytest.param(
            refusing(401, b'{"error":{"message":"sk-upstream"}}'), 502, "upstream_credential_refused", 1, id="401"
        ),
        pytest.param(refusing(200, b"<html>"), 502, "upstream_invalid_answer", 1, id="html"),
        pytest.param(refusing(301, b"", "Location: http://127.0.0.1:1/\r\n"), 502, "upstream_error", 1, id="redirect"),
    ],
)
async def test_what_the_caller_learns(runtime: Runtime, upstream: Upstream, script, status, code, calls) -> None:
    upstream.script = script
    got, error, headers = await failure(runtime.chat())
    assert (got, error["code"], error["type"]) == (status, code, "server_error")
    assert headers["x-should-retry"] == "false"
    assert "sk-upstream" not in orjson.dumps(error).decode()
    assert len(upstream.calls) == calls


async def test_the_endpoints_own_refusal_is_passed_on_without_its_key(runtime: Runtime, upstream: Upstream) -> None:
    refusal = {"error": {"message": "bad sk-upstream", "type": "t", "param": "tools", "code": "c"}}
    upstream.script = refusing(422, orjson.dumps(refusal))
    status, error, _ = await failure(runtime.chat())
    assert status == 422
    assert error == refusal["error"] | {"message": "bad ***"}


async def test_a_refusal_that_is_no_error_object_becomes_one(runtime: Runtime, upstream: Upstream) -> None:
    upstream.script = refusing(400, b"<html>no</html>")
    status, error, _ = await failure(runtime.chat())
    assert (status, error["code"]) == (400, "upstream_refused")


async def test_retry_after_is_waited_for(runtime: Runtime, upstream: Upstream) -> None:
    good, times = upstream.script, []

    async def limited(call: Call) -> None:
        times.append(time.monotonic())
        await (refusing(429, b"", "Retry-After: 1\r\n") if len(times) == 1 else good)(call)

    upstream.script = limited
    async with runtime.chat() as response:
        assert response.status == 200
    assert times[1] - times[0] >= 1


async def test_a_long_retry_after_goes_to_the_caller_at_once(runtime: Runtime, upstream: Upstream) -> None:
    upstream.script = refusing(429, b'{"error":{"message":"slow down"}}', "Retry-After: 300\r\n")
    status, error, headers = await failure(runtime.chat())
    assert (status, headers["retry-after"], error["message"]) == (429, "300", "slow down")
    assert len(upstream.calls) == 1


async def test_an_endpoint_that_says_it_will_not_help_is_not_asked_again(runtime: Runtime, upstream: Upstream) -> None:
    upstream.script = refusing(429, b"{}", "x-should-retry: false\r\n")
    assert (await failure(runtime.chat()))[0] == 429
    assert len(upstream.calls) == 1


async def test_a_silent_endpoint_ends_with_504(start: Start, upstream: Upstream) -> None:
    runtime = await start(settings_for(upstream.url, connections={"timeout": "300ms"}))

    async def silent(call: Call) -> None:
        await asyncio.sleep(30)

    upstream.script = silent
    began = time.monotonic()
    status, error, _ = await failure(runtime.chat())
    assert (status, error["code"]) == (504, "upstream_timeout")
    assert time.monotonic() - began < 25  # sooner than the endpoint ends its call


async def test_an_endpoint_that_is_not_there_is_a_502(start: Start, upstream: Upstream) -> None:
    raw = settings_for("http://127.0.0.1:9/v1", connections={"retries": 1})
    status, error, _ = await failure((await start(raw)).chat())
    assert (status, error["code"]) == (502, "upstream_unreachable")
    assert "127.0.0.1:9" in error["message"]


async def break_before_a_frame(call: Call) -> None:
    await start_stream(call)
    call.writer.transport.abort()


async def test_a_stream_that_breaks_before_its_first_frame_is_repeated(runtime: Runtime, upstream: Upstream) -> None:
    good, seen = upstream.script, []

    async def once(call: Call) -> None:
        seen.append(call)
        await (break_before_a_frame if len(seen) == 1 else good)(call)

    upstream.script = once
    async with runtime.chat(stream=True) as response:
        assert (await response.read()).endswith(DONE)
    assert len(upstream.calls) == 2


def breaking(parts: list[bytes], *, clean: bool):
    async def script(call: Call) -> None:
        await start_stream(call)
        for part in parts:
            await stream_part(call, part)
        if clean:
            await end_stream(call)
        else:
            call.writer.transport.abort()

    return script


@pytest.mark.parametrize(
    ("parts", "clean"),
    [
        pytest.param(STREAM[:2], False, id="reset"),
        pytest.param(STREAM[:2], True, id="ends-early"),
        pytest.param([*STREAM[:2], STREAM[2][:20]], True, id="half-frame"),
    ],
)
async def test_a_stream_that_breaks_ends_with_an_error_and_is_neither_repeated_nor_kept(
    runtime: Runtime, upstream: Upstream, parts: list[bytes], clean: bool
) -> None:
    upstream.script = breaking(parts, clean=clean)
    for number in (1, 2):
        async with runtime.chat(stream=True) as response:
            body = await response.read()
        assert body.startswith(STREAM[0])
        last = orjson.loads(body.split(b"data: ")[-1])
        assert last["error"]["code"] in ("upstream_disconnected", "upstream_incomplete")
        assert len(upstream.calls) == number
    assert await runtime.metric("agentpool_runtime_estimated_usage_answers_total") == 2


async def test_an_error_within_the_stream_is_passed_on_as_it_is(runtime: Runtime, upstream: Upstream) -> None:
    bad = b'data: {"error":{"message":"overloaded"}}\n\n'
    upstream.script = breaking([STREAM[0], bad, DONE], clean=True)
    async with runtime.chat(stream=True) as response:
        assert await response.read() == STREAM[0] + bad + DONE
    upstream.script = breaking([*STREAM, USAGE_FRAME, DONE], clean=True)
    async with runtime.chat(stream=True) as response:
        assert response.headers["x-agentpool-cache"] == "miss"


async def test_an_endless_answer_is_cut_off(start: Start, upstream: Upstream, monkeypatch) -> None:
    monkeypatch.setattr("agent_runtime.models.exchange.MAX_ANSWER_BYTES", 100_000)
    runtime = await start()

    async def endless(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream_part(call, b"x" * 10_000)

    upstream.script = endless
    status, error, _ = await failure(runtime.chat())
    assert (status, error["code"]) == (502, "upstream_answer_too_large")


@pytest.mark.parametrize("frames", range(5))
async def test_a_caller_who_leaves_at_any_frame_ends_the_call_and_pays_for_what_was_made(
    runtime: Runtime, upstream: Upstream, frames: int
) -> None:
    async def slow(call: Call) -> None:
        await start_stream(call)
        for number in range(4):
            await stream_part(call, STREAM[0])
            if number + 1 == frames:
                await asyncio.sleep(30)
            await asyncio.sleep(0.01)
        await asyncio.sleep(30)

    async def never(call: Call) -> None:
        await asyncio.sleep(30)

    upstream.script = slow if frames else never

    has_read = asyncio.Event()

    async def read_some() -> None:
        async with runtime.chat(stream=True) as response:
            for _ in range(frames):
                await response.content.readuntil(b"\n\n")
            has_read.set()
            await asyncio.sleep(30)

    reading = asyncio.create_task(read_some())
    await (has_read.wait() if frames else until(lambda: bool(upstream.calls)))
    reading.cancel()
    await until(lambda: upstream.lost == 1 and runtime.app.service.active == 0)
    assert await runtime.metric("agentpool_runtime_client_disconnects_total") == 1
    assert await runtime.metric("agentpool_runtime_in_flight") == 0
    spent = await runtime.metric("agentpool_runtime_tokens_total")
    assert spent >= max(frames, 1)


async def test_a_full_queue_is_a_429_with_retry_after(start: Start, upstream: Upstream) -> None:
    runtime = await start(settings_for(upstream.url, limits={"maxQueued": 1}), AGENTPOOL_CONCURRENCY="1")
    good, go_on = upstream.script, asyncio.Event()

    async def held(call: Call) -> None:
        await go_on.wait()
        await good(call)

    upstream.script = held
    busy = [asyncio.ensure_future(failure_or_status(runtime.chat(str(number)))) for number in range(2)]
    await until(lambda: runtime.app.state.heartbeat().queued == 1)
    status, error, headers = await failure(runtime.chat("one too many"))
    assert (status, error["code"], error["type"]) == (429, "queue_full", "rate_limit_error")
    assert int(headers["retry-after"]) >= 1
    assert await runtime.metric("agentpool_runtime_queued") == 1
    go_on.set()
    assert await asyncio.gather(*busy) == [200, 200]


async def failure_or_status(request) -> int:
    async with request as response:
        await response.read()
        return int(response.status)


async def test_a_storm_of_429_ends_within_bounds(start: Start, upstream: Upstream) -> None:
    runtime = await start(settings_for(upstream.url, connections={"retries": 2}), AGENTPOOL_CONCURRENCY="50")
    upstream.script = refusing(429, b'{"error":{"message":"no"}}')
    statuses = await asyncio.gather(*(failure_or_status(runtime.chat(str(number))) for number in range(50)))
    assert set(statuses) == {429}
    assert len(upstream.calls) == 150
    assert KEY not in str([call.headers for call in upstream.calls])
