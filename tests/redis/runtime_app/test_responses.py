"""The Responses API: passed through, metered, and each key's own. The official SDK as the judge."""

import openai
import orjson
import pytest

from tests.redis.runtime_app.conftest import KEY, RedisServer, Runtime, Start, until
from tests.redis.runtime_app.test_openai_sdk import client
from tests.redis.runtime_app.upstream import (
    Call,
    Upstream,
    answer,
    end_stream,
    response,
    response_events,
    start_stream,
    stream_part,
)

COST_USD = (4 * 2 + 6 * 1 + 4 * 8) / 1e6
"""Of RESPONSE_USAGE at the test's prices: input, cached input, output with its reasoning."""


async def test_an_answer_is_passed_on_and_priced_with_its_cached_part(runtime: Runtime, upstream: Upstream) -> None:
    async with client(runtime) as sdk:
        told = await sdk.responses.with_raw_response.create(model="chat", input="hi", extra_body={"x_new": [1]})
    done = told.parse()
    assert (done.output_text, done.usage.input_tokens_details.cached_tokens) == ("hello", 6)
    assert told.headers["x-agentpool-cache"] == "bypass"
    assert float(told.headers["x-agentpool-cost-usd"]) == pytest.approx(COST_USD)
    call = upstream.calls[0]
    assert call.path == "/v1/responses" and call.headers["authorization"] == "Bearer sk-upstream"
    assert call.json == {"model": "up", "input": "hi", "x_new": [1]}


async def test_a_stream_is_passed_on_byte_for_byte_and_priced(runtime: Runtime) -> None:
    body = {"model": "chat", "input": "hi", "stream": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with runtime.session.post(f"{runtime.url}/responses", json=body, headers=headers) as reply:
        assert await reply.read() == b"".join(response_events())
    assert await runtime.metric("agentpool_runtime_cost_usd_total") == pytest.approx(COST_USD)
    assert await runtime.metric("agentpool_runtime_estimated_usage_answers_total") == 0


async def test_the_sdk_reads_the_stream(runtime: Runtime) -> None:
    async with client(runtime) as sdk:
        events = [event async for event in await sdk.responses.create(model="chat", input="hi", stream=True)]
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed" and events[-1].response.usage.output_tokens == 4


async def test_each_answer_reaches_the_ledger_once(start: Start, redis_server: RedisServer) -> None:
    runtime = await start(redis_url=redis_server.url)
    async with client(runtime) as sdk:
        await sdk.responses.create(model="chat", input="hi")
        async for _ in await sdk.responses.create(model="chat", input="hi", stream=True):
            pass
    await until(lambda: redis_server.command("XLEN", "agentpool:{default}:usage") == 2)
    spend = redis_server.command("HVALS", "agentpool:{default}:spend:local")
    assert sum(int(value) for value in spend) == round(2 * COST_USD * 1e9)


@pytest.mark.parametrize("stream", [False, True])
async def test_only_the_key_a_response_was_made_for_goes_on_from_it(
    start: Start, upstream: Upstream, redis_server: RedisServer, stream: bool
) -> None:
    first = await start(redis_url=redis_server.url)
    second = await start(redis_url=redis_server.url, AGENTPOOL_API_KEY="sk-other")
    async with client(first) as sdk:
        made = await sdk.responses.create(model="chat", input="hi", stream=stream)
        if stream:
            async for _ in made:
                pass
    async with client(second) as sdk:
        await sdk.responses.create(model="chat", input="and?", previous_response_id="resp_1")
    assert upstream.calls[-1].json["previous_response_id"] == "resp_1"
    async with openai.AsyncOpenAI(base_url=second.url, api_key="sk-other", max_retries=0) as stranger:
        with pytest.raises(openai.NotFoundError) as refused:
            await stranger.responses.create(model="chat", input="and?", previous_response_id="resp_1")
    assert refused.value.code == "previous_response_not_found"
    assert len(upstream.calls) == 2


async def test_a_response_that_is_not_stored_cannot_be_continued(runtime: Runtime) -> None:
    async with client(runtime) as sdk:
        await sdk.responses.create(model="chat", input="hi", store=False)
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="chat", input="and?", previous_response_id="resp_1")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"previous_response_id": 3}, "previous_response_id"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"stream": "yes"}, "stream"),
        ({"model": None}, "model"),
    ],
)
async def test_what_cannot_be_counted_or_kept_apart_is_refused(
    runtime: Runtime, upstream: Upstream, fields: dict[str, object], param: str
) -> None:
    body = {"model": "chat", "input": "hi"} | fields
    headers = {"Authorization": f"Bearer {KEY}"}
    async with runtime.session.post(f"{runtime.url}/responses", json=body, headers=headers) as reply:
        error = (await reply.json())["error"]
        assert (reply.status, error["param"]) == (400, param)
    assert not upstream.calls


async def test_a_response_may_be_asked_for_without_input(runtime: Runtime, upstream: Upstream) -> None:
    """By a stored prompt, say: what the endpoint makes of it is its business."""
    body = {"model": "chat", "prompt": {"id": "pmpt_1"}}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with runtime.session.post(f"{runtime.url}/responses", json=body, headers=headers) as reply:
        assert reply.status == 200
    assert upstream.calls[0].json == body | {"model": "up"}


async def test_an_embeddings_model_makes_no_responses(runtime: Runtime) -> None:
    async with client(runtime) as sdk:
        with pytest.raises(openai.NotFoundError, match="ask for one of: chat"):
            await sdk.responses.create(model="embed", input="hi")


async def test_a_stream_that_breaks_raises_in_the_sdk_and_is_charged(runtime: Runtime, upstream: Upstream) -> None:
    async def breaking(call: Call) -> None:
        await start_stream(call)
        for part in response_events()[:3]:
            await stream_part(call, part)
        await end_stream(call)

    upstream.script = breaking
    async with client(runtime, max_retries=0) as sdk:
        stream = await sdk.responses.create(model="chat", input="hi", stream=True)
        with pytest.raises(openai.APIError, match="before the answer was whole"):
            async for _ in stream:
                pass
    assert await runtime.metric("agentpool_runtime_estimated_usage_answers_total") == 1
    assert await runtime.metric("agentpool_runtime_cost_usd_total") > 0


async def test_a_failed_response_is_passed_on_without_a_second_error(runtime: Runtime, upstream: Upstream) -> None:
    failed = response(status="failed", error={"code": "server_error", "message": "no"}, usage=None)
    events = [response_events()[0], b"data: " + orjson.dumps({"type": "response.failed", "response": failed}) + b"\n\n"]

    async def failing(call: Call) -> None:
        await start_stream(call)
        for part in events:
            await stream_part(call, part)
        await end_stream(call)

    upstream.script = failing
    body = {"model": "chat", "input": "hi", "stream": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with runtime.session.post(f"{runtime.url}/responses", json=body, headers=headers) as reply:
        assert await reply.read() == b"".join(events)


async def test_an_endpoint_without_the_api_says_so_itself(runtime: Runtime, upstream: Upstream) -> None:
    async def missing(call: Call) -> None:
        await answer(call, 404, orjson.dumps({"error": {"message": "no such path", "type": "x", "code": "nope"}}))

    upstream.script = missing
    async with client(runtime, max_retries=0) as sdk:
        with pytest.raises(openai.NotFoundError, match="no such path"):
            await sdk.responses.create(model="chat", input="hi")


async def test_a_batch_takes_responses(runtime: Runtime) -> None:
    item = {"custom_id": "a", "url": "/v1/responses", "body": {"model": "chat", "input": "hi"}}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with runtime.session.post(f"{runtime.url}/batch", json={"requests": [item]}, headers=headers) as reply:
        line = (await reply.json())["data"][0]
    assert line["response"]["body"]["id"] == "resp_1"
