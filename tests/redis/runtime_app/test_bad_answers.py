"""Endpoints that send what no endpoint should: the caller gets an error object, the runtime stays small."""

import asyncio

import orjson
import pytest

from tests.redis.runtime_app.conftest import BEARER, Runtime, Start, until
from tests.redis.runtime_app.test_upstreams import error_of, served_by
from tests.redis.runtime_app.upstream import (
    DONE,
    STREAM,
    Call,
    Script,
    Upstream,
    answer,
    completion,
    delta,
    end_stream,
    frame,
    start_stream,
    stream_part,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def saying(raw: bytes) -> Script:
    async def script(call: Call) -> None:
        await call.send(raw)
        call.writer.close()

    return script


async def endless_error(call: Call) -> None:
    await call.send(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await stream_part(call, b"x" * 100_000)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param(saying(b"hello\r\n\r\n"), "upstream_invalid_answer", id="not-http"),
        pytest.param(saying(OK + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n"), "upstream_invalid_answer", id="huge-header"),
        pytest.param(saying(OK + b"X: y\r\n" * 1000 + b"\r\n"), "upstream_invalid_answer", id="many-headers"),
        pytest.param(saying(OK + b"Content-Length: 10\r\n\r\n{"), "upstream_disconnected", id="half-an-answer"),
        pytest.param(saying(OK + b"Content-Length: -1\r\n\r\n{}"), "upstream_invalid_answer", id="negative-length"),
        pytest.param(
            saying(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}"), "upstream_invalid_answer", id="bad-chunk"
        ),
        pytest.param(saying(b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n"), "upstream_disconnected", id="upgrade"),
        pytest.param(saying(b"HTTP/1.1 204 No\r\n\r\n"), "upstream_error", id="no-content"),
        pytest.param(saying(b""), "upstream_disconnected", id="nothing"),
        pytest.param(endless_error, "upstream_error", id="endless-error"),
    ],
)
async def test_what_is_no_answer_becomes_an_error_object(
    start: Start, upstream: Upstream, script: Script, code: str
) -> None:
    runtime = await start(served_by(upstream, retries=0))
    upstream.script = script
    status, found, _ = await error_of(runtime.chat())
    assert (status, found) == (502, code)
    assert runtime.app.upstream is not None
    await until(lambda: runtime.app.slots.in_flight == 0)


async def test_an_interim_answer_is_passed_over(start: Start, upstream: Upstream) -> None:
    async def patient(call: Call) -> None:
        await call.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await answer(call, 200, orjson.dumps(completion()))

    runtime = await start(served_by(upstream))
    upstream.script = patient
    async with runtime.chat() as response:
        assert (await response.json())["choices"]


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param({"prompt_tokens": -5, "completion_tokens": 1}, id="negative"),
        pytest.param({"prompt_tokens": "many", "completion_tokens": 1}, id="words"),
        pytest.param({"prompt_tokens": 10**15, "completion_tokens": 1}, id="absurd"),
        pytest.param([1, 2], id="a-list"),
        pytest.param(None, id="none"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_wrong_usage_is_replaced_by_an_estimate(
    runtime: Runtime, upstream: Upstream, usage: object, stream: bool
) -> None:
    async def wrong(call: Call) -> None:
        if not stream:
            await answer(call, 200, orjson.dumps(completion(usage=usage)))
            return
        await start_stream(call)
        for part in [*STREAM, frame({"id": "c", "choices": [], "usage": usage}), DONE]:
            await stream_part(call, part)
        await end_stream(call)

    upstream.script = wrong
    async with runtime.chat(stream=stream) as response:
        assert response.status == 200
        await response.read()
    assert await runtime.metric("agentpool_runtime_estimated_usage_answers_total") == 1
    assert 0 < await runtime.metric("agentpool_runtime_tokens_total") < 100


async def test_a_frame_without_an_end_is_cut_off(runtime: Runtime, upstream: Upstream) -> None:
    async def endless(call: Call) -> None:
        await start_stream(call)
        await stream_part(call, STREAM[0])
        while True:
            await stream_part(call, b"x" * 200_000)

    upstream.script = endless
    async with runtime.chat(stream=True) as response:
        body = await response.read()
    assert body.startswith(STREAM[0])
    assert b"upstream_incomplete" in body
    assert len(body) < 100_000


async def test_gigabytes_wait_at_the_endpoint_while_the_caller_does_not_read(
    runtime: Runtime, upstream: Upstream
) -> None:
    sent = 0

    async def pours(call: Call) -> None:
        nonlocal sent
        await start_stream(call)
        part = delta("y" * 60_000)
        while True:
            await stream_part(call, part)
            sent += len(part)

    upstream.script = pours
    reader, writer = await asyncio.open_connection("127.0.0.1", runtime.app.server.port, limit=1000)
    body = orjson.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: {BEARER['Authorization']}\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await reader.read(10)
    before = -1
    while sent != before:  # until nothing moves any more
        before = sent
        await asyncio.sleep(0.3)
    assert sent < 64 * 1024 * 1024
    writer.transport.abort()
    await until(lambda: runtime.app.slots.in_flight == 0)
